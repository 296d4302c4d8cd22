"""An outside label set in a run: one more space of proposals, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny import draw_tiny, quiet, tiny_workspace

from lat.commands.check import check_all
from lat.core.errors import InputError
from lat.pipeline.run import run_stages
from lat.stages.shared.transfer_model import TransferItems, open_features
from lat.workspace.workspace import Workspace

CLASSES = [{"id": 3, "name": "two-wheeler"}, {"id": 1, "name": "person"}]
BOX = {"category_id": 3, "bbox": [10, 20, 30, 40]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration with a label set for the images of city and nu, and the folder of a run of it."""
    folder = tmp_path_factory.mktemp("label_sets")
    config = draw_tiny(folder)
    (folder / "classes.json").write_text(json.dumps({"categories": CLASSES}))
    (folder / "city.json").write_text(json.dumps([{**BOX, "image_id": 2, "score": 0.5}, {**BOX, "image_id": 2, "score": 0.2}]))
    images = json.loads((folder / "data" / "nu" / "train.json").read_text())["images"][:1]
    annotation = {**BOX, "id": 5, "image_id": images[0]["id"], "category_id": 1, "area": 1200, "iscrowd": 0}
    (folder / "nu.json").write_text(json.dumps({"images": images, "categories": CLASSES, "annotations": [annotation]}))
    entry = f"{{name: phone, files: {{city: {folder}/city.json, nu: {folder}/nu.json}}, categories: {folder}/classes.json}}"
    config.write_text(config.read_text() + f"label_sets:\n  - {entry}\n")
    run_stages(open_run(config, folder / "run"), say=quiet)
    return config, folder / "run"


def open_run(config: Path, run: Path, *overrides: str) -> Workspace:
    return tiny_workspace(config, run, "pseudo_label.threshold=0.3", *overrides)


def test_its_labels_are_proposals_in_their_own_columns(finished: tuple[Path, Path]) -> None:
    workspace = open_run(*finished)
    assert workspace.data.joint.names == ("city", "nu", "way", "phone")
    assert len(workspace.data.joint) == 7 + 7 + 3 + 2
    items = TransferItems(workspace, open_features(workspace), workspace.names)
    of_city = items.transfer_input("city", 1).proposals  # image id 2
    (row,) = (of_city.space_index == 3).nonzero().flatten().tolist()  # the label with a score of 0.2 is below the threshold
    assert of_city.boxes_xyxy[row].tolist() == [10, 20, 40, 60]
    assert of_city.class_scores[row].tolist() == [0.0] * 17 + [0.5, 0.0]
    assert of_city.confidence[row] == 0.5
    assert of_city.annotation_ids[row] == 1
    of_nu = items.transfer_input("nu", 0).proposals
    assert of_nu.class_scores[of_nu.space_index == 3].tolist() == [[0.0] * 17 + [0.0, 1.0]]
    for name, image in (("city", 0), ("nu", 1), ("way", 0)):
        assert 3 not in items.transfer_input(name, image).proposals.space_index


def test_it_has_no_detector_and_nothing_is_transferred_from_it_or_to_it(finished: tuple[Path, Path]) -> None:
    config, run = finished
    assert {path.name for path in (run / "upstream").iterdir()} == {"city", "nu", "way"}
    for kind in ("pseudo_labels", "transferred"):
        assert len(list((run / kind).glob("*.json"))) == 6
    assert "phone" not in (run / "evaluation.json").read_text()
    with pytest.raises(InputError, match="target names 'phone', and there is no such dataset"):
        open_run(config, run, "target=phone")


def test_a_changed_file_sets_off_training_and_transfer_again(finished: tuple[Path, Path], tmp_path: Path) -> None:
    config, run = finished
    shutil.copytree(run, tmp_path / "run")
    stages = ["train-upstream", "pseudo-label", "train-lat", "transfer"]
    assert run_stages(open_run(config, tmp_path / "run"), stages, say=quiet) == []
    file = config.parent / "city.json"
    before = file.read_text()
    try:
        file.write_text(json.dumps([{**BOX, "image_id": 3, "score": 0.9}]))
        done = run_stages(open_run(config, tmp_path / "run"), stages, say=quiet)
    finally:
        file.write_text(before)
    assert {step.stage for step in done} == {"train-lat", "transfer"}
    assert len(done) == 1 + 1 + 6


def test_it_is_checked_before_anything_is_trained_and_shown_by_the_check(
    finished: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, _ = finished
    assert check_all(open_run(config, tmp_path).config)
    shown = capsys.readouterr().out
    for words in ("label set phone", "images of city", "images of nu", "two-wheeler", "0 problems in 3 datasets and 1 label set"):
        assert words in shown
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps([{**BOX, "image_id": 77, "score": 0.5}]))
    other = tmp_path / "config.yaml"
    other.write_text(config.read_text().replace(str(config.parent / "city.json"), str(wrong)))
    workspace = open_run(other, tmp_path / "run")
    assert not check_all(workspace.config)
    assert "image 77 is not in" in capsys.readouterr().out
    with pytest.raises(InputError, match="image 77 is not in"):
        run_stages(workspace, say=quiet)
    assert not (tmp_path / "run" / "upstream").exists()
