"""Classes merged, renamed and left out as labels are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import coco_dict, label_space, write_coco, write_json

from lat.core.errors import InputError
from lat.data.dataset import load_dataset, load_truth
from lat.data.dataset_check import check_datasets
from lat.labels.coco.read import read_labels
from lat.labels.mapped_classes import mapped, read_mapped

SPACE = label_space("city", ("car", "van", "person", "sign"), (7, 2, 5, 9))
BOXES = [[(2, 2, 10, 10), (20, 2, 8, 8)], [(2, 2, 10, 10), (20, 2, 8, 8), (30, 20, 8, 8)]]
CLASSES = [[7, 9], [2, 5, 9]]
MAP = {"van": "vehicle", "car": "vehicle", "sign": None}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_json(tmp_path / "labels.json", coco_dict(BOXES, CLASSES, space=SPACE))


def test_classes_are_merged_under_the_first_id_and_left_out_with_their_boxes(file: Path) -> None:
    before, table = read_labels(file, "city"), read_mapped(file, "city", MAP)
    assert (table.space.class_names, table.space.category_ids) == (("vehicle", "person"), (7, 5))
    assert table.labels.tolist() == [0, 0, 1]
    assert table.offsets.tolist() == [0, 1, 3]
    np.testing.assert_array_equal(table.boxes_xyxy, before.boxes_xyxy[[0, 2, 3]])
    assert table.annotation_ids.tolist() == before.annotation_ids[[0, 2, 3]].tolist()


def test_no_map_changes_nothing_and_names_may_be_swapped(file: Path) -> None:
    before = read_labels(file, "city")
    assert mapped(before, {}).labels.tolist() == before.labels.tolist()
    assert mapped(before, {}).space == before.space
    swapped = mapped(before, {"car": "person", "person": "car"})
    assert swapped.space.class_names == ("person", "van", "car", "sign")
    assert swapped.labels.tolist() == before.labels.tolist()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            {"cat": "dog"},
            "labels.json: datasets.city.classes names the class 'cat', which is not in the file; did you mean 'car'?",
        ),
        (dict.fromkeys(SPACE.class_names), "labels.json: datasets.city.classes leaves out every class; keep one of them"),
    ],
)
def test_errors_name_file_class_and_remedy(file: Path, classes: dict[str, str | None], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_mapped(file, "city", classes)
    assert str(caught.value).replace("\n  ", " ").endswith(message)


def test_every_part_of_a_dataset_and_truth_in_its_space_is_read_through_its_map(tmp_path: Path) -> None:
    city = write_coco(tmp_path / "city", coco_dict(BOXES, CLASSES, space=SPACE), classes=MAP, validation_fraction=0.5)
    held_out = write_json(tmp_path / "val.json", coco_dict([[(2, 2, 5, 5)]], [[2]], space=SPACE))
    parted = replace(city, validation=str(held_out), validation_images=str(tmp_path / "city"), validation_fraction=0.0)
    train, validation = load_dataset(parted)
    assert validation is not None
    assert (train.space, validation.labels.labels.tolist()) == (validation.space, [0])
    truth = write_json(tmp_path / "truth.json", coco_dict(BOXES, CLASSES, space=SPACE))
    way = write_coco(tmp_path / "way", coco_dict(BOXES, space=label_space("way")), name="way", truth={"city": str(truth)})
    known = load_truth(way, load_dataset(way)[0], train.space, parted.classes)
    assert known is not None
    assert known.labels.tolist() == [0, 0, 1]
    checks = check_datasets([replace(parted, validation="", validation_images=""), way])
    assert [check.problems for check in checks] == [(), ()]
    assert checks[0].parts[0].boxes_per_class == {"vehicle": 2, "person": 1}
    (problem,) = check_datasets([replace(parted, classes={"cat": None}, validation="", validation_images="")])[0].problems
    assert problem.what == "datasets.city.classes names the class 'cat', which is not in the file"
