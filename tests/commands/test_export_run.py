"""A target's own images, those of all sources with their transferred labels, and the held-out ones, as one dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tiny import draw_tiny, labelled_workspace

from lat.cli import main
from lat.commands.export_run import export_run
from lat.core.errors import InputError
from lat.labels.coco.read import read_labels
from lat.workspace.workspace import Workspace

SCORES = {"nu": 0.7, "way": 0.3}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_tiny(tmp_path_factory.mktemp("export_run"))


@pytest.fixture
def workspace(config: Path, tmp_path: Path) -> Workspace:
    """A run whose transferred labels are one box per image, of one score in each source."""
    return labelled_workspace(config, tmp_path / "run", SCORES)


def test_own_images_and_those_of_each_source_with_labels_that_count(workspace: Workspace, tmp_path: Path) -> None:
    summary = export_run(workspace, "coco", tmp_path / "out")
    own, nu = workspace.data.train_part("city").labels, workspace.data.train_part("nu").labels
    table = read_labels(tmp_path / "out" / "annotations" / "instances_train.json", "city", expect=own.space)
    assert summary.images == len(own) + len(nu) + 1, "one is held out; no label of way reaches 0.5"
    assert table.file_names == tuple(f"city/{name}" for name in own.file_names) + tuple(f"nu/{name}" for name in nu.file_names)
    assert table.image_ids.tolist() == list(range(1, 7))
    assert table.num_boxes == own.num_boxes + len(nu)
    assert (table.boxes_xyxy[: own.num_boxes] == own.boxes_xyxy).all()
    assert table.scores[-3:].tolist() == pytest.approx([0.7] * 3)
    assert table.boxes_xyxy[-1].tolist() == [1, 2, 11, 22]
    for image, name in zip(("city", "nu"), (own.file_names[0], nu.file_names[0]), strict=True):
        linked = tmp_path / "out" / "images" / "train" / image / name
        assert linked.read_bytes() == (workspace.data.train_part(image).image_path(0)).read_bytes()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [file["file"] for file in manifest["splits"]["train"]["labels"]] == ["train.json", "nu.city.json"]
    val = read_labels(tmp_path / "out" / "annotations" / "instances_val.json", "city")
    assert val.num_boxes == workspace.data.held_out_part("city").labels.num_boxes


def test_a_lower_score_takes_more_and_yolo_gets_one_flat_folder(workspace: Workspace, tmp_path: Path) -> None:
    summary = export_run(workspace, "yolo", tmp_path / "out", "city", min_score=0.2)
    assert summary.images == 3 * 3 + 1
    names = sorted(path.name for path in (tmp_path / "out" / "images" / "train").iterdir())
    assert [name.partition("_")[0] for name in names] == ["city"] * 3 + ["nu"] * 3 + ["way"] * 3
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())["val"] == "images/val"


def test_from_the_folder_of_a_run(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = workspace.paths.root
    (run / "config.yaml").write_text(yaml.safe_dump(workspace.config.to_dict()))
    with pytest.raises(SystemExit) as caught:
        main(["export", str(run), "--to", "voc", "--out", str(tmp_path / "out")])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path / 'out'}: 7 images, ")


def test_what_is_wrong_is_told(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--to: is 'cvat', and a run is exported for training; choose yolo, voc, coco"):
        export_run(workspace, "cvat", tmp_path / "out")
    with pytest.raises(InputError, match="--target: is 'nu'; choose among city"):
        export_run(workspace, "yolo", tmp_path / "out", "nu")
    workspace.paths.transferred("nu", "city").unlink()
    with pytest.raises(InputError, match=r"nu.city.json: does not exist yet; run `lat transfer` first"):
        export_run(workspace, "yolo", tmp_path / "out")
    assert not (tmp_path / "out").exists()
