"""Doubt of transferred boxes: worked out by hand for a few boxes, and always from 0 to 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from factories import label_space
from tables import row, table

from lat.core.label_space import LabelSpace
from lat.evaluation.box_doubt import PARTS, WEIGHTS, combined, doubt, image_doubt
from lat.labels import chunks
from lat.labels.table import LabelTable

TARGET, SOURCE = label_space("target", ("car", "person")), label_space("source", ("vehicle", "walker"))
CAR, PERSON = (0, 0, 20, 20), (50, 50, 60, 80)


def transferred(*scores: float) -> LabelTable:
    return table([row(0, 0, CAR, scores[0]), row(0, 1, PERSON, scores[1])], (1,), TARGET)


def views_of(*boxes: tuple[int, tuple[int, int, int, int]]) -> LabelTable:
    return table([row(0, label, box) for label, box in boxes], (1,), SOURCE)


def test_spaces_that_all_see_the_same_leave_only_the_score() -> None:
    labels = transferred(0.9, 0.6)
    found = doubt(labels, labels, [labels, views_of((0, CAR), (1, PERSON))])
    assert found.parts["agreement"].tolist() == pytest.approx([0, 0])
    assert found.parts["spread"].tolist() == pytest.approx([0, 0])
    share = WEIGHTS["score"] / sum(WEIGHTS.values())
    assert found.boxes.tolist() == pytest.approx([0.1 * share, 0.4 * share], abs=1e-6)


def test_a_space_that_sees_nothing_there_or_another_class_raises_doubt() -> None:
    labels = transferred(0.9, 0.9)
    blind = doubt(labels, labels, [labels, views_of((0, CAR))])
    assert blind.parts["agreement"].tolist() == pytest.approx([0, 0.5])
    half = doubt(labels, labels, [views_of((0, CAR), (1, (50, 50, 60, 65)))])  # half of the person
    assert half.parts["agreement"].tolist() == pytest.approx([0, 0.5])
    assert half.parts["spread"].tolist() == pytest.approx([0, 1.0])


def test_agreement_weighs_how_far_classes_go_together_in_the_whole_dataset() -> None:
    """Nine walkers are persons and one is a car: that one agrees by the larger of 1/10 of the walkers and 1/1 of the cars."""
    boxes = [(10 * i, 0, 10 * i + 9, 9) for i in range(10)]
    labels = table([row(0, int(i < 8), box) for i, box in enumerate(boxes)], (1,), TARGET)  # eight persons, two cars
    walkers = table([row(0, int(i < 9), box) for i, box in enumerate(boxes)], (1,), SOURCE)  # nine walkers, one vehicle
    agreement = doubt(labels, labels, [walkers]).parts["agreement"]
    assert agreement[:8].tolist() == pytest.approx([0.0] * 8)  # all persons are walkers
    assert agreement[8] == pytest.approx(0.5)  # a car on a walker: half of the cars, a ninth of the walkers
    assert agreement[9] == pytest.approx(0.0)  # all vehicles are cars


def test_the_margin_counts_background() -> None:
    labels = replace(transferred(0.9, 0.9), class_scores=np.array([[0.5, 0.1], [0.2, 0.7]], np.float32))
    margin = doubt(labels, labels, [labels]).parts["margin"]
    assert margin.tolist() == pytest.approx([1 - (0.5 - 0.4), 1 - (0.7 - 0.2)])


def noise(generator: np.random.Generator, space: LabelSpace) -> LabelTable:
    """Up to five random boxes on each of 20 images."""
    rows = []
    for image in range(20):
        for _ in range(generator.integers(0, 6)):
            corner = generator.uniform(0, 60, 2)
            box = np.concatenate([corner, corner + generator.uniform(1, 30, 2)])
            rows.append(row(image, int(generator.integers(2)), box, generator.uniform()))
    return table(rows, tuple(range(1, 21)), space)


@pytest.fixture
def tables() -> list[LabelTable]:
    """Transferred labels, detections, and two views."""
    generator = np.random.default_rng(0)
    return [noise(generator, space) for space in (TARGET, TARGET, SOURCE, TARGET)]


def test_how_many_images_are_compared_at_once_changes_nothing(tables: list[LabelTable], monkeypatch: pytest.MonkeyPatch) -> None:
    labels, detections, *views = tables
    whole = doubt(labels, detections, views, views[0].at_least(0.5))
    seen: list[int] = []
    monkeypatch.setattr(chunks, "IMAGES_AT_ONCE", 3)
    parts = doubt(labels, detections, views, views[0].at_least(0.5), seen.append)
    assert seen == 2 * [3, 3, 3, 3, 3, 3, 2]
    for one, other in ((whole.boxes, parts.boxes), (whole.images, parts.images), (whole.overlooked, parts.overlooked)):
        assert one.tobytes() == other.tobytes()
    assert {name: part.tobytes() for name, part in whole.parts.items()} == {
        name: part.tobytes() for name, part in parts.parts.items()
    }


def test_all_parts_lie_between_0_and_1(tables: list[LabelTable]) -> None:
    found = doubt(tables[0], tables[1], tables[2:])
    assert set(found.parts) == set(PARTS)
    for values in (found.boxes, found.images, *found.parts.values()):
        assert values.min() >= 0
        assert values.max() <= 1


def test_no_boxes() -> None:
    empty = table([], (1, 2), TARGET)
    found = doubt(empty, empty, [table([], (1, 2), SOURCE)])
    assert found.boxes.shape == (0,)
    assert found.images.tolist() == [0, 0]


def test_an_image_is_about_as_doubtful_as_its_most_doubtful_box() -> None:
    offsets = np.array([0, 3, 4, 4])
    images = image_doubt(np.array([0.9, 0.0, 0.1, 0.3]), offsets)
    assert 0.85 < images[0] < 0.9
    assert images[1:].tolist() == pytest.approx([0.3, 0.0])


def test_a_sure_detection_that_no_label_touches_is_overlooked() -> None:
    labels = table([row(0, 0, CAR), row(1, 0, CAR)], (1, 2), TARGET)
    sure = table([row(0, 0, CAR, 0.99), row(1, 1, PERSON, 0.99), row(1, 0, CAR, 0.99)], (1, 2), TARGET)
    overlooked = doubt(labels, sure, [labels]).overlooked
    assert overlooked[0] == 0
    assert overlooked[1] > 0.95


def test_parts_are_weighted_means() -> None:
    parts = {"score": np.array([0.0, 1.0]), "agreement": np.array([1.0, 1.0])}
    assert combined(parts, {"score": 3.0, "agreement": 1.0}).tolist() == [0.25, 1.0]


def test_labels_on_boxes_of_a_class_without_a_counterpart_come_first() -> None:
    labels = transferred(0.99, 0.1)
    found = doubt(labels, labels, [labels], views_of((0, (0, 0, 20, 19))))
    assert found.parts["no_counterpart"].tolist() == [1, 0]
    assert found.boxes[0] == 1
    assert found.boxes[1] < 1
    assert doubt(labels, labels, [labels]).parts["no_counterpart"].tolist() == [0, 0]
