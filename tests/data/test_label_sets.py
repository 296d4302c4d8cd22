"""Outside label sets: results files and COCO JSON for the images of a dataset, in a class list of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from factories import coco_dict, label_space, write_coco, write_json

from lat.core.errors import InputError
from lat.data.data_settings import DatasetSettings, LabelSetSettings
from lat.data.label_sets import LabelSet, check_label_set, load_label_set
from lat.data.tensors import boxes_of
from lat.labels.coco.read import read_labels

COCO = label_space("coco", ["person", "bicycle"], [1, 7])
DETECTIONS: list[dict[str, Any]] = [
    {"image_id": 3, "category_id": 7, "bbox": [1, 2, 10, 20], "score": 0.25},
    {"image_id": 1, "category_id": 1, "bbox": [4, 4, 8, 8], "score": 0.75},
    {"image_id": 3, "category_id": 1, "bbox": [0, 0, 5, 5]},
]


@pytest.fixture
def city(tmp_path: Path) -> DatasetSettings:
    """A dataset of three images, the second of which is held out."""
    document = coco_dict([[(2, 3, 10, 8)]] * 3, splits=["train", "val", "train"])
    return write_coco(tmp_path / "city", document, validation_split="val")


def load(settings: LabelSetSettings, city: DatasetSettings) -> LabelSet:
    return load_label_set(settings, {"city": read_labels(Path(city.annotations), "city")})


def as_list(tmp_path: Path, detections: list[Any], categories: Any = None) -> LabelSetSettings:
    file = write_json(tmp_path / "results.json", detections)
    classes = write_json(tmp_path / "classes.json", COCO.categories() if categories is None else categories)
    return LabelSetSettings("coco", {"city": str(file)}, categories=str(classes))


def as_coco(tmp_path: Path, document: dict[str, Any]) -> LabelSetSettings:
    return LabelSetSettings("coco", {"city": str(write_json(tmp_path / "labels.json", document))})


@pytest.mark.parametrize("categories", [COCO.categories(), {"images": [], "categories": COCO.categories()}])
def test_a_list_of_detections_is_labels_that_are_counted_from_1(tmp_path: Path, city: DatasetSettings, categories: Any) -> None:
    labels = load(as_list(tmp_path, DETECTIONS, categories), city)
    assert labels.space == COCO
    table = labels.tables["city"]
    assert [len(boxes_of(table, i)) for i in range(3)] == [1, 0, 2]
    third = boxes_of(table, 2)
    assert third.boxes_xyxy.tolist() == [[1, 2, 11, 22], [0, 0, 5, 5]]
    assert third.labels.tolist() == [1, 0]
    assert third.scores.tolist() == [0.25, 1.0]
    assert third.annotation_ids.tolist() == [1, 3]
    assert third.class_scores is None
    assert table.repairs == {}


def test_coco_json_names_its_classes_and_may_leave_images_out(tmp_path: Path, city: DatasetSettings) -> None:
    document = coco_dict([[(2, 3, 10, 8)], [], [(1, 1, 5, 5)]], [[7], [], [1]], space=COCO)
    document["images"] = document["images"][2:]  # another folder, the same file
    document["annotations"] = document["annotations"][1:]
    document["images"][0]["file_name"] = f"val2017/{document['images'][0]['file_name']}"
    labels = load(as_coco(tmp_path, document), city)
    assert labels.space == COCO
    images = read_labels(Path(city.annotations), "city")
    over = labels.tables["city"].laid_over(images)
    assert over.image_ids.tolist() == [1, 2, 3]
    assert over.file_names == images.file_names
    assert [boxes_of(over, i).labels.tolist() for i in range(3)] == [[], [], [0]]


def test_laid_over_part_of_the_images_the_labels_of_others_are_left_out(tmp_path: Path, city: DatasetSettings) -> None:
    images = read_labels(Path(city.annotations), "city")
    table = load(as_list(tmp_path, DETECTIONS), city).tables["city"].laid_over(images.select([2, 1]))
    assert table.image_ids.tolist() == [3, 2]
    assert [boxes_of(table, i).annotation_ids.tolist() for i in range(2)] == [[1, 3], []]


def test_labels_of_no_image_at_all_are_legal(tmp_path: Path, city: DatasetSettings) -> None:
    empty = {"images": [], "annotations": [], "categories": COCO.categories()}
    images = read_labels(Path(city.annotations), "city")
    for settings in (as_list(tmp_path, []), as_coco(tmp_path, empty)):
        assert load(settings, city).tables["city"].laid_over(images).offsets.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 9}, "results.json: detection 1: image 9 is not in "),
        ({"category_id": 2}, "results.json: annotation 1: category 2 is not in the file's class list"),
        ({"bbox": [1, 2, 0, 20]}, "results.json: annotation 1: the box [1.0, 2.0, 0.0, 20.0] has no area"),
        ({"score": 2}, "results.json: annotation 1: `score` is 2"),
        ({"image_id": None}, "results.json: annotation 1: `image_id` is null"),
    ],
)
def test_what_is_wrong_in_a_list_is_one_line(tmp_path: Path, city: DatasetSettings, change: dict[str, Any], message: str) -> None:
    settings = as_list(tmp_path, [{**DETECTIONS[0], **change}, *DETECTIONS[1:]])
    with pytest.raises(InputError) as caught:
        load(settings, city)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert message in "; ".join(f"{problem.file.name}: {problem}" for problem in check_label_set(settings, [city]).problems)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"id": 9}, "image 9: is not in "),
        ({"file_name": "other.png"}, "image 1: has another file name or size than in "),
        ({"width": 40}, "image 1: has another file name or size than in "),
    ],
)
def test_coco_json_of_other_images_is_refused(tmp_path: Path, city: DatasetSettings, image: dict[str, Any], message: str) -> None:
    document = coco_dict([[]], space=COCO)
    document["images"][0].update(image)
    with pytest.raises(InputError, match=message):
        load(as_coco(tmp_path, document), city)


def test_a_class_list_is_needed_and_must_be_that_of_all_files(tmp_path: Path, city: DatasetSettings) -> None:
    unnamed = LabelSetSettings("coco", {"city": str(write_json(tmp_path / "results.json", DETECTIONS))})
    with pytest.raises(InputError, match=r"has no class list; name a file that has one as label_sets\.coco\.categories"):
        load(unnamed, city)
    document = coco_dict([[]], space=label_space("coco", ["person", "bike"], [1, 7]))
    other = write_json(tmp_path / "labels.json", document)
    classes = write_json(tmp_path / "classes.json", COCO.categories())
    with pytest.raises(InputError, match=r"the class list is \[1 person, 7 bike\], but that of coco is \[1 person, 7 bicycle\]"):
        load(LabelSetSettings("coco", {"city": str(other)}, categories=str(classes)), city)
    with pytest.raises(InputError, match="no such file"):
        load(LabelSetSettings("coco", {"city": str(tmp_path / "none.json")}), city)
    with pytest.raises(InputError, match="not a COCO labels file"):
        load(LabelSetSettings("coco", {"city": str(write_json(tmp_path / "three.json", 3))}), city)


def test_a_check_has_figures_of_each_dataset(tmp_path: Path, city: DatasetSettings) -> None:
    other = DatasetSettings("nu", city.images, city.annotations)
    check = check_label_set(as_list(tmp_path, DETECTIONS), [other, city])
    assert (check.name, check.problems, check.repairs, check.space) == ("label set coco", (), (), COCO)
    (part,) = check.parts
    assert (part.part, part.images, part.boxes, part.empty_images) == ("images of city", 3, 3, 1)
    assert part.boxes_per_class == {"person": 2, "bicycle": 1}


@pytest.mark.parametrize(("arguments", "message"), [(("a b", {"city": "x"}), "is 'a b'"), (("coco", {}), "files: is empty")])
def test_settings_out_of_range_are_refused(arguments: tuple[str, dict[str, str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelSetSettings(*arguments)
