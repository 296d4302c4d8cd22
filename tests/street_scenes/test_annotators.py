"""What people make of a protocol: how often and by how much they err, and that truth does not."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from lat.street_scenes import ANNOTATORS, SPACES, SceneSettings, draw_street_scenes
from lat.street_scenes.annotators import (
    BOXED_TWICE,
    CAREFUL,
    LARGE,
    MISSED,
    SCATTER,
    SMALL,
    WRONG_CLASS,
    Habits,
    annotate_by_hand,
    habits_of,
)
from lat.street_scenes.protocols import Annotation

SIZE_HW = (144, 192)
OBJECTS = 20_000
PLACE = (90.0, 60.0, 24.0, 24.0)  # inside the image, so that no side is clipped
IN_ORDER = Habits((0.0, 0.0), 0.0, 0.0, 0.0)


def annotated(habits: Habits, box: tuple[float, float, float, float] = PLACE, count: int = OBJECTS) -> list[list[Annotation]]:
    """What people with these habits write down of each of many equal objects."""
    of_all = {"car": habits, "bus": IN_ORDER, "van": IN_ORDER}
    rng = np.random.default_rng(0)
    return [annotate_by_hand([Annotation("car", box, 1)], of_all, SIZE_HW, rng) for _ in range(count)]


def share(times: int, of: int = OBJECTS) -> object:
    """This share of all objects, within four standard deviations of a rate of a fifth."""
    return pytest.approx(times / of, abs=4 * (0.2 * 0.8 / OBJECTS) ** 0.5)


@pytest.mark.parametrize("dataset", list(SPACES))
def test_habits_lie_in_their_ranges_and_differ_between_classes_datasets_and_seeds(dataset: str) -> None:
    drawn = [habits_of(dataset, seed) for seed in range(50)]
    assert habits_of(dataset, 3) == drawn[3]
    for habits in drawn:
        assert set(habits) == set(SPACES[dataset].class_names)
        for one in habits.values():
            assert SCATTER[0] <= one.scatter[1] <= one.scatter[0] <= SCATTER[1]
            for value, (low, high) in ((one.missed, MISSED), (one.wrong_class, WRONG_CLASS), (one.boxed_twice, BOXED_TWICE)):
                assert low <= value <= high
    missed = [one.missed for habits in drawn for one in habits.values()]
    assert len(set(missed)) == len(missed)
    assert np.mean(missed) == pytest.approx(0.2, abs=0.05)
    assert max(missed) > 0.38
    assert habits_of("city", 0)["car"] != habits_of("nu", 0)["car"]


def test_careful_annotators_are_alike_and_confuse_nothing() -> None:
    habits = [one for name in SPACES for one in habits_of(name, 7, "careful").values()]
    assert habits == [CAREFUL] * sum(len(SPACES[name]) for name in SPACES)
    found = annotated(habits_of("city", 0, "careful")["car"])
    assert sum(not boxes for boxes in found) / OBJECTS == pytest.approx(0.1, abs=4 * (0.1 * 0.9 / OBJECTS) ** 0.5)
    assert {one.class_name for boxes in found for one in boxes} == {"car"}
    assert max(len(boxes) for boxes in found) == 1


def test_sides_scatter_by_a_share_of_the_object_and_more_on_small_ones() -> None:
    habits = Habits((0.08, 0.04), 0.0, 0.0, 0.0)
    for side, scatter in ((SMALL, 0.08), ((SMALL + LARGE) / 2, 0.06), (LARGE, 0.04), (80.0, 0.04)):
        place = (50.0, 30.0, side, side)
        boxes = np.array([one.box_xywh for (one,) in annotated(habits, place, 4000)])
        for moved in (boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]):
            robust = 1.4826 * np.median(np.abs(moved - np.median(moved)))
            assert robust / side == pytest.approx(scatter, rel=0.1)
    wide = np.array([one.box_xywh for (one,) in annotated(habits, (50.0, 30.0, 2 * LARGE, LARGE / 2), 4000)])
    assert np.std(wide[:, 0]) / np.std(wide[:, 1]) == pytest.approx(4, rel=0.1)  # of its width, and of its height
    assert np.corrcoef(wide[:, 0], wide[:, 0] + wide[:, 2])[0, 1] == pytest.approx(0, abs=0.07)  # each side by itself


def test_objects_are_missed_boxed_twice_and_given_a_wrong_class_at_their_rates() -> None:
    found = annotated(Habits((0.05, 0.05), 0.2, 0.0, 0.0))
    assert sum(not boxes for boxes in found) / OBJECTS == share(4000)
    found = annotated(Habits((0.05, 0.05), 0.0, 0.2, 0.0))
    names = [one.class_name for (one,) in found]
    assert names.count("bus") / OBJECTS == share(2000)
    assert names.count("van") / OBJECTS == share(2000)
    found = annotated(Habits((0.05, 0.05), 0.0, 0.2, 0.2))
    twice = [boxes for boxes in found if len(boxes) == 2]
    assert len(twice) / OBJECTS == share(4000)
    assert all(first.class_name == second.class_name and first.box_xywh != second.box_xywh for first, second in twice)


def test_people_without_faults_repeat_the_protocol() -> None:
    exact = [Annotation("car", PLACE, 576), Annotation("bus", (0.0, 0.0, 192.0, 144.0), 27648)]
    habits = {"car": IN_ORDER, "bus": IN_ORDER}
    assert annotate_by_hand(exact, habits, SIZE_HW, np.random.default_rng(0)) == exact


@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 60.0, 40.0), (191.0, 143.0, 1.0, 1.0), (190.0, 100.0, 2.0, 44.0), (0.0, 0.0, 192.0, 144.0)]
)
def test_boxes_stay_in_the_image_and_are_at_least_two_pixels_wide(box: tuple[float, float, float, float]) -> None:
    for (one,) in annotated(Habits((0.09, 0.09), 0.0, 0.0, 0.0), box, 500):
        x, y, width, height = one.box_xywh
        assert 0 <= x <= x + width <= 192 + 1e-9
        assert 0 <= y <= y + height <= 144 + 1e-9
        assert width >= 2 - 1e-9 <= height
        assert one.area == pytest.approx(width * height, abs=0.01)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("annotators")
    for annotators in ANNOTATORS:
        draw_street_scenes(
            root / annotators, SceneSettings(train_images={"city": 12, "nu": 12}, val_images=6, annotators=annotators)
        )
    return {annotators: root / annotators for annotators in ANNOTATORS}


@pytest.mark.parametrize("people", ["real", "careful"])
def test_people_annotate_training_and_validation_images_and_nothing_else(people: str, drawn: dict[str, Path]) -> None:
    of_people, of_exact = (
        {str(path.relative_to(drawn[each])): path.read_bytes() for path in sorted(drawn[each].rglob("*")) if path.is_file()}
        for each in (people, "exact")
    )
    assert set(of_people) == set(of_exact)
    other = {name for name in of_people if of_people[name] != of_exact[name]}
    assert other == {"street_scenes.json", *(f"{name}/{split}.json" for name in ("city", "nu") for split in ("train", "val"))}


def test_what_people_write_is_valid_and_depends_on_the_image_alone(drawn: dict[str, Path], tmp_path: Path) -> None:
    draw_street_scenes(tmp_path / "fewer", SceneSettings(train_images={"nu": 5}, val_images=2))
    for file in ("train.json", "val.json"):
        content, fewer = (json.loads((root / "nu" / file).read_text()) for root in (drawn["real"], tmp_path / "fewer"))
        rows = content["annotations"]
        assert [one["id"] for one in rows] == list(range(1, len(rows) + 1))
        assert {one["category_id"] for one in rows} <= {one["id"] for one in content["categories"]}
        images = [image["id"] for image in content["images"]]
        assert [key for key, _ in groupby(one["image_id"] for one in rows)] == [
            i for i in images if i in {r["image_id"] for r in rows}
        ]
        shown = {image["id"] for image in fewer["images"]}
        assert fewer["annotations"] == [one for one in rows if one["image_id"] in shown]
