"""Trackers show every figure once, fail without harm, and leave what is trained alone."""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from regression import Line, Points, settings, train_line
from test_trainer import KilledLine, log_lines

from lat.core.errors import InputError
from lat.engine import trackers
from lat.engine.tracked_run import TrackedRun
from lat.engine.trackers import check_trackers
from lat.engine.training_settings import SharedTrainSettings


class Shown:
    """A tracker that keeps what it is told, and is gone after so many lines."""

    calls: list[tuple[Any, ...]]
    lines_left: int

    def __init__(self, run: TrackedRun, known: str | None, new: str) -> None:
        self.id = known or new
        self.calls.append(("open", run.project, run.name, known is not None, self.id))

    @staticmethod
    def check() -> None:
        pass

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        if not Shown.lines_left:
            raise ConnectionError("the server\nis gone")
        Shown.lines_left -= 1
        self.calls.append((step, dict(figures)))

    def close(self, outcome: str) -> None:
        self.calls.append(("close", outcome))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What `mlflow` is told, which here is a `Shown`."""
    monkeypatch.setitem(trackers._SERVERS, "mlflow", f"{__name__}:Shown")
    Shown.calls, Shown.lines_left = [], 1000
    return Shown.calls


def train_twice(folder: Path, names: list[str], pause: float = 0.0) -> None:
    """Train until killed after the figures of step 15, from which the next training goes back to step 14; then to the end."""
    killed = KilledLine()
    killed.death = SystemExit
    with pytest.raises(SystemExit):
        train_line(folder, killed, Points(), settings(trackers=names))
    time.sleep(pause)
    train_line(folder, Line(), Points(), settings(trackers=names))


def figures_of(folder: Path) -> list[tuple[int, dict[str, float]]]:
    return [(line.pop("step"), line) for line in log_lines(folder)]


def test_a_killed_training_goes_on_in_its_run_and_shows_every_step_once(tmp_path: Path, shown: list[Any]) -> None:
    train_twice(tmp_path, ["mlflow"])
    (_, project, name, *first), (*_, is_known, again) = [call for call in shown if call[0] == "open"]
    assert (project, name, first, is_known) == (tmp_path.name, "line", [False, again], True)
    assert [call for call in shown if isinstance(call[0], int)] == figures_of(tmp_path)
    assert [call for call in shown if call[0] == "close"] == [("close", "killed"), ("close", "finished")]


def test_a_training_that_begins_anew_has_a_new_run(tmp_path: Path, shown: list[Any]) -> None:
    for _ in range(2):
        train_line(tmp_path, Line(), Points(), settings(trackers=["mlflow"], steps=5))
    first, second = [call for call in shown if call[0] == "open"]
    assert (first[3], second[3]) == (False, False)
    assert first[4] != second[4]


def test_a_server_that_is_gone_is_one_line_and_changes_no_byte(
    tmp_path: Path, shown: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    bare = train_line(tmp_path / "bare", Line(), Points(0.1), settings())
    Shown.lines_left = 2
    path = train_line(tmp_path / "shown", Line(), Points(0.1), settings(trackers=["mlflow"]))
    assert path.read_bytes() == bare.read_bytes()
    assert (path.parent / "log.jsonl").read_bytes() == (bare.parent / "log.jsonl").read_bytes()
    assert [call[0] for call in shown] == ["open", 5, 10]
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert warnings == [
        "warning: mlflow shows no more of this training (the server is gone); log.jsonl has all figures",
    ]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_an_error_at_the_start_and_a_warning_later(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError) as caught:
        check_trackers(["tensorboard", name])
    told = f"names {name}, which is not installed; pip install 'lat-detection[{name}]', or leave it out"
    assert str(caught.value) == f"training.trackers: {told}"
    assert train_line(tmp_path, Line(), Points(), settings(trackers=[name], steps=5)).is_file()
    assert capsys.readouterr().out.count(f"warning: {name} shows no more of this training") == 1


def test_other_trackers_and_two_of_one_kind_are_refused() -> None:
    with pytest.raises(InputError, match="trackers: is 'comet'; choose one of tensorboard, wandb, mlflow"):
        SharedTrainSettings(trackers=["comet"])
    with pytest.raises(InputError, match="name each once"):
        SharedTrainSettings(trackers=["wandb", "wandb"])


def test_mlflow_keeps_the_figures_in_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    bare = train_line(tmp_path / "bare", Line(), Points(), settings())
    train_twice(tmp_path / "run", ["mlflow"])
    assert (tmp_path / "run" / "model.pt").read_bytes() == bare.read_bytes()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/run/mlflow/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("run").experiment_id])
    assert (run.info.run_name, run.info.status) == ("line", "FINISHED")
    assert (run.data.params["steps"], run.data.params["seed"]) == ("30", "3")
    history = [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "square")]
    assert history == [(step, figures["square"]) for step, figures in figures_of(tmp_path / "run")]


def test_a_server_of_mlflow_that_nobody_runs_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert train_line(tmp_path, Line(), Points(), settings(trackers=["mlflow"], steps=5)).is_file()
    assert capsys.readouterr().out.count("warning: mlflow shows no more of this training") == 1


def test_wandb_keeps_the_figures_in_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    bare = train_line(tmp_path / "bare", Line(), Points(), settings())
    check_trackers(["wandb"])
    train_twice(tmp_path / "run", ["wandb"], pause=1.1)  # folders are called by the second
    assert (tmp_path / "run" / "model.pt").read_bytes() == bare.read_bytes()
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    assert len(files) == 2
    assert len({path.name for path in files}) == 1  # one run in two parts
    found = [record for path in files for record in records_of(path)]
    runs = [record.run for record in found if record.HasField("run")]
    assert {(run.project, run.display_name) for run in runs} == {("run", "line")}
    history = []
    for record in found:
        if record.HasField("history"):
            values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            history.append((values["_step"], values["square"]))
    assert history == [(step, figures["square"]) for step, figures in figures_of(tmp_path / "run")]


def records_of(path: Path) -> Iterator[Any]:
    """The records in a file of Weights & Biases: a head of 7 bytes, and a log of LevelDB, whose records fill blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    content, place, parts = path.read_bytes(), 7, b""
    while place < len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""
