"""The driving datasets in their own layouts, boxes worked out by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from imported import run_import, sizes_in
from layouts import (
    rectangle,
    scalabel_frame,
    write_acdc,
    write_bdd100k,
    write_cityscapes,
    write_image,
    write_nuimages,
    write_shift,
    write_synscapes,
    write_waymo,
)

from lat.core.errors import InputError
from lat.formats.importers.acdc import Acdc
from lat.formats.importers.bdd100k import Bdd100k
from lat.formats.importers.cityscapes import Cityscapes
from lat.formats.importers.nuimages import NuImages
from lat.formats.importers.shift import Shift
from lat.formats.importers.synscapes import Synscapes
from lat.formats.importers.waymo import Waymo

STREET = [
    ("road", rectangle(0, 16, 63, 31)),
    ("car", rectangle(10, 10, 29, 19)),
    ("cargroup", rectangle(40, 10, 60, 14)),
    ("rider", rectangle(5, 2, 8, 9)),
    ("trailer", rectangle(50, 20, 60, 30)),
    ("person", rectangle(1, 25, 3, 30)),
    ("wall", rectangle(0, 24, 4, 31)),  # hides the person
    ("bicycle", rectangle(4, 6, 9, 12)),  # hides the feet of the rider
    ("pole", rectangle(8, 0, 12, 31)),  # hides the left of the car
    ("license plate", rectangle(25, 10, 29, 19)),  # is not drawn
]


def write_instances(root: Path, stem: str, values: np.ndarray) -> None:
    city = stem.split("_")[0]
    assert cv2.imwrite(str(root / "gtFine" / "train" / city / f"{stem}_gtFine_instanceIds.png"), values)


def test_cityscapes_boxes_are_the_visible_parts_and_groups_are_crowds(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, {"b_000000_000019": [], "a_000001_000019": STREET}, deleted=0)
    found, summary = run_import(Cityscapes(tmp_path, tmp_path / "out"))
    a, b = (f"train/{city}/{city}_{number}_000019_leftImg8bit.png" for city, number in (("a", "000001"), ("b", "000000")))
    assert found == {
        a: [
            ("car", [13, 10, 30, 20], 0),  # pixels 13 to 29 by 10 to 19
            ("car", [40, 10, 61, 15], 1),
            ("rider", [5, 2, 8, 6], 0),  # row 6 and below are the bicycle's, column 8 is the pole's
            ("bicycle", [4, 6, 8, 13], 0),
        ],
        b: [],
    }
    reasons = {"nothing visible": 1, "label 'trailer', no class of cityscapes": 1}
    assert dict(summary.left_out) == reasons
    assert sizes_in(tmp_path / "out" / "train.json")[a] == (64, 32)
    write_cityscapes(tmp_path, {"a_000001_000019": STREET}, deleted=1)
    assert run_import(Cityscapes(tmp_path, tmp_path / "out"))[0][a] == []


def test_cityscapes_polygons_and_instance_images_give_the_same_boxes(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, {"a_000001_000019": STREET})
    values = np.full((32, 64), 7, np.uint16)
    ids = {"car": 26_000, "cargroup": 26, "rider": 25_000, "trailer": 30_000, "person": 24_000, "bicycle": 33_001}
    for label, polygon in STREET[:-1]:
        (x1, y1), (x2, y2) = polygon[0], polygon[2]
        values[y1 : y2 + 1, x1 : x2 + 1] = ids.get(label, 11)
    write_instances(tmp_path, "a_000001_000019", values)
    wanted, _ = run_import(Cityscapes(tmp_path, tmp_path / "out"))
    found, summary = run_import(Cityscapes(tmp_path, tmp_path / "png", boxes="instance_ids"))
    assert {name: sorted(boxes) for name, boxes in found.items()} == {name: sorted(boxes) for name, boxes in wanted.items()}
    assert dict(summary.left_out) == {"label 'trailer', no class of cityscapes": 1}


def test_cityscapes_groups_of_an_instance_image_are_boxes_of_their_parts(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, {"a_0_0": []})
    values = np.zeros((32, 64), np.uint16)
    values[2:5, 3:9] = values[20:22, 30:40] = 24
    write_instances(tmp_path, "a_0_0", values)
    found, _ = run_import(Cityscapes(tmp_path, tmp_path / "out", boxes="instance_ids"))
    (boxes,) = found.values()
    assert boxes == [("person", [3, 2, 9, 5], 1), ("person", [30, 20, 40, 22], 1)]


def test_nuimages_takes_key_frames_of_cameras_and_corners_as_they_are(tmp_path: Path) -> None:
    boxes = [("vehicle.bus.bendy", (4, 2, 20, 12)), ("animal", (30, 3, 33, 9)), ("vehicle.car", (50, 0, 80, 20))]
    write_nuimages(tmp_path, {"x.jpg": boxes, "empty.jpg": []})
    found, summary = run_import(NuImages(tmp_path, tmp_path / "out"))
    wanted = [("vehicle.car", [50, 0, 64, 20], 0), ("animal", [30, 3, 33, 9], 0), ("vehicle.bus.bendy", [4, 2, 20, 12], 0)]
    assert found == {"samples/CAM_FRONT/x.jpg": wanted, "samples/CAM_FRONT/empty.jpg": []}
    assert (summary.clipped, summary.left_out.total()) == (1, 0)
    standard = NuImages(tmp_path, tmp_path / "out", classes="standard")
    assert len(NuImages(tmp_path, tmp_path).class_list.space) == 23
    assert len(standard.class_list.space) == 10
    found, summary = run_import(standard)
    assert [label for label, *_ in found["samples/CAM_FRONT/x.jpg"]] == ["car", "bus"]
    assert dict(summary.left_out) == {"label 'animal', no class of nuimages_standard": 1}


def test_waymo_boxes_from_their_middles_and_images_written_out(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    images = {(10, 1): [(1, (20.5, 10, 8, 6)), (3, (5, 5, 2, 2))], (10, 5): [], (11, 1): [(4, (30, 16, 10, 20))]}
    write_waymo(tmp_path, "segment_a", images)
    found, summary = run_import(Waymo(tmp_path, tmp_path / "out"))
    front, side, later = (f"training/segment_a/{name}.jpg" for name in ("10_FRONT", "10_SIDE_RIGHT", "11_FRONT"))
    assert found == {front: [("vehicle", [16.5, 7, 24.5, 13], 0)], side: [], later: [("cyclist", [25, 6, 35, 26], 0)]}
    assert dict(summary.left_out) == {"label '3', no class of waymo": 1}
    assert all(cv2.imread(str(tmp_path / "out" / "images" / name)).shape == (32, 64, 3) for name in found)
    found, _ = run_import(Waymo(tmp_path, tmp_path / "few"), subset=1)
    assert len(found) == 1
    assert [path.relative_to(tmp_path / "few" / "images").as_posix() for path in (tmp_path / "few").rglob("*.jpg")] == [*found]


def test_waymo_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"lat import waymo: needs pyarrow; pip install 'lat-detection\[waymo\]'"):
        Waymo(tmp_path, tmp_path / "out")


def test_waymo_names_a_file_that_is_not_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_waymo(tmp_path, "a", {(1, 1): []})
    (tmp_path / "training" / "camera_image" / "a.parquet").write_bytes(b"x")
    with pytest.raises(InputError, match=r"camera_image/a\.parquet: is not a Parquet file"):
        run_import(Waymo(tmp_path, tmp_path / "out"))


def test_bdd100k_adds_one_to_the_last_pixel_and_knows_old_names(tmp_path: Path) -> None:
    labels = [("pedestrian", (10, 20, 19, 49)), ("motor", (0, 0, 1279, 719)), ("trailer", (5, 5, 8, 8)), ("bike", (3, 3, 3, 3))]
    frame = scalabel_frame("a.jpg", labels)
    frame["labels"].append({"id": "9", "category": "lane", "poly2d": []})
    corners = {"x1": 1, "y1": 1, "x2": 2, "y2": 3}
    frame["labels"].append({"id": "8", "category": "car", "attributes": {"crowd": True}, "box2d": corners})
    write_bdd100k(tmp_path, [frame, {"name": "b.jpg", "timestamp": 0}])
    found, _ = run_import(Bdd100k(tmp_path, tmp_path / "out"))
    assert found == {
        "a.jpg": [
            ("pedestrian", [10, 20, 20, 50], 0),
            ("motorcycle", [0, 0, 1280, 720], 0),
            ("truck", [5, 5, 9, 9], 1),
            ("bicycle", [3, 3, 4, 4], 0),
            ("car", [1, 1, 3, 4], 1),
        ],
        "b.jpg": [],
    }
    old = tmp_path / "labels" / "det_20" / "det_train.json"
    old.rename(tmp_path / "labels" / "bdd100k_labels_images_train.json")
    assert run_import(Bdd100k(tmp_path, tmp_path / "again"))[0] == found


def test_shift_frames_lie_in_folders_of_their_videos(tmp_path: Path) -> None:
    frame = scalabel_frame("00000010_img_front.jpg", [("car", (10.5, 20, 19.5, 29))], videoName="0aee-69fd")
    write_shift(tmp_path, [frame])
    found, _ = run_import(Shift(tmp_path, tmp_path / "out"))
    assert found == {"0aee-69fd/00000010_img_front.jpg": [("car", [10.5, 20, 20.5, 30], 0)]}
    assert sizes_in(tmp_path / "out" / "train.json") == {"0aee-69fd/00000010_img_front.jpg": (1280, 800)}
    folder = tmp_path / "discrete" / "images" / "train" / "front"
    (folder / "img").rename(folder / "img.zip.unpacked")
    (folder / "img.zip").touch()
    with pytest.raises(InputError, match=r"img\.zip: is not unpacked; unpack it into .*front/img"):
        Shift(tmp_path, tmp_path / "out")


def test_a_frame_may_say_its_own_size(tmp_path: Path) -> None:
    frame = scalabel_frame("a.jpg", [("car", (90, 40, 120, 49))], size={"width": 100, "height": 50})
    write_bdd100k(tmp_path, [frame], size=(100, 50))
    assert run_import(Bdd100k(tmp_path, tmp_path / "out"))[0] == {"a.jpg": [("car", [90, 40, 100, 50], 0)]}


def test_acdc_conditions_become_one_file(tmp_path: Path) -> None:
    names = {condition: f"GOPR047{i}_frame_000041_rgb_anon.png" for i, condition in enumerate(("fog", "night", "rain", "snow"))}
    for condition, name in names.items():
        write_acdc(tmp_path, {name: [("train", (2, 3, 10, 8))]}, condition=condition)
    path = tmp_path / "gt_detection" / "night" / "instancesonly_night_train_gt_detection.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = names["night"]  # without its folders
    path.write_text(json.dumps(content))
    found, _ = run_import(Acdc(tmp_path, tmp_path / "out"))
    places = [f"{condition}/train/{name.split('_')[0]}/{name}" for condition, name in names.items()]
    assert found == {place: [("train", [2, 3, 12, 11], 0)] for place in places}
    assert [*run_import(Acdc(tmp_path, tmp_path / "out", conditions="snow, rain"))[0]] == [places[3], places[2]]


def test_synscapes_shares_become_pixels_and_hidden_objects_are_left_out(tmp_path: Path) -> None:
    objects = [(26, (0.25, 0.5, 0.5, 1.0), 0.9), (24, (0, 0, 0.5, 0.5), 0.95), (29, (0, 0, 1, 1), 0), (17, (0, 0, 1, 1), 0)]
    write_synscapes(tmp_path, {10: [], 9: objects})
    found, summary = run_import(Synscapes(tmp_path, tmp_path / "out", "all"))
    assert [*found.items()] == [("9.png", [("car", [16, 16, 32, 32], 0)]), ("10.png", [])]
    reasons = {"hidden by more than 0.9": 1, "label '29', no class of synscapes": 1}
    assert dict(summary.left_out) == reasons
    found, _ = run_import(Synscapes(tmp_path, tmp_path / "out", "all", max_occlusion=1.0))
    assert [label for label, *_ in found["9.png"]] == ["car", "person"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Cityscapes, "Cityscapes: expected gtFine/train"),
        (NuImages, "nuImages: expected v1.0-train/sample_data.json"),
        (Waymo, "the Waymo Open Dataset, version 2: expected training/camera_box"),
        (Bdd100k, "BDD100K: expected labels/det_20/det_train.json"),
        (Acdc, "ACDC: expected gt_detection/fog/instancesonly_fog_train_gt_detection.json"),
        (Shift, "SHIFT: expected discrete/images/train/front/det_2d.json"),
        (Synscapes, "Synscapes: expected meta"),
    ],
)
def test_a_wrong_root_is_told_what_was_expected_and_what_is_there(tmp_path: Path, kind: type, expected: str) -> None:
    if kind is Waymo:
        pytest.importorskip("pyarrow")
    write_image(tmp_path / "x.png", (4, 4))
    with pytest.raises(InputError) as caught:
        kind(tmp_path, tmp_path / "out")
    assert str(caught.value) == f"{tmp_path}: is not the root of {expected}, but it holds x.png"
    with pytest.raises(InputError, match=r"none: no such folder; name the root of .*: the folder with "):
        kind(tmp_path / "none", tmp_path / "out")


def test_the_nearest_folder_that_is_there_is_looked_into(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, {"a_0_0": []}, split="val")
    with pytest.raises(InputError, match=r"expected gtFine/train, but gtFine holds val$"):
        Cityscapes(tmp_path, tmp_path / "out")
    (tmp_path / "gtFine" / "train" / "a").mkdir(parents=True)
    (tmp_path / "leftImg8bit" / "train").mkdir()
    with pytest.raises(InputError, match=r"expected gtFine/train/CITY/\*_gtFine_polygons\.json, but gtFine/train holds a$"):
        Cityscapes(tmp_path, tmp_path / "out")
