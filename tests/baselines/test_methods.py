"""What each method of the table makes of one image, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tables import row, table

from lat.baselines.methods import METHODS, MethodInputs, in_target_classes
from lat.config.sections import DOWNSTREAM_METHODS
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes

A, B, C = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 70.0), (0.0, 80.0, 10.0, 90.0)
SOURCE = LabelSpace("source", ("car", "lorry"), (1, 2))
TARGET = LabelSpace("target", ("car", "truck"), (5, 6))


def inputs(class_map: Path | None = None) -> MethodInputs:
    """A source image with car A and lorry B, on which the target's detector finds truck A at 0.9 and truck C at 0.4."""
    pseudo = LabeledBoxes(torch.tensor([A, C]), torch.tensor([1, 1]), TARGET, scores=torch.tensor([0.9, 0.4]))
    return MethodInputs(
        source=table([row(0, 0, A), row(0, 1, B)], image_ids=(1,), space=SOURCE),
        target=table([row(0, 0, A)], image_ids=(1,), space=TARGET),
        pseudo_labels=lambda: [pseudo],
        class_thresholds=lambda: torch.tensor([0.0, 0.5]),
        class_map=class_map,
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("class_names", [(0, A)]),
        ("class_map", [(0, A), (1, B)]),
        ("box_statistics", [(0, A), (1, B)]),  # too few boxes for statistics: they keep their size
        ("pseudo_label", [(1, A), (1, C)]),
        ("union", [(0, A), (1, C)]),
        ("union_averaged", [(0, A), (1, C)]),
        ("class_thresholds", [(1, A)]),
    ],
)
def test_each_method_labels_by_its_rule(method: str, expected: list[tuple[int, tuple[float, ...]]], tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("source: {car: car, lorry: truck}\n")
    (found,) = METHODS[method](inputs(path))
    assert list(zip(found.labels.tolist(), map(tuple, found.boxes_xyxy.tolist()), strict=True)) == expected


def test_without_a_map_classes_match_by_name() -> None:
    (found,) = in_target_classes(inputs())
    assert found.labels.tolist() == [0]


def test_every_method_is_one_of_the_settings() -> None:
    assert set(METHODS) < set(DOWNSTREAM_METHODS)
