from __future__ import annotations

from pathlib import Path

import pytest
from factories import coco_dict, label_space, write_json

from lat.baselines.class_map import labels_by_class_map, read_class_map
from lat.core.errors import InputError
from lat.labels.coco.read import read_labels

CITY = label_space("city", ("car", "truck", "person"))
WAY = label_space("way", ("vehicle", "pedestrian", "barrier"), (4, 9, 2))
TABLE = """
air: {plane: null}
way:
  barrier: null
  vehicle: truck
  pedestrian: person
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "map.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_map_follows_the_order_of_the_source_and_moves_its_boxes(tmp_path: Path) -> None:
    target_of = read_class_map(written(tmp_path, TABLE), WAY, CITY)
    assert target_of.tolist() == [1, 2, -1]
    document = coco_dict([[(0, 0, 4, 4), (9, 9, 3, 3), (20, 2, 5, 5)], []], [[2, 9, 4], []], space=WAY)
    first, second = labels_by_class_map(read_labels(write_json(tmp_path / "a.json", document), "way"), target_of, CITY)
    assert first.boxes_xyxy.tolist() == [[9, 9, 12, 12], [20, 2, 25, 7]]
    assert (first.labels.tolist(), first.annotation_ids.tolist(), first.space) == ([2, 1], [2, 3], CITY)
    assert len(second) == 0


def test_names_that_yaml_takes_for_numbers_are_names(tmp_path: Path) -> None:
    digits, words = label_space("digits", ("1", "2")), label_space("words", ("7", "8"))
    assert read_class_map(written(tmp_path, "digits: {1: 8, 2: 7}"), digits, words).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("way: {vehicle: car, pedestrian: person}", "lacks the class barrier of way"),
        ("way: {vehicle: car}", "lacks the classes pedestrian, barrier of way"),
        ("way: {vehicle: car, pedestrain: person, barrier: null}", "no class 'pedestrain' in way; did you mean 'pedestrian'?"),
        ("way: {vehicle: cars, pedestrian: person, barrier: null}", "way vehicle: .* 'cars' in city; did you mean 'car'?"),
        ("way: {vehicle: [car], pedestrian: person, barrier: null}", r"way vehicle: .* '\['car'\]' in city"),
        ("ways: {vehicle: car}", "has no dataset 'way'; did you mean 'ways'?"),
        ("way: car", "is not a table"),
        ("- way", "is not a table"),
        ("", "is not a table"),
        ("way: {\n  vehicle: car\n", r"is not valid YAML \(line 3\)"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read_class_map(written(tmp_path, text), WAY, CITY)
    assert str(raised.value).startswith(f"{tmp_path / 'map.yaml'}: ")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.yaml: there is no such class map"):
        read_class_map(tmp_path / "no.yaml", WAY, CITY)
