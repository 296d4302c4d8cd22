"""Work shared between processes: two real ones, started as srun does."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from regression import Line, Points, settings, train_line
from slurm_tasks import RANKS, rank_of_task, two_tasks

from lat.core.errors import InputError
from lat.engine import processes
from lat.engine.checkpoint import load_checkpoint
from lat.engine.processes import BLOCK, Processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `two_processes.py` has written."""
    folder, here = tmp_path_factory.mktemp("two"), Path(__file__).parent
    processes = started([str(here / "two_processes.py"), str(folder)], os.pathsep.join(map(str, here.parents[:2])))
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return folder


def started(arguments: list[str], python_path: str) -> list[subprocess.Popen[str]]:
    """The tasks of Python with these arguments, as srun starts them."""
    tasks = {**two_tasks(), "PYTHONPATH": python_path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **tasks, **rank_of_task(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in RANKS
    ]


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"shared.{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_two_processes_train_what_one_does(folder: Path, tmp_path: Path) -> None:
    train_line(tmp_path / "one", Line(), Points(0.1), settings(ema_decay=0.5))
    runs = (tmp_path / "one", folder / "two")
    one, two = (load_checkpoint(run / "model.pt", "line")["model"] for run in runs)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-5, atol=1e-6)
    logs = [[json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in runs]
    for ours, theirs in zip(*logs, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4)


@pytest.mark.slow
def test_results_come_together_in_the_order_of_the_items(found: list[dict[str, Any]]) -> None:
    items = [f"item {i}" for i in range(21)]
    assert sorted(found[0]["mine"] + found[1]["mine"]) == sorted(items)
    assert found[0]["first"] == found[0]["all"] == found[1]["all"] == [item.upper() for item in items]
    assert found[1]["first"] == []


@pytest.mark.slow
def test_the_first_decides_and_all_see_what_each_has_written(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert one["decided"] == 0
        assert one["seen"] == ["file.0", "file.1"]
        assert one["machines"] == [2, 1]


@pytest.mark.slow
def test_an_input_error_of_one_process_is_raised_in_all(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert one["shared"] == one["of the first"] == "item: is bad; mend it"
        assert one["unseen"] == "own: is not seen by process 1; choose an output_dir that all machines share"


def test_shards_go_to_whoever_is_free_and_all_are_seen(found: list[dict[str, Any]]) -> None:
    first, second = sorted((one["shards"]["mine"] for one in found), key=len)
    assert sorted(first + second) == list(range(9))
    assert first == [0]  # which waits while the other process does the rest
    assert [one["shards"]["seen"] for one in found] == [[], []]
    assert all(one["shards"]["error"].startswith("shard 4: is bad") for one in found)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("total", [0, 1, 2, 7, 8, 9, 31, 64])
def test_each_item_is_one_processes_own_in_even_runs(total: int, size: int) -> None:
    items = list(range(total))
    shares = [Processes(rank, size).share(items) for rank in range(size)]
    assert sorted(item for share in shares for item in share) == items
    blocks = list(processes._blocks(total, size))
    assert [i for block in blocks for share in block for i in share] == items
    for block in blocks:
        lengths = [len(share) for share in block]
        assert max(lengths) <= BLOCK
        assert max(lengths) - min(lengths) <= 1


def test_one_process_does_all_and_computes_when_asked() -> None:
    asked: list[int] = []
    alone = Processes()
    results = alone.in_order((asked.append(i) or i for i in alone.share(range(3))), 3)
    assert asked == []
    assert next(results) == 0
    assert asked == [0]
    assert list(results) == [1, 2]
    assert alone.from_first(max, 1, 2) == 2


def test_an_input_error_travels_whole() -> None:
    error = InputError("file", "is wrong", "mend it", ("here", "there"))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_that_another_process_has_ended_is_one_line() -> None:
    lost = RuntimeError("gloo/transport/tcp/pair.cc:547 Connection closed by peer [127.0.0.1]:4711")
    assert processes._describe(lost).startswith("error: another process of this run has ended; ")
    assert processes._describe(RuntimeError("shapes do not fit")) == "RuntimeError: shapes do not fit"


def test_wrong_input_is_one_line_and_status_2_in_every_process_though_the_first_is_quicker(tmp_path: Path) -> None:
    code = "import os\nfrom lat.cli import app, main\nfrom lat.engine import processes\n"
    code += "run, processes.SECONDS_TO_LEAVE = app._run, 120.0\n"
    code += "def run_later(arguments, say):\n    if os.environ['SLURM_PROCID'] == '1':\n"
    code += "        processes._meeting[0].wait(['lat/left'])\n"  # the first has said it, and is leaving
    code += "    return run(arguments, say)\n"
    code += f"app._run = run_later\nmain(['run', '{tmp_path}/c.yaml'])"
    (tmp_path / "c.yaml").write_text("lat: {fusion: {attention: odd}}", encoding="utf-8")
    tasks = started(["-c", code], os.environ.get("PYTHONPATH", ""))
    said = [task.communicate(timeout=300) for task in tasks]
    assert [task.returncode for task in tasks] == [2, 2], said
    lines = [line for pair in said for text in pair for line in text.splitlines()]
    assert lines == [f"error: {tmp_path}/c.yaml: lat.fusion.attention is 'odd'; choose one of sff, standard, none"]


class AskedToEnd(Line):
    """A model during one of whose steps a SIGTERM comes, and the same again from elsewhere."""

    def losses(self, x, y):  # type: ignore[no-untyped-def]
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        return super().losses(x, y)


def test_a_request_to_end_waits_for_the_end_of_the_step(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_line(tmp_path, AskedToEnd(), Points(), settings())
    assert load_checkpoint(tmp_path / "checkpoint.pt", "training_run")["step"] == 1
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
