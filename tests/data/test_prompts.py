"""The texts that a promptable detector is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.data.prompts import prompts_of_names, read_prompts


def test_names_that_differ_in_case_or_joints_alone_are_one_class() -> None:
    spaces = [
        LabelSpace.from_names("a", ["Traffic_Light", "car"]),
        LabelSpace.from_names("b", ["traffic-light", "Car", "bus"]),
    ]
    assert prompts_of_names(spaces) == {"Traffic_Light": "traffic light", "car": "car", "bus": "bus"}


@pytest.mark.parametrize(
    "text", ["rider: person  riding a bicycle\ncar: car\n", "prompts:\n  rider: person riding a bicycle\n  car: car\n"]
)
def test_a_text_for_each_class_in_order(text: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    assert list(read_prompts(path).items()) == [("rider", "person riding a bicycle"), ("car", "car")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "names no class"),
        ("rider: ''", "rider: has no text"),
        ("rider: {a: b}", "rider: has no text"),
        ("rider: [a]", "rider"),
        ("rider: person\npedestrian: Person", "pedestrian: has the text of rider, 'Person'"),
        ("prompts: {a: b}\nc: d", "has other keys beside `prompts`"),
        ("- car", "correct|write"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_class(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        read_prompts(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_names_its_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there; correct --prompts"):
        read_prompts(tmp_path / "prompts.yaml")
