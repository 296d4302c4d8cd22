"""Manifests: the same hashes with and without, what changed is noticed, and only that is read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from factories import coco_dict, draw_images, label_space, write_coco

from lat.config.load import config_from
from lat.core.file_cache import Stamp
from lat.data import dataset_check, image_check, manifest
from lat.data.data_settings import DatasetSettings
from lat.data.dataset_check import DatasetCheck, check_dataset
from lat.data.manifest import Entry, read_manifest, write_manifest
from lat.workspace import step_records
from lat.workspace.step_records import StepRecords
from lat.workspace.workspace import Workspace

BOXES = [[(2, 3, 10, 8)], [(4, 4, 5, 5)], [(1, 1, 9, 9)], []]


@pytest.fixture
def city(tmp_path: Path) -> DatasetSettings:
    """A dataset of four images, whose files were written long ago."""
    settings = write_coco(tmp_path / "city", coco_dict(BOXES))
    for path in Path(settings.images).iterdir():
        os.utime(path, ns=(10**18, 10**18))
    return settings


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read or hashed, as they are."""
    names: list[str] = []
    for module, function in ((image_check, "image_bytes"), (step_records, "sha256_of_file")):
        real = getattr(module, function)
        monkeypatch.setattr(module, function, lambda path, real=real: names.append(Path(path).name) or real(path))
    return names


def data_hash(settings: DatasetSettings, out: Path) -> str:
    """The hash of a dataset in a new run."""
    other = write_coco(out / "other", coco_dict(space=label_space("other")), name="other")
    datasets = [{"name": one.name, "images": one.images, "annotations": one.annotations} for one in (settings, other)]
    config = config_from({"datasets": datasets, "target": "other", "output_dir": str(out / "run")})
    records = StepRecords(Workspace(config))
    found = records._data_hash(settings.name)
    records.save()
    return found


def with_manifest(settings: DatasetSettings) -> DatasetCheck:
    check = check_dataset(settings, write_manifests=True)
    assert not check.problems
    return check


def test_the_hash_is_the_same_with_a_manifest_and_no_image_is_read(
    city: DatasetSettings, tmp_path: Path, read: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    without = data_hash(city, tmp_path / "a")
    assert sorted(read) == ["001.png", "002.png", "003.png", "004.png", "annotations.json"]
    check = with_manifest(city)
    assert check.manifests == (tmp_path / "city" / "annotations.manifest.parquet",)
    read.clear()
    assert data_hash(city, tmp_path / "b") == without
    assert read == ["annotations.json"]
    assert capsys.readouterr().out == ""


def test_a_changed_image_is_noticed_and_read_alone(
    city: DatasetSettings, tmp_path: Path, read: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = data_hash(city, tmp_path / "a")
    with_manifest(city)
    changed = Path(city.images) / "002.png"
    shutil.copyfile(Path(city.images) / "001.png", changed)
    read.clear()
    after = data_hash(city, tmp_path / "b")
    assert after != before
    assert sorted(read) == ["002.png", "annotations.json"]
    assert capsys.readouterr().out == "city: images: 1 of 4 changed since the manifest\n"
    (tmp_path / "city" / "annotations.manifest.parquet").unlink()
    assert data_hash(city, tmp_path / "c") == after


def test_a_touched_image_of_the_same_content_is_hashed_once(city: DatasetSettings, tmp_path: Path, read: list[str]) -> None:
    before = data_hash(city, tmp_path / "a")
    with_manifest(city)
    (Path(city.images) / "003.png").touch()
    read.clear()
    assert [data_hash(city, tmp_path / "b") for _ in range(2)] == [before, before]
    assert sorted(read) == ["003.png", "annotations.json"]


def test_the_manifest_of_another_folder_counts_for_nothing(city: DatasetSettings, tmp_path: Path, read: list[str]) -> None:
    with_manifest(city)
    other = tmp_path / "elsewhere"
    document = coco_dict([[(7, 7, 9, 9)]] * 4)
    draw_images(other, document)
    for path in other.iterdir():  # files of the same names, sizes and times, but other pixels
        size = (Path(city.images) / path.name).stat().st_size
        path.write_bytes(path.read_bytes()[:size].ljust(size, b"\0"))
        os.utime(path, ns=(10**18, 10**18))
    moved = DatasetSettings("city", str(other), city.annotations)
    read.clear()
    assert data_hash(moved, tmp_path / "a") != data_hash(city, tmp_path / "b")
    assert sorted(read) == sorted(["001.png", "002.png", "003.png", "004.png", "annotations.json", "annotations.json"])


def test_a_dataset_that_moves_as_a_whole_keeps_its_manifest(city: DatasetSettings, tmp_path: Path, read: list[str]) -> None:
    with_manifest(city)
    shutil.move(tmp_path / "city", tmp_path / "moved")
    moved = DatasetSettings("city", str(tmp_path / "moved" / "images"), str(tmp_path / "moved" / "annotations.json"))
    read.clear()
    data_hash(moved, tmp_path / "a")
    assert read == ["annotations.json"]


def test_check_opens_only_what_the_manifest_does_not_know(city: DatasetSettings, read: list[str]) -> None:
    with_manifest(city)
    read.clear()
    assert not check_dataset(city).problems
    assert read == []
    draw_images(Path(city.images), coco_dict([[(2, 3, 10, 8)]] * 2, size_hw=(48, 32)))
    check = check_dataset(city)
    assert sorted(read) == ["001.png", "002.png"]
    assert [(one.file.name, one.item) for one in check.problems] == [("001.png", "image 1"), ("002.png", "image 2")]
    assert all("width and height are swapped" in one.what for one in check.problems)
    assert [str(note) for note in check.notes if "manifest" in str(note)] == ["images: 2 of 4 changed since the manifest"]


def test_check_finds_a_wrong_size_by_the_manifest_alone(city: DatasetSettings, tmp_path: Path, read: list[str]) -> None:
    with_manifest(city)
    annotations = Path(city.annotations)
    annotations.write_text(annotations.read_text().replace('"width": 48', '"width": 50'))
    read.clear()
    with_manifest_used = check_dataset(city).problems
    assert read == []
    (tmp_path / "city" / "annotations.manifest.parquet").unlink()
    assert check_dataset(city).problems == with_manifest_used
    assert len(with_manifest_used) == 4


def test_a_second_manifest_reads_only_what_changed_and_leaves_out_what_is_no_image(
    city: DatasetSettings, read: list[str]
) -> None:
    with_manifest(city)
    labels, images = Path(city.annotations), Path(city.images)
    before = read_manifest(labels, images)
    assert before.entries["001.png"].size_hw == (32, 48)
    (images / "004.png").write_bytes(b"no image")
    read.clear()
    check = check_dataset(city, write_manifests=True)
    assert read == ["004.png"]
    assert len(check.problems) == 1
    after = read_manifest(labels, images)
    assert {**after.entries, "004.png": before.entries["004.png"]} == before.entries


def test_a_manifest_is_read_back_and_a_damaged_one_counts_as_none(tmp_path: Path) -> None:
    labels, images = tmp_path / "train.json", tmp_path / "images"
    entries = {"a/ä.jpg": Entry(Stamp(3, -5), "0" * 62 + "ff", (4, 6)), "b.jpg": Entry(Stamp(2**40, 10**19 // 2), "ab" * 32)}
    path = write_manifest(labels, images, entries.items())
    found = read_manifest(labels, images)
    assert dict(found.entries) == entries
    assert found.of("b.jpg", Stamp(2**40, 10**19 // 2)) == entries["b.jpg"]
    assert found.of("b.jpg", Stamp(2**40, 0)) is found.of("b.jpg", None) is found.of("c.jpg", Stamp(1, 1)) is None
    path.write_bytes(path.read_bytes()[:-9])
    assert len(read_manifest(labels, images)) == 0
    assert len(read_manifest(tmp_path / "val.json", images)) == 0


def test_two_parts_of_one_labels_file_share_a_manifest(tmp_path: Path) -> None:
    document = coco_dict(BOXES, splits=["train", "train", "val", "none"])
    settings = write_coco(tmp_path, document, split="train", validation_split="val")
    (path,) = check_dataset(settings, write_manifests=True).manifests
    assert path == manifest.manifest_path(Path(settings.annotations))
    assert sorted(read_manifest(Path(settings.annotations), Path(settings.images)).entries) == ["001.png", "002.png", "003.png"]
    assert dataset_check.check_dataset(settings).problems == ()
