"""COCO, VOC, YOLO, KITTI and Open Images: files written by hand, boxes worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from factories import coco_dict, label_space
from imported import run_import, sizes_in
from layouts import write_image, write_json

from lat.core.errors import InputError
from lat.formats.importers.coco import Coco
from lat.formats.importers.kitti import Kitti
from lat.formats.importers.open_images import OpenImages
from lat.formats.importers.voc import Voc
from lat.formats.importers.yolo import Yolo

VOC = """<annotation><folder>JPEGImages</folder><filename>{name}.jpg</filename>
<size><width>64</width><height>32</height><depth>3</depth></size><segmented>0</segmented>{objects}</annotation>"""
VOC_OBJECT = """<object><name>{}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>{}</difficult>
<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


def write_voc(root: Path, images: dict[str, list[tuple[object, ...]]]) -> None:
    (root / "Annotations").mkdir(parents=True)
    for name, objects in images.items():
        content = VOC.format(name=name, objects="".join(VOC_OBJECT.format(*one) for one in objects))
        (root / "Annotations" / f"{name}.xml").write_text(content)
        write_image(root / "JPEGImages" / f"{name}.jpg", (64, 32))


def write_yolo(root: Path, lines: dict[str, str]) -> None:
    for name, text in lines.items():
        write_image(root / "images" / "train" / f"{name}.png", (50, 40))
        path = root / "labels" / "train" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_coco_is_renumbered_and_keeps_boxes_categories_and_crowds(tmp_path: Path) -> None:
    space = label_space(class_names=("van", "tree"), ids=(7, 3))
    value = coco_dict([[(2.5, 3, 10, 8), (20, 5, 6, 12)], []], [[3, 7], []], space=space)
    for image in value["images"]:
        write_image(tmp_path / "val2017" / image["file_name"], (48, 32))
        image["id"] += 900
    for annotation in value["annotations"]:
        annotation["image_id"] += 900
        annotation["id"] -= 1  # 0 is legal in COCO, and breaks evaluators
    value["annotations"][1]["iscrowd"] = 1
    del value["annotations"][0]["area"]
    value["annotations"].append({**value["annotations"][0], "id": 7, "image_id": 4})
    value["annotations"].reverse()
    write_json(tmp_path / "annotations" / "instances_val2017.json", value)
    found, summary = run_import(Coco(tmp_path, tmp_path / "out", "val2017"))
    assert found == {"001.png": [("van", [20, 5, 26, 17], 1), ("tree", [2.5, 3, 12.5, 11], 0)], "002.png": []}
    assert (summary.empty, summary.crowd) == (1, 1)
    assert [*summary.notes()] == ["left out: 1 box: no such image"]
    write_json(tmp_path / "mine" / "labels.json", value)
    assert run_import(Coco(tmp_path, tmp_path / "o", "x", annotations="mine/labels.json", folder="val2017"))[0] == found


def test_voc_takes_one_from_the_first_corner(tmp_path: Path) -> None:
    # pixels 11 to 20, counted from 1, are those from 10 to before 20; a box of the whole image is (1, 1, 64, 32)
    objects = [("dog", 0, 11, 6, 20, 6), ("cat", 1, 1, 1, 64, 32)]
    write_voc(tmp_path, {"b": [("dog", 0, 1, 1, 1, 1)], "a": objects})
    write = tmp_path / "ImageSets" / "Main" / "train.txt"
    write.parent.mkdir(parents=True)
    write.write_text("a\n")
    wanted = [("dog", [10, 5, 20, 6], 0), ("cat", [0, 0, 64, 32], 1)]
    found, _ = run_import(Voc(tmp_path, tmp_path / "out"))
    assert found == {"a.jpg": wanted}
    found, _ = run_import(Voc(tmp_path, tmp_path / "out", "all", difficult="box"))
    assert found == {"a.jpg": [wanted[0], ("cat", [0, 0, 64, 32], 0)], "b.jpg": [("dog", [0, 0, 1, 1], 0)]}
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\ndog:::\nbird:::\ncat:::\n")
    assert Voc(tmp_path, tmp_path / "out").class_list.space.class_names == ("dog", "bird", "cat")


def test_voc_names_a_broken_file(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [("dog", 0, 1, 1, "x", 4)]})
    with pytest.raises(
        InputError, match=r"a\.xml: is not a VOC annotation \(ValueError: could not convert string to float: 'x'\)"
    ):
        run_import(Voc(tmp_path, tmp_path / "out", "all", classes="dog"))
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation>")
    with pytest.raises(InputError, match=r"a\.xml: is not a VOC annotation"):
        run_import(Voc(tmp_path, tmp_path / "out", "all"))
    assert not list((tmp_path / "out").iterdir())


def test_yolo_shares_become_pixels(tmp_path: Path) -> None:
    # 50 x 40 pixels: (0.5, 0.5, 0.2, 0.5) is 25 +- 5 by 20 +- 10; the polygon goes from (5, 4) to (45, 20)
    write_yolo(tmp_path, {"b": "", "a": "4 0.5 0.5 0.2 0.5\n0 0.1 0.5 0.9 0.1 0.5 0.3\n"})
    (tmp_path / "data.yaml").write_text("path: ../elsewhere\ntrain: images/train\nnames: {0: car, 4: 'no'}\n")
    found, _ = run_import(Yolo(tmp_path, tmp_path / "out"))
    assert found == {"images/train/a.png": [("no", [20, 10, 30, 30], 0), ("car", [5, 4, 45, 20], 0)], "images/train/b.png": []}


def test_yolo_reads_lists_of_images_and_refuses_broken_lines(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a": "0 0.5 0.5 1 1\n", "b": "0 0.5 0.5\n"})
    (tmp_path / "train.txt").write_text("./images/train/a.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: [images/train]\nnames: [car]\n")
    found, _ = run_import(Yolo(tmp_path, tmp_path / "out"))
    assert found == {"images/train/a.png": [("car", [0, 0, 50, 40], 0)]}
    with pytest.raises(InputError, match=r"b\.txt: is not a YOLO label file"):
        run_import(Yolo(tmp_path, tmp_path / "out", "val"))
    with pytest.raises(InputError, match=r"data\.yaml: has no key 'test'; choose another --split"):
        Yolo(tmp_path, tmp_path / "out", "test")


def test_kitti_corners_stay_and_regions_that_nobody_labelled_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "training" / "label_2" / "000000.txt"
    path.parent.mkdir(parents=True)
    path.write_text(
        "Car 0.00 0 -1.57 10.50 4.25 30.00 20.00 1.4 1.6 3.9 1.0 1.5 8.4 -1.6\n"
        "DontCare -1 -1 -10 2.0 2.0 5.0 5.0 -1 -1 -1 -1000 -1000 -1000 -10\n"
    )
    write_image(tmp_path / "training" / "image_2" / "000000.png", (64, 32))
    found, summary = run_import(Kitti(tmp_path, tmp_path / "out"))
    assert found == {"000000.png": [("Car", [10.5, 4.25, 30, 20], 0)]}
    assert dict(summary.left_out) == {"label 'DontCare', no class of kitti": 1}


def test_open_images_rows_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "class-descriptions-boxable.csv").write_text('/m/01,"Tortoise"\n/m/02,Container\n')
    head = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    rows = ["aa,x,/m/02,1,0.25,0.5,0,1,0,0,0,0,0", "bb,x,/m/01,1,0,1,0,1,0,0,0,0,0", "aa,x,/m/01,1,0,0.5,0.5,1,0,0,1,0,0"]
    (tmp_path / "validation-annotations-bbox.csv").write_text(head + "\n".join(rows) + "\n")
    write_image(tmp_path / "validation" / "aa.jpg", (40, 20))
    found, summary = run_import(OpenImages(tmp_path, tmp_path / "out", "validation"))
    assert dict(summary.left_out) == {"no such image": 1}
    assert found == {"aa.jpg": [("Container", [10, 0, 20, 20], 0), ("Tortoise", [0, 10, 20, 20], 1)]}


def test_the_size_of_a_turned_photograph_is_that_of_the_upright_one(tmp_path: Path) -> None:
    from PIL import Image

    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5\n"})
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [car]\n")
    path = tmp_path / "images" / "train" / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(cv2.imread(str(path))).save(path, exif=exif)
    found, _ = run_import(Yolo(tmp_path, tmp_path / "out"))
    assert sizes_in(tmp_path / "out" / "train.json") == {"images/train/a.png": (40, 50)}
    assert found == {"images/train/a.png": [("car", [10, 12.5, 30, 37.5], 0)]}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Coco,
            "is not the root of a COCO dataset: expected annotations/instances_train2017.json and the folder train2017, "
            "but it holds x.txt",
        ),
        (Voc, "is not the root of a VOC dataset (split=all takes every annotation): expected Annotations, but it holds x.txt"),
        (Yolo, "is not the root of a YOLO dataset: expected data.yaml, but it holds x.txt"),
        (Kitti, "is not the root of KITTI object detection: expected training/label_2, but it holds x.txt"),
        (OpenImages, "is not the root of Open Images: expected train, but it holds x.txt"),
    ],
)
def test_a_wrong_root_is_told_what_was_expected_and_what_is_there(tmp_path: Path, kind: type, message: str) -> None:
    (tmp_path / "x.txt").touch()
    with pytest.raises(InputError) as caught:
        kind(tmp_path, tmp_path / "out")
    assert str(caught.value) == f"{tmp_path}: {message}"


def test_coco_files_that_are_not_json_are_named(tmp_path: Path) -> None:
    path = write_json(tmp_path / "annotations" / "instances_train2017.json", coco_dict())
    (tmp_path / "train2017").mkdir()
    path.write_text(path.read_text()[:-30])
    with pytest.raises(InputError, match=r"instances_train2017\.json: is not JSON"):
        run_import(Coco(tmp_path, tmp_path / "out"))
    value = coco_dict()
    value["annotations"][0]["category_id"] = 99
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"is not COCO labels .* \(KeyError: 99\)"):
        run_import(Coco(tmp_path, tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("key", ["annotations", "images", "categories", "\\u0061nnotations"])
def test_a_list_that_is_there_twice_is_refused(key: str, tmp_path: Path) -> None:
    value = coco_dict()
    for image in value["images"]:
        write_image(tmp_path / "images" / image["file_name"], (48, 32))
    value["info"] = {"annotations": [], "categories": "images"}  # below the object itself a key is free, and so is a text
    path = write_json(tmp_path / "labels.json", value)
    importer = Coco(tmp_path, tmp_path / "out", annotations="labels.json", folder="images")
    assert run_import(importer)[1].images == 2
    path.write_text(path.read_text()[:-1] + f', "{key}": []}}')
    with pytest.raises(InputError, match=r"labels\.json: is not COCO labels .*it has `\w+` twice"):
        run_import(Coco(tmp_path, tmp_path / "out", annotations="labels.json", folder="images"))
