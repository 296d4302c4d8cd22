"""What all importers share: subsets, clipping, what is left out, manifests, whole files, class lists."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path

import pytest
import yaml
from imported import run_import
from layouts import scalabel_frame, write_bdd100k, write_nuimages

from lat.core.errors import InputError
from lat.core.files import sha256_of_file
from lat.formats.importers import class_lists
from lat.formats.importers.bdd100k import Bdd100k
from lat.formats.importers.box_store import BoxStore
from lat.formats.importers.class_lists import load_class_list
from lat.formats.importers.nuimages import NuImages
from lat.formats.importers.source import Box
from lat.formats.importers.writer import draw_subset

SPACES = sorted(class_lists.CLASS_LIST_FOLDER.glob("*.yaml"))


def test_boxes_are_clipped_and_counted_and_those_without_an_area_reported(tmp_path: Path) -> None:
    boxes = [(-5, 2, 10, 20), (60, 30, 70, 40), (70, 0, 90, 10), (8, 5, 8, 9), (9, 9, 3, 12), (0, 0, 64, 32)]
    write_nuimages(tmp_path, {"x.jpg": [("vehicle.car", box) for box in boxes[::-1]]})
    found, summary = run_import(NuImages(tmp_path, tmp_path / "out"))
    assert [box for _, box, _ in found["samples/CAM_FRONT/x.jpg"]] == [[0, 2, 10, 20], [60, 30, 64, 32], [0, 0, 64, 32]]
    assert summary.clipped == 2
    assert [*summary.notes()] == [
        "clipped to the image: 2 boxes",
        "left out: 3 boxes: no area inside the image",
    ]


def test_labels_that_nobody_knows_are_counted_by_name(tmp_path: Path) -> None:
    write_bdd100k(tmp_path, [scalabel_frame("a.jpg", [("ufo", (1, 1, 2, 2)), ("car", (1, 1, 2, 2))])])
    _, summary = run_import(Bdd100k(tmp_path, tmp_path / "out"))
    assert [*summary.notes()] == ["left out: 1 box: unknown label 'ufo', no class of bdd100k"]


def test_images_that_are_not_there_are_left_out_and_counted(tmp_path: Path) -> None:
    write_bdd100k(tmp_path, [scalabel_frame("a.jpg", []), scalabel_frame("b.jpg", [])])
    (tmp_path / "images" / "100k" / "train" / "a.jpg").unlink()
    found, summary = run_import(Bdd100k(tmp_path, tmp_path / "out"))
    assert ([*found], summary.missing) == (["b.jpg"], 1)
    assert [*summary.notes()] == [f"left out: 1 image: not in {tmp_path}/images/100k/train"]
    (tmp_path / "images" / "100k" / "train" / "b.jpg").unlink()
    with pytest.raises(InputError, match="none of the 2 annotated images exists; download the images"):
        run_import(Bdd100k(tmp_path, tmp_path / "none"))
    assert not list((tmp_path / "none").iterdir())


def test_a_file_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    write_bdd100k(tmp_path, [scalabel_frame("../a.jpg", [])])
    with pytest.raises(InputError, match=r"image '\.\./a\.jpg' leaves the images folder"):
        run_import(Bdd100k(tmp_path, tmp_path / "out"))


def test_a_subset_is_the_same_in_whatever_order_the_names_come() -> None:
    names = [f"{i}.png" for i in range(200)]
    chosen = draw_subset(names, 30, seed=0)
    assert len(chosen) == 30
    assert draw_subset(names[::-1], 30, seed=0) == chosen
    assert draw_subset(names, 30, seed=1) != chosen
    assert draw_subset(names, 20, seed=0) < chosen
    assert draw_subset(names[:5], 30, seed=0) == frozenset(names[:5])
    assert len(draw_subset([*names, "new.png"], 30, seed=0) & chosen) >= 29


def test_the_manifest_says_what_was_imported_from_what(tmp_path: Path) -> None:
    write_bdd100k(tmp_path, [scalabel_frame(f"{i}.jpg", [("car", (1, 1, 9, 9))]) for i in range(8)])
    found, _ = run_import(Bdd100k(tmp_path, tmp_path / "out"), subset=3, seed=4, hash_images=True)
    again, _ = run_import(Bdd100k(tmp_path, tmp_path / "again"), subset=3, seed=4)
    assert again == found
    assert (tmp_path / "out" / "train.json").read_bytes() == (tmp_path / "again" / "train.json").read_bytes()
    manifest = json.loads((tmp_path / "out" / "train.manifest.json").read_text())
    labels = tmp_path / "labels" / "det_20" / "det_train.json"
    images = manifest.pop("images")
    assert manifest == {
        "format": "test",
        "split": "train",
        "settings": {},
        "subset": 3,
        "seed": 4,
        "annotation_files": [{"file": "labels/det_20/det_train.json", "sha256": sha256_of_file(labels)}],
        "labels": {"file": "train.json", "sha256": sha256_of_file(tmp_path / "out" / "train.json")},
    }
    files = {name: tmp_path / "images" / "100k" / "train" / name for name in found}
    assert images == [
        {"id": i, "file_name": name, "bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
        for i, (name, path) in enumerate(files.items(), start=1)
    ]
    assert "sha256" not in json.loads((tmp_path / "again" / "train.manifest.json").read_text())["images"][0]


def test_an_import_that_fails_leaves_the_old_files(tmp_path: Path) -> None:
    write_bdd100k(tmp_path, [scalabel_frame("a.jpg", [])])
    run_import(Bdd100k(tmp_path, tmp_path / "out"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    path = tmp_path / "labels" / "det_20" / "det_train.json"
    path.write_text(path.read_text()[:-1] + ', {"name": 3}]')
    with pytest.raises(InputError, match=r"det_train\.json: is not Scalabel frames"):
        run_import(Bdd100k(tmp_path, tmp_path / "out"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_the_store_gives_boxes_back_by_image_in_their_order() -> None:
    a, b, c = Box("x", 1, 2, 3.5, 4), Box("y", 0, 0, 1, 1, True), Box("x", 5, 5, 6, 6)
    with BoxStore([("one", a), (2, b), ("one", c)]) as store:
        assert store.boxes("one") == [a, c]
        assert store.left == 1
        assert store.boxes(2) == [b]
        assert store.boxes("2") == []
        assert store.left == 0
    with pytest.raises(sqlite3.ProgrammingError):
        store.boxes(2)


def test_the_store_keeps_what_is_no_number_apart_from_nothing() -> None:
    with BoxStore([(1, Box("x", math.nan, 0, math.inf, 1))]) as store:
        (box,) = store.boxes(1)
    assert (math.isnan(box.x1), *box[2:5]) == (True, 0, math.inf, 1)


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_class_list_can_be_read_and_states_its_convention(path: Path) -> None:
    found = load_class_list(path.stem)
    assert set(found.space.category_ids) == {category for category, _ in found.labels.values()}
    assert not found.ignored & set(found.labels)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(content) <= {"classes", "ignored", "image_size", "convention", "source"}
    assert set(content["convention"]) == {"extent", "riders", "groups", "minimum_size", "unlabelled"}
    labels = [label for one in content["classes"] for key in ("labels", "crowd_labels") for label in one.get(key, [])]
    assert len(labels) == len(set(labels))


def test_the_class_lists_have_the_published_numbers_of_classes() -> None:
    counts = {path.stem: len(load_class_list(path.stem).space) for path in SPACES}
    wanted = {"cityscapes": 8, "acdc": 8, "synscapes": 8, "nuimages": 23, "nuimages_standard": 10, "waymo": 3, "bdd100k": 10}
    assert counts == {**wanted, "shift": 6, "kitti": 8}
