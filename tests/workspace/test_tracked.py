"""What trainings are called in trackers: the project is the folder of the run, each training is DATASET/STAGE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from factories import coco_dict, write_coco

from lat.config.load import Config, config_from
from lat.workspace.tracked import tracked_run
from lat.workspace.workspace import Workspace


@pytest.fixture
def configure(tmp_path: Path) -> Callable[[str], Config]:
    datasets = [write_coco(tmp_path / name, coco_dict(), name=name) for name in ("city", "way")]
    entries = [{"name": one.name, "images": one.images, "annotations": one.annotations} for one in datasets]
    return lambda place: config_from({"output_dir": place, "datasets": entries, "rounds": {"count": 1}})


def test_the_project_is_the_folder_and_a_run_is_dataset_and_stage(configure: Callable[[str], Config], tmp_path: Path) -> None:
    workspace = Workspace(configure(str(tmp_path / "mine")), 0)
    run = tracked_run(workspace, "city", "upstream", "member 1")
    assert (run.folder, run.project, run.name) == (tmp_path / "mine", "mine", "city/upstream member 1")
    assert tracked_run(workspace.at(1), "all", "label-transfer").name == "all/label-transfer round 1"


def test_a_folder_with_characters_that_no_project_may_have(configure: Callable[[str], Config], tmp_path: Path) -> None:
    assert tracked_run(Workspace(configure(str(tmp_path / "a#b:c")), 0), "city", "upstream").project == "a_b_c"


def test_a_copy_of_a_folder_at_a_url_is_called_like_the_folder(configure: Callable[[str], Config], tmp_path: Path) -> None:
    copy = tmp_path / "runs" / "mine.0123456789ab.workers"
    assert tracked_run(Workspace(configure(str(copy))), "city", "upstream").project == "mine"
    remote = replace(configure(str(copy)).runtime, executor="ray")
    config = replace(configure(str(copy)), output_dir="s3://bucket/runs/mine/", runtime=remote)
    assert tracked_run(Workspace(config), "city", "upstream").project == "mine"
