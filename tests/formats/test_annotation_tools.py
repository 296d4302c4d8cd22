"""Exports to FiftyOne, CVAT and Label Studio: exact layouts by hand, and read by their own packages where those are installed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from factories import coco_dict, label_space, write_coco, write_json

from lat.commands.export import Content, ExportOptions, export, export_files
from lat.core.errors import InputError
from lat.data.dataset import DetectionDataset
from lat.labels.coco.read import read_labels


def transferred() -> dict[str, Any]:
    """Two images of 40 x 20; on the first a car from a person's truck and a crowd of trucks, nothing on the second."""
    space = label_space(class_names=("car", "truck & trailer"), ids=(7, 3))
    value = coco_dict([[(4, 5, 10, 2.5), (20, 0, 20, 20)], []], [[7, 3], []], space=space, size_hw=(20, 40))
    for image, name in zip(value["images"], ("front/a b.png", "c.png"), strict=True):
        image["file_name"] = name
    first, second = value["annotations"]
    first |= {"id": 11, "score": 0.25, "provenance": {"origin": "ground_truth", "space": "nu", "annotation_id": 5}}
    second |= {"id": 12, "iscrowd": 1, "provenance": {"origin": "pseudo_label", "space": "city", "annotation_id": None}}
    return {**value, "info": {"method": "label_transfer"}}


def export_to(form: str, folder: Path, **options: Any) -> Path:
    settings = write_coco(folder / "data", transferred())
    export_files(Path(settings.annotations), Path(settings.images), form, folder / "out", ExportOptions(**options))
    return folder / "out"


def test_cvat_layout(tmp_path: Path) -> None:
    out = export_to("cvat", tmp_path)
    root = ElementTree.parse(out / "train.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [label.findtext("name") for label in root.iter("label")] == ["car", "truck & trailer"]
    images = [dict(image.attrib) for image in root.iter("image")]
    assert images == [
        {"id": "0", "name": "front/a b.png", "width": "40", "height": "20"},
        {"id": "1", "name": "c.png", "width": "40", "height": "20"},
    ]
    first, second = root.iter("box")
    assert [first.get(key) for key in ("label", "xtl", "ytl", "xbr", "ybr")] == ["car", "4.0000", "5.0000", "14.0000", "7.5000"]
    assert {one.get("name"): one.text for one in first} == {
        **{"annotation_id": "11", "score": "0.25", "min_score": "0.0"},
        **{"origin": "ground_truth", "origin_space": "nu", "origin_id": "5"},
    }
    assert {one.get("name"): one.text for one in second} == {
        **{"annotation_id": "12", "score": "1.0", "iscrowd": "1", "min_score": "0.0"},
        **{"origin": "pseudo_label", "origin_space": "city"},
    }
    for image in images:
        assert (out / "images" / "train" / image["name"]).is_file()
    # every attribute of a box is one of its label's: CVAT drops the others
    labels = json.loads((out / "labels.json").read_text())
    known = {attribute["name"] for attribute in labels[0]["attributes"]}
    assert {one.get("name") for box in root.iter("box") for one in box} <= known


def test_label_studio_layout(tmp_path: Path) -> None:
    out = export_to("label-studio", tmp_path)
    first, second = json.loads((out / "tasks_train.json").read_text())
    assert first["data"] == {
        **{"image": "/data/local-files/?d=images/train/front/a%20b.png", "image_id": 1, "file_name": "front/a b.png"},
        "min_score": 0.0,
    }
    (prediction,) = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("label_transfer", 0.25)
    region = prediction["result"][0]
    # 4, 5, 10, 2.5 pixels of 40 x 20
    assert region["value"] == {"x": 10, "y": 25, "width": 25, "height": 12.5, "rotation": 0, "rectanglelabels": ["car"]}
    assert (region["id"], region["score"], region["original_width"], region["original_height"]) == ("annotation-11", 0.25, 40, 20)
    assert second["predictions"][0]["result"] == []
    config = ElementTree.parse(out / "label_config.xml").getroot()
    assert [label.get("value") for label in config.iter("Label")] == ["car", "truck & trailer"]
    assert config.find("Image").get("name") == region["to_name"]  # type: ignore[union-attr]
    assert config.find("RectangleLabels").get("name") == region["from_name"]  # type: ignore[union-attr]


def test_fiftyone_layout_has_one_field_for_each_set_of_labels(tmp_path: Path) -> None:
    own = write_json(tmp_path / "own.json", coco_dict([[(0, 0, 40, 20)], []], size_hw=(20, 40)))
    value = json.loads(own.read_text())
    value["images"][0]["file_name"], value["images"][1]["file_name"] = "front/a b.png", "c.png"
    write_json(own, value)
    out = export_to("fiftyone", tmp_path, layers={"ground_truth": own})
    first, second = json.loads((out / "samples.json").read_text())["samples"]
    assert (first["filepath"], first["tags"], first["image_id"]) == ("images/train/front/a b.png", ["train"], 1)
    assert (out / first["filepath"]).is_file()
    box = first["transferred"]["detections"][0]
    assert box["bounding_box"] == [0.1, 0.25, 0.25, 0.125]
    assert (box["label"], box["confidence"], box["annotation_id"], box["origin_id"]) == ("car", 0.25, 11, 5)
    assert [one["bounding_box"] for one in first["ground_truth"]["detections"]] == [[0, 0, 1, 1]]
    assert second["transferred"] == {"_cls": "Detections", "detections": []}
    info = json.loads((out / "metadata.json").read_text())["info"]
    assert info["classes"] == {"transferred": ["car", "truck & trailer"], "ground_truth": ["car", "truck"]}


def test_labels_of_other_images_cannot_be_a_field(tmp_path: Path) -> None:
    other = write_json(tmp_path / "other.json", coco_dict(size_hw=(20, 40)))
    with pytest.raises(InputError, match=r"other.json: its images are not those of .*annotations.json; name labels of the same"):
        export_to("fiftyone", tmp_path, layers={"pseudo": other})
    assert not (tmp_path / "out").exists()


def test_formats_that_hold_one_set_of_labels_say_so(tmp_path: Path) -> None:
    settings = write_coco(tmp_path)
    table = read_labels(Path(settings.annotations), "city")
    dataset = DetectionDataset("city", Path(settings.images), table)
    with pytest.raises(InputError, match="--with: is given, but yolo holds a single set of labels; leave it out, or choose --to"):
        export(Content({"train": dataset}, {"more": table}), "yolo", tmp_path / "out")


@pytest.mark.parametrize("form", ["cvat", "label-studio"])
def test_a_class_that_xml_cannot_hold_is_an_error(form: str, tmp_path: Path) -> None:
    settings = write_coco(tmp_path)
    table = read_labels(Path(settings.annotations), "city")
    odd = replace(table, space=label_space(class_names=("a\0b", "c")))
    with pytest.raises(InputError, match="has characters that XML cannot hold; rename it"):
        export(Content({"train": DetectionDataset("city", Path(settings.images), odd)}), form, tmp_path / "out")


def test_datumaro_reads_the_cvat_export(tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
    out = export_to("cvat", tmp_path)
    dataset = datumaro.Dataset.import_from(str(out / "train.xml"), "cvat")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    boxes = {item.id: item.annotations for item in dataset}
    assert set(boxes) == {"front/a b", "c"}
    first, second = boxes["front/a b"]
    assert [names[one.label] for one in (first, second)] == ["car", "truck & trailer"]
    assert first.get_bbox() == [4, 5, 10, 2.5]
    assert (first.attributes["annotation_id"], first.attributes["score"]) == ("11", "0.25")
    assert boxes["c"] == []


def test_label_studio_takes_tasks_and_configuration(tmp_path: Path) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface", reason="label-studio-sdk is not installed")
    out = export_to("label-studio", tmp_path)
    config = interface.LabelInterface((out / "label_config.xml").read_text())
    config.validate()
    for task in json.loads((out / "tasks_train.json").read_text()):
        assert config.validate_task({"data": task["data"]})
        for prediction in task["predictions"]:
            assert config.validate_prediction(prediction, return_errors=True) == []


def test_fiftyone_reads_its_export(tmp_path: Path) -> None:
    importers = pytest.importorskip("fiftyone.utils.data", reason="FiftyOne is not installed")
    out = export_to("fiftyone", tmp_path)
    importer = importers.LegacyFiftyOneDatasetImporter(str(out))
    importer.setup()
    first, second = list(importer)
    assert Path(first.filepath) == out / "images" / "train" / "front" / "a b.png"
    car, trucks = first["transferred"].detections
    assert np.allclose(car.bounding_box, [0.1, 0.25, 0.25, 0.125])
    assert (car.label, car.confidence, car["annotation_id"], trucks["iscrowd"]) == ("car", 0.25, 11, 1)
    assert second["transferred"].detections == []
    assert (first.metadata.width, first.metadata.height) == (40, 20)
    assert importer.get_dataset_info()["classes"]["transferred"] == ["car", "truck & trailer"]
