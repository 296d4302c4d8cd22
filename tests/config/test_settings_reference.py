"""Settings as data: every field has its comment, and the JSON schema takes what the configuration takes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from lat.cli import main
from lat.config.load import Config
from lat.config.reference import json_schema, settings_of, walk
from lat.data.data_settings import DatasetSettings

MOST_SETTINGS = 150
CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))


@dataclass(frozen=True)
class Part:
    """A part. It has more to say.

    But not here.
    """

    size: int = 3  # how large
    # in pixels
    names: list[str] = field(default_factory=list)  # who


@dataclass(frozen=True)
class Whole(Part):
    long: str = "x"  # a default that takes
    # three lines
    part: Part = field(default_factory=Part)
    must: float = field(kw_only=True)  # has no default

    def __post_init__(self) -> None:
        # no comment of a field
        pass


def test_comments_of_fields_are_read_also_of_inherited_ones() -> None:
    described = {one.name: one.description for one in settings_of(Whole)}
    assert described == {
        "size": "how large in pixels",
        "names": "who",
        "long": "a default that takes three lines",
        "part": "A part. It has more to say.",
        "must": "has no default",
    }


def test_every_setting_has_a_description() -> None:
    bare = [f"{key}.{one.name}" for key, settings in walk() for one in settings if not one.description]
    assert bare == []


def test_there_are_few_enough_settings_to_know() -> None:
    leaves = [f"{key}.{one.name}" for key, settings in walk() for one in settings if one.section is None]
    assert len(leaves) == len(set(leaves)) <= MOST_SETTINGS


def test_no_section_inherits_from_another() -> None:
    for owner in {one.section for _, settings in walk() for one in settings if one.section is not None}:
        assert [base for base in owner.__mro__[1:] if is_dataclass(base)] == []


@cache
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_schema_takes_every_configuration_of_the_project(path: Path) -> None:
    assert not list(validator().iter_errors(yaml.safe_load(path.read_text(encoding="utf-8"))))


def test_the_schema_takes_all_defaults() -> None:
    two = [{"name": name, "images": "i", "annotations": "a"} for name in "ab"]
    content = Config(datasets=[DatasetSettings(**one) for one in two]).to_dict()
    assert not list(validator().iter_errors(json.loads(json.dumps(content))))


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"sed": 1}, []),
        ({"lat": {"training": {"stepps": 1}}}, ["lat", "training"]),
        ({"lat": {"training": {"steps": "many"}}}, ["lat", "training", "steps"]),
        ({"datasets": [{"name": "a", "images": "i"}]}, ["datasets", 0]),
        ({"upstream": {"model": {"nms_iou": True}}}, ["upstream", "model", "nms_iou"]),
        ({"downstream": {"in_run": 1}}, ["downstream", "in_run"]),
    ],
)
def test_the_schema_refuses_what_the_configuration_refuses(content: dict[str, Any], where: list[str | int]) -> None:
    assert [list(error.absolute_path) for error in validator().iter_errors(content)] == [where]


def test_interpolations_stand_for_numbers() -> None:
    assert not list(validator().iter_errors({"seed": "${oc.env:SEED}"}))


def test_lat_schema_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["schema"])
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["lat"]["properties"]["training"]["properties"]["steps"]["default"] == 1200
    assert schema["additionalProperties"] is False
