"""The same run from every folder: the paths of a configuration count from its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from tiny import FEW_STEPS, draw_tiny

from lat.cli import main
from lat.config.load import load_config
from lat.pipeline.plan import all_steps
from lat.workspace.step_records import StepRecords
from lat.workspace.workspace import Workspace


def lat(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*map(str, words), *(FEW_STEPS if words[0] == "run" else [])])
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with spaces in its name: `data/`, weights, and a finished run of `conf/mine.yaml` that was started in it."""
    folder = tmp_path_factory.mktemp("my own project")
    draw_tiny(folder, images=2)
    (folder / "conf").mkdir()
    (folder / "weights").mkdir()
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings |= {"data_root": "../data", "output_dir": "../runs/mine", "target": "city"}
    path = folder / "conf" / "mine.yaml"
    path.write_text(yaml.safe_dump(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert lat("train-upstream", "conf/mine.yaml", "--dataset", "city", *FEW_STEPS, "output_dir=runs/first") == 0
        shutil.copy("runs/first/upstream/city/model.pt", "weights/start.pt")
        settings["upstream"] = {"model": {"weights": "../weights/start.pt"}}
        path.write_text(yaml.safe_dump(settings))
        assert lat("run", "conf/mine.yaml") == 0
    return folder


@pytest.mark.parametrize(
    ("here", "named"),
    [
        (".", "conf/mine.yaml"),
        ("conf", "mine.yaml"),
        ("data/city", "../../conf/mine.yaml"),
        ("/", "{project}/conf/mine.yaml"),
        (".", "runs/mine"),
        ("runs", "mine/config.yaml"),
        ("/", "{project}/runs/mine"),
    ],
)
def test_a_run_is_found_from_everywhere_and_nothing_is_done_again(
    here: str, named: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project / here)
    capsys.readouterr()
    assert lat("run", named.format(project=project)) == 0
    assert "everything is up to date" in capsys.readouterr().out
    assert {path.name for path in (project / "runs").iterdir()} == {"first", "mine"}


def test_a_project_can_be_moved(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(project, tmp_path / "moved")
    monkeypatch.chdir("/")
    assert lat("run", tmp_path / "moved" / "runs" / "mine") == 0
    assert "everything is up to date" in capsys.readouterr().out


def test_a_run_of_an_older_version_is_found_from_the_folder_where_it_was_made(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(project, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    workspace = Workspace(load_config(Path("conf/mine.yaml"), FEW_STEPS))
    Path("runs/mine/config.yaml").write_text(yaml.safe_dump(workspace.config.to_dict()))
    records = StepRecords(workspace)
    first = next(step for step in all_steps(workspace, ["train-upstream"]) if step.group == "city")
    as_once = records._inputs_hash(first, {})
    assert as_once != records.inputs_hash(first), "paths counted as they were typed"
    records.note(first, as_once)
    for named in ("conf/mine.yaml", "runs/mine"):
        assert lat("run", named) == 0
        assert "everything is up to date" in capsys.readouterr().out
