"""Datasets in the layouts in which people download them."""

from __future__ import annotations

import errno
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from factories import coco_dict, write_coco
from PIL import Image

from lat.commands.found_dataset import found_dataset
from lat.commands.init import parse_dataset
from lat.core.errors import InputError
from lat.data.data_settings import DatasetSettings
from lat.data.dataset import load_dataset


def part(folder: Path, labels: Path, images: int = 2) -> None:
    """Images in a folder, and a COCO file of them."""
    made = write_coco(folder.parent / "made", coco_dict([[(2, 3, 8, 8)]] * images))
    shutil.copytree(made.images, folder, dirs_exist_ok=True)
    labels.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made.annotations, labels)
    shutil.rmtree(folder.parent / "made")


def roboflow(root: Path) -> Path:
    for name in ("train", "valid", "test"):
        part(root / name, root / name / "_annotations.coco.json")
    return root


def counts(settings: DatasetSettings) -> list[int]:
    return [0 if one is None else len(one) for one in load_dataset(settings)]


def test_roboflow(tmp_path: Path) -> None:
    found = found_dataset("ours", roboflow(tmp_path / "ours"))
    assert (found.images, found.validation_images) == (str(tmp_path / "ours/train"), str(tmp_path / "ours/valid"))
    assert counts(found) == [2, 2]


def test_an_archive_is_unpacked_once_beside_itself(tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "ours.v3i.coco"), "zip", roboflow(tmp_path / "made")))
    found = found_dataset("ours", archive)
    assert found.images == str(tmp_path / "ours.v3i.coco" / "train")
    assert counts(found) == [2, 2]
    (tmp_path / "ours.v3i.coco" / "note").touch()
    assert found_dataset("ours", archive) == found
    assert (tmp_path / "ours.v3i.coco" / "note").exists()


def test_coco(tmp_path: Path) -> None:
    for name in ("train2017", "val2017"):
        part(tmp_path / "coco" / name, tmp_path / "coco" / "annotations" / f"instances_{name}.json")
    found = found_dataset("coco", tmp_path / "coco")
    assert found.images.endswith("coco/train2017")
    assert found.validation_images.endswith("coco/val2017")
    assert counts(found) == [2, 2]


@pytest.mark.parametrize("above", ["", "../"])
def test_yolo_is_converted_whatever_its_paths_count_from(above: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "export"
    for name in ("train", "valid"):
        (root / name / "images").mkdir(parents=True)
        (root / name / "labels").mkdir()
        Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(root / name / "images" / "a.png")
        (root / name / "labels" / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    (root / "data.yaml").write_text(f"train: {above}train/images\nval: {above}valid/images\nnames: [car, bus]\n")
    found = found_dataset("theirs", root / "data.yaml")
    assert (found.annotations, found.validation) == ("data/imported/theirs/train.json", "data/imported/theirs/val.json")
    train, held_out = load_dataset(found)
    assert held_out is not None
    assert train.labels.boxes_xyxy.tolist() == held_out.labels.boxes_xyxy.tolist() == [[15, 5, 25, 15]]
    assert train.space.class_names == ("car", "bus")


def test_one_file_beside_images_even_within_one_more_folder(tmp_path: Path) -> None:
    part(tmp_path / "inner" / "images", tmp_path / "inner" / "labels.json")
    assert counts(found_dataset("ours", tmp_path)) == [2, 0]


def test_what_holds_no_dataset_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"empty: holds no dataset in a known layout: train/_annotations\.coco\.json \(Roboflow\)"
    ):
        found_dataset("ours", tmp_path / "empty")
    with pytest.raises(InputError, match=r"none: there is no such folder; check the path"):
        found_dataset("ours", tmp_path / "none")
    with pytest.raises(InputError, match=r"none.zip: there is no such file"):
        found_dataset("ours", tmp_path / "none.zip")
    (tmp_path / "bad.zip").write_bytes(b"PK but no more")
    with pytest.raises(InputError, match=r"bad.zip: cannot be unpacked \(File is not a zip file\); download it again"):
        found_dataset("ours", tmp_path / "bad.zip")


def test_archives_neither_burst_nor_write_elsewhere(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(150_000_000))
    with pytest.raises(InputError, match=r"bomb.zip: unpacks to 0.1 GB, far more than it holds"):
        found_dataset("ours", tmp_path / "bomb.zip")
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("../../outside.json", json.dumps({}))
    with pytest.raises(InputError, match="holds no dataset"):
        found_dataset("ours", tmp_path / "out.zip")
    assert not any(parent.joinpath("outside.json").exists() for parent in (tmp_path, tmp_path.parent))


def test_images_of_validation_may_lie_elsewhere() -> None:
    found = parse_dataset("ours=a,b.json,c.json,d")
    assert (found.images, found.annotations, found.validation, found.validation_images) == ("a", "b.json", "c.json", "d")


def test_a_full_disk_is_no_fault_of_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "ours"), "zip", roboflow(tmp_path / "made")))

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", refuse)
    with pytest.raises(InputError, match=r"ours: cannot be read or written \(no space left on device\); free some of the disk"):
        found_dataset("ours", archive)
    assert not any(path.name.endswith(".part") for path in tmp_path.iterdir())
