"""A map of classes is part of what a step is made from, and no trace is left of it once it is removed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from factories import coco_dict, label_space, write_coco

from lat.config.load import config_from
from lat.pipeline.plan import all_steps
from lat.workspace.label_files import config_sha256
from lat.workspace.step_records import StepRecords
from lat.workspace.workspace import Workspace


def hashes(folder: Path, classes: dict[str, str | None]) -> tuple[str, str]:
    """Of the training of the detector of `city`, and of all settings."""
    spaces = {"city": label_space("city", ("car", "truck")), "way": label_space("way", ("car", "truck"))}
    datasets = [asdict(write_coco(folder / name, coco_dict(space=space), name=name)) for name, space in spaces.items()]
    datasets[0]["classes"] = classes
    workspace = Workspace(config_from({"datasets": datasets, "output_dir": str(folder / "run"), "rounds": {"count": 0}}))
    (step,) = (one for one in all_steps(workspace, ["train-upstream"]) if one.dataset == "city" and not one.member)
    return StepRecords(workspace).inputs_hash(step), config_sha256(workspace)


def test_a_map_counts_as_other_data_until_it_is_removed(tmp_path: Path) -> None:
    before, merged = hashes(tmp_path, {}), hashes(tmp_path, {"truck": "car"})
    assert all(one != other for one, other in zip(before, merged, strict=True))
    assert all(one != other for one, other in zip(merged, hashes(tmp_path, {"truck": None}), strict=True))
    assert hashes(tmp_path, {}) == before
