"""Exports read back by readers of a few lines, and by those of other tools where they are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from factories import coco_dict, draw_images, label_space, write_json

from lat.core.errors import InputError
from lat.data.dataset import DetectionDataset
from lat.formats.exports import coco, voc, yolo
from lat.formats.exports.layout import ExportFormat, Split, hash_images, place_images, plain_names
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_table
from lat.labels.table import LabelTable

SPACE = label_space("city", ["car", "yes", "a <b> & 'ü'"], ids=[9, 4, 70])
"""Category ids without order, a name that YAML would take for true, and one that XML must escape."""

Boxes = dict[str, list[tuple[str, list[float]]]]
"""Class name and corners of each box, by the stem of the image."""


def document(folder: str = "", suffix: str = ".png") -> dict[str, Any]:
    """Three images of 48 x 32 pixels, the second without boxes, with corners at parts of pixels and at the borders."""
    boxes = [[(2.3, 3.4, 10.55, 8.1), (0, 0, 48, 32)], [], [(20.125, 5.5, 0.4, 12), (47.7, 31.8, 0.3, 0.2)]]
    value = coco_dict(boxes, [[9, 70], [], [4, 9]], space=SPACE)
    for image in value["images"]:
        image["file_name"] = folder + image["file_name"].replace(".png", suffix)
    for annotation, score in zip(value["annotations"], (1, 0.25, 0.5, 0.125), strict=True):
        annotation["score"] = score
    return value


def dataset(folder: Path, value: dict[str, Any]) -> DetectionDataset:
    draw_images(folder / "images", value)
    return DetectionDataset("city", folder / "images", read_labels(write_json(folder / "labels.json", value), "city"))


def write(form: ExportFormat, folder: Path, part: DetectionDataset, **options: bool) -> list[Split]:
    splits = form.arrange({"train": part})
    folder.mkdir(parents=True, exist_ok=True)
    form.write(folder, splits)
    for split in splits:
        place_images(folder, split, copy=False, **options)
    return splits


def of_table(table: LabelTable, splits: list[Split]) -> Boxes:
    names = table.space.class_names
    rows = [[(names[label], box) for label, box in zip(table.labels[r], table.boxes_xyxy[r].tolist(), strict=True)]
            for r in map(table.rows, range(len(table)))]  # fmt: skip
    return {Path(image).stem: boxes for image, boxes in zip(splits[0].images, rows, strict=True)}


def assert_near(found: Boxes, wanted: Boxes, pixels: float) -> None:
    assert found.keys() == wanted.keys()
    for stem, boxes in wanted.items():
        assert [name for name, _ in found[stem]] == [name for name, _ in boxes]
        for (_, box), (_, exact) in zip(found[stem], boxes, strict=True):
            assert np.abs(np.subtract(box, exact)).max() <= pixels


def read_yolo(folder: Path) -> Boxes:
    """What a YOLO reader does: list images, replace the last `/images/` and the suffix, scale by the image's own size."""
    content = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    found: Boxes = {}
    for path in (folder / content["train"]).iterdir():
        label_file = Path("/labels/".join(str(path).rsplit("/images/", 1))).with_suffix(".txt")
        height, width = cv2.imread(str(path)).shape[:2]
        boxes = []
        for line in label_file.read_text().splitlines():
            label, x, y, w, h = line.split()
            centre, half = np.array([float(x), float(y)]), np.array([float(w), float(h)]) / 2
            corners = np.concatenate([centre - half, centre + half]) * [width, height, width, height]
            boxes.append((content["names"][int(label)], corners.tolist()))
        found[path.stem] = boxes
    return found


def read_voc(folder: Path, part: str = "train") -> Boxes:
    """What a VOC reader does: stems of the part, whole pixels from 1, the last one inside."""
    found: Boxes = {}
    for stem in (folder / "ImageSets" / "Main" / f"{part}.txt").read_text().split():
        root = ElementTree.parse(folder / "Annotations" / f"{stem}.xml").getroot()
        assert (folder / "JPEGImages" / str(root.findtext("filename"))).is_file()
        found[stem] = []
        for item in root.iter("object"):
            low_x, low_y, high_x, high_y = (int(str(item.findtext(f"bndbox/{key}"))) for key in ("xmin", "ymin", "xmax", "ymax"))
            found[stem].append((str(item.findtext("name")), [low_x - 1, low_y - 1, high_x, high_y]))
    return found


def test_yolo_keeps_boxes_to_a_hundredth_of_a_pixel(tmp_path: Path) -> None:
    part = dataset(tmp_path, document())
    splits = write(yolo.FORMAT, tmp_path / "out", part)
    assert_near(read_yolo(tmp_path / "out"), of_table(part.labels, splits), 0.01)
    assert (tmp_path / "out" / "labels" / "train" / "002.txt").read_bytes() == b""
    assert next(iter((tmp_path / "out" / "images" / "train").iterdir())).is_symlink()


def test_yolo_decimals_suffice_for_an_image_of_a_million_pixels(tmp_path: Path) -> None:
    value = coco_dict([[(123456.37, 7.77, 654321.13, 999000.5)]], size_hw=(1_000_000, 1_000_000))
    table = read_labels(write_json(tmp_path / "labels.json", value), "city")
    x, y, w, h = (1e6 * float(share) for share in yolo.box_lines(table)[0].split()[1:])
    corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    assert np.abs(np.subtract(corners, table.boxes_xyxy[0].astype(np.float64))).max() < 0.01


def test_a_yolo_line_by_hand(tmp_path: Path) -> None:
    # A box from (12, 4) to (36, 20) of a 48 x 32 image: centre (24, 12), sides (24, 16).
    value = coco_dict([[(12, 4, 24, 16)]], [[4]], space=SPACE)
    table = read_labels(write_json(tmp_path / "labels.json", value), "city")
    assert yolo.box_lines(table) == ["1 0.50000000 0.37500000 0.50000000 0.50000000\n"]


def test_voc_counts_pixels_from_1_and_is_off_by_half_a_pixel_at_most(tmp_path: Path) -> None:
    part = dataset(tmp_path, document())
    splits = write(voc.FORMAT, tmp_path / "out", part)
    wanted = of_table(part.labels, splits)
    found = read_voc(tmp_path / "out")
    assert_near({**found, "003": []}, {**wanted, "003": []}, 0.5)
    assert_near(found, wanted, 1.0)  # the boxes of 003 are thinner than a pixel
    assert found["001"][1] == ("a <b> & 'ü'", [0, 0, 48, 32])
    assert all(box[0] < box[2] <= 48 and box[1] < box[3] <= 32 for _, box in found["003"])
    assert read_voc(tmp_path / "out", "trainval") == found
    assert (tmp_path / "out" / "labelmap.txt").read_text(encoding="utf-8").splitlines()[1] == "car:::"


def test_voc_corners_by_hand(tmp_path: Path) -> None:
    # x from 9.6 to 20.4 is rounded to 10..20: pixels 11 to 20, counted from 1; y from 4.6 to 4.9 has no whole pixel, and its
    # middle lies in the fifth.
    value = coco_dict([[(9.6, 4.6, 10.8, 0.3)]])
    assert voc.inclusive_corners(read_labels(write_json(tmp_path / "l.json", value), "city")).tolist() == [[11, 5, 20, 5]]


def test_voc_keeps_scores_and_marks_crowd_boxes_as_difficult(tmp_path: Path) -> None:
    value = document()
    value["annotations"][1]["iscrowd"] = 1
    part = dataset(tmp_path, value)
    write(voc.FORMAT, tmp_path / "out", part)
    items = list(ElementTree.parse(tmp_path / "out" / "Annotations" / "001.xml").iter("object"))
    assert [(item.findtext("difficult"), item.findtext("score")) for item in items] == [("0", "1"), ("1", "0.25")]
    assert [element.tag for element in items[0]] == ["name", "pose", "truncated", "difficult", "bndbox", "score"]
    assert voc.losses([part]) == [
        "3 boxes are rounded to whole pixels",
        "1 crowd boxes are marked `difficult`",
        "3 images are not .jpg files; the VOC readers of torchvision and Detectron2 find no others",
    ]


def test_yolo_leaves_crowd_boxes_out_and_says_what_is_lost(tmp_path: Path) -> None:
    value = document()
    value["annotations"][1]["iscrowd"] = 1
    part = dataset(tmp_path, value)
    write(yolo.FORMAT, tmp_path / "out", part)
    assert [name for name, _ in read_yolo(tmp_path / "out")["001"]] == ["car"]
    crowd, scores = yolo.losses([part])
    assert crowd == "1 crowd boxes are left out; what they cover counts as background"
    assert scores.startswith("3 boxes lose their scores")


def test_coco_gives_the_same_table_back(tmp_path: Path) -> None:
    value = document("north/")
    value["info"] = {"method": "test"}
    value["annotations"][1]["iscrowd"] = 1
    for annotation in value["annotations"]:
        annotation["id"] += 7
        annotation["class_scores"] = [0.5, 0.25, 0.125]
        annotation["provenance"] = {"origin": "pseudo_label", "space": "way", "annotation_id": None}
    value["annotations"][0]["provenance"] = {"origin": "ground_truth", "space": "nu", "annotation_id": 3}
    part = dataset(tmp_path, value)
    write(coco.FORMAT, tmp_path / "out", part)
    found = read_labels(tmp_path / "out" / "annotations" / "instances_train.json", "city", expect=SPACE)
    table = part.labels
    for name in ("image_ids", "sizes_hw", "offsets", "labels", "is_crowd", "annotation_ids", "class_scores", "scores"):
        assert np.array_equal(getattr(found, name), getattr(table, name)), name
    assert np.abs(found.boxes_xyxy - table.boxes_xyxy).max() < 1e-4
    assert (found.file_names, found.info, found.repairs) == (table.file_names, {"method": "test"}, {})
    assert found.provenance is not None
    assert table.provenance is not None
    assert [found.provenance.spaces[i] for i in found.provenance.space] == ["nu", "way", "way", "way"]
    assert np.array_equal(found.provenance.annotation_ids, table.provenance.annotation_ids)
    assert (tmp_path / "out" / "images" / "train" / "north" / "003.png").resolve() == part.image_path(2)


def test_a_table_without_scores_of_classes_or_provenance_is_written_too(tmp_path: Path) -> None:
    table = read_labels(write_json(tmp_path / "labels.json", coco_dict([[], []])), "city")
    write_table(tmp_path / "again.json", table)
    assert len(read_labels(tmp_path / "again.json", "city")) == 2


def test_names_are_plain_and_never_clash(tmp_path: Path) -> None:
    files = ["a/x.png", "b/x.png", "a_x.jpg", "A_X.bmp", "images/y 1.png", ".z.png", "a_x_3.png", "images/y#1.png"]
    value = coco_dict([[] for _ in files])
    for image, name in zip(value["images"], files, strict=True):
        image["file_name"] = name
    part = DetectionDataset("city", tmp_path, read_labels(write_json(tmp_path / "labels.json", value), "city"))
    wanted = ["a_x.png", "b_x.png", "a_x_3.jpg", "A_X_4.bmp", "images_y_1.png", "z.png", "a_x_3_7.png", "images_y_1_8.png"]
    assert plain_names([part]) == [wanted]
    assert plain_names([part, part])[1][0] == "a_x_1.png"


def test_a_file_that_two_images_share_is_linked_once(tmp_path: Path) -> None:
    value = document()
    value["images"][1]["file_name"] = value["images"][0]["file_name"]
    part = dataset(tmp_path, value)
    write(coco.FORMAT, tmp_path / "coco", part)
    assert len(list((tmp_path / "coco" / "images" / "train").iterdir())) == 2
    write(yolo.FORMAT, tmp_path / "yolo", part)
    assert len(list((tmp_path / "yolo" / "images" / "train").iterdir())) == 3


def test_a_jpeg_with_bytes_behind_its_end_is_copied_where_that_is_asked_for(tmp_path: Path) -> None:
    part = dataset(tmp_path, document(suffix=".jpg"))
    with part.image_path(0).open("ab") as file:
        file.write(b"tail")
    write(yolo.FORMAT, tmp_path / "out", part, keep_jpegs_whole=True)
    images = tmp_path / "out" / "images" / "train"
    assert [(images / name).is_symlink() for name in ("001.jpg", "002.jpg")] == [False, True]


def test_a_kind_of_file_that_yolo_readers_pass_over_is_refused(tmp_path: Path) -> None:
    part = dataset(tmp_path, document(suffix=".ppm"))
    with pytest.raises(InputError, match=r"image 1 is '001\.ppm', a kind of file that YOLO readers skip; convert it"):
        yolo.arrange({"train": part})


def test_images_that_are_missing_or_of_another_size_are_named(tmp_path: Path) -> None:
    part = dataset(tmp_path, document())
    assert len(set(hash_images(part))) == 3
    part.image_path(1).unlink()
    with pytest.raises(
        InputError, match=r"002\.png: image 2 of .*labels\.json is missing \(1 of 3 images are\); name the folder"
    ):
        hash_images(part)
    assert cv2.imwrite(str(part.image_path(1)), np.zeros((48, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"002\.png: the image is 32 x 48 pixels"):
        hash_images(part)


def test_torchvision_reads_the_voc_export(tmp_path: Path) -> None:
    from torchvision.datasets import VOCDetection

    part = dataset(tmp_path, document(suffix=".jpg"))
    splits = write(voc.FORMAT, tmp_path / "VOCdevkit" / "VOC2012", part)
    found: Boxes = {}
    for image, target in VOCDetection(str(tmp_path), year="2012", image_set="train"):
        annotation = target["annotation"]
        assert image.size == (int(annotation["size"]["width"]), int(annotation["size"]["height"]))
        boxes = [(item["name"], [int(value) for value in item["bndbox"].values()]) for item in annotation.get("object", [])]
        stem = Path(annotation["filename"]).stem
        found[stem] = [(name, [x1 - 1, y1 - 1, x2, y2]) for name, (x1, y1, x2, y2) in boxes]
    assert_near(found, of_table(part.labels, splits), 1.0)


def test_supervision_reads_yolo_and_voc(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    part = dataset(tmp_path, document(suffix=".jpg"))
    splits = write(yolo.FORMAT, tmp_path / "yolo", part)
    write(voc.FORMAT, tmp_path / "voc", part)
    root = tmp_path / "yolo"
    folders = (str(root / "images" / "train"), str(root / "labels" / "train"))
    readers = {
        0.01: supervision.DetectionDataset.from_yolo(*folders, str(root / "data.yaml")),
        1.0: supervision.DetectionDataset.from_pascal_voc(
            *(str(tmp_path / "voc" / name) for name in ("JPEGImages", "Annotations"))
        ),
    }
    for pixels, read in readers.items():
        found = {
            Path(path).stem: [(read.classes[label], box.tolist()) for label, box in zip(boxes.class_id, boxes.xyxy, strict=True)]
            for path, boxes in read.annotations.items()
        }
        assert_near(found, of_table(part.labels, splits), pixels)
