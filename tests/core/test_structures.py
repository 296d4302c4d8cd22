from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from factories import label_space, labeled_boxes

from lat.core.origin import Origin
from lat.core.structures import LabeledBoxes, Proposals

SPACE = label_space("city", ["car", "bus", "person"])


def test_columns_left_out_are_those_of_ground_truth_without_ids() -> None:
    boxes = labeled_boxes(SPACE, [[0, 0, 4, 4], [1, 2, 3, 4]], [0, 2])
    assert boxes.scores.tolist() == boxes.weights.tolist() == [1.0, 1.0]
    assert boxes.annotation_ids.tolist() == [-1, -1]
    assert boxes.annotation_ids.dtype == boxes.labels.dtype == torch.int64
    assert boxes.class_scores is None


@pytest.mark.parametrize("rows", [torch.tensor([2, 0]), torch.tensor([True, False, True]), slice(1, 1)])
def test_choosing_rows_chooses_them_in_every_column(rows: Any) -> None:
    boxes = labeled_boxes(
        SPACE,
        [[0, 0, 4, 4], [1, 2, 3, 4], [5, 5, 9, 9]],
        [0, 1, 2],
        scores=[0.1, 0.2, 0.3],
        class_scores=[[0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.3]],
        weights=[1, 0, 1],
        annotation_ids=[7, 8, 9],
    )
    chosen = boxes[rows]
    assert chosen.space is SPACE
    for name in ("boxes_xyxy", "labels", "scores", "class_scores", "weights", "annotation_ids"):
        assert torch.equal(getattr(chosen, name), getattr(boxes, name)[rows]), name


def test_empty_boxes_are_legal_and_keep_the_number_of_classes() -> None:
    empty = LabeledBoxes.empty(SPACE)
    assert len(empty) == 0
    assert empty.class_scores is not None
    assert empty.class_scores.shape == (0, 3)


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        labeled_boxes(SPACE, [[0, 0, 1, 1]]).labels = torch.zeros(1)  # type: ignore[misc]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"boxes_xyxy": torch.zeros(1, 5)}, "boxes_xyxy must be"),
    ({"boxes_xyxy": torch.zeros(1, 4, dtype=torch.float64)}, "boxes_xyxy must be"),
    ({"boxes_xyxy": torch.tensor([[0.0, 0.0, float("nan"), 1.0]])}, "NaN"),
    ({"boxes_xyxy": torch.tensor([[2.0, 0.0, 1.0, 1.0]])}, "x1 <= x2"),
    ({"labels": torch.tensor([3])}, "labels must be 0..2"),
    ({"labels": torch.tensor([-1])}, "labels must be 0..2"),
    ({"labels": torch.tensor([0], dtype=torch.int32)}, "labels must be"),
    ({"labels": torch.tensor([0, 0])}, "labels must be"),
    ({"scores": torch.tensor([1.5])}, "scores must lie"),
    ({"scores": torch.tensor([float("inf")])}, "scores contains"),
    ({"weights": torch.tensor([-0.1])}, "weights must lie"),
    ({"class_scores": torch.zeros(1, 2)}, "class_scores must be"),
    ({"class_scores": torch.full((1, 3), 2.0)}, "class_scores must lie"),
    ({"annotation_ids": torch.tensor([1.0])}, "annotation_ids must be"),
]


@pytest.mark.parametrize(("change", "what"), BAD)
def test_unsound_columns_are_refused_at_birth(change: dict[str, Any], what: str) -> None:
    sound: dict[str, Any] = {"boxes_xyxy": torch.tensor([[0.0, 0.0, 1.0, 1.0]]), "labels": torch.tensor([0])}
    LabeledBoxes(**sound, space=SPACE)
    with pytest.raises(ValueError, match=what):
        LabeledBoxes(**{**sound, **change}, space=SPACE)


def proposals(**change: Any) -> Proposals:
    columns: dict[str, Any] = {
        "boxes_xyxy": torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 2.0, 2.0]]),
        "class_scores": torch.eye(2, 5),
        "confidence": torch.tensor([1.0, 0.4]),
        "origin": torch.tensor([Origin.GROUND_TRUTH, Origin.PSEUDO_LABEL]),
        "space_index": torch.tensor([0, 1]),
        "annotation_ids": torch.tensor([3, -1]),
        "labels": torch.tensor([0, 1]),
    }
    return Proposals(**{**columns, **change})


def test_proposals_choose_rows_and_may_be_empty() -> None:
    chosen = proposals()[torch.tensor([1])]
    assert chosen.confidence.tolist() == pytest.approx([0.4])
    assert chosen.class_scores.tolist() == [[0, 1, 0, 0, 0]]
    assert len(proposals()[:0]) == 0
    assert proposals()[:0].class_scores.shape == (0, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"class_scores": torch.zeros(1, 5)},
        {"confidence": torch.tensor([float("nan"), 1.0])},
        {"origin": torch.zeros(2)},
        {"space_index": torch.zeros(3, dtype=torch.int64)},
    ],
)
def test_unsound_proposals_are_refused_at_birth(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        proposals(**change)


def test_boxes_are_split_into_those_of_each_image_without_sharing_memory() -> None:
    boxes = LabeledBoxes(torch.arange(12.0).reshape(3, 4), torch.tensor([1, 0, 1]), SPACE, scores=torch.tensor([0.1, 0.2, 0.3]))
    parts = boxes.split([2, 0, 1])
    assert [part.scores.tolist() for part in parts] == [pytest.approx([0.1, 0.2]), [], [pytest.approx(0.3)]]
    assert [part.labels.tolist() for part in parts] == [[1, 0], [], [1]]
    assert parts[2].boxes_xyxy.untyped_storage().nbytes() == 4 * 4


def test_every_column_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What readers hand over stays an open file per tensor until it is copied: a GPU's queue of batches would be thousands."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self + 1)
    boxes = labeled_boxes(label_space(), [(0.0, 0.0, 2.0, 2.0)], [0])
    pinned = boxes.pin_memory()
    for name, column in boxes._columns().items():
        assert (getattr(pinned, name) == column + 1).all(), name
    assert pinned.space == boxes.space
