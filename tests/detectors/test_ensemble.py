"""The detections of several detectors as one set."""

import pytest
import torch

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.ensemble import fuse_members

PETS = LabelSpace.from_names("pets", ("cat", "dog"))


def found(*rows: tuple[tuple[int, int, int, int], int, float]) -> LabeledBoxes:
    """Detections (box, class, score), the rest of the score on the other class a tenth of it."""
    if not rows:
        return LabeledBoxes.empty(PETS)
    boxes, labels, scores = zip(*rows, strict=True)
    class_scores = torch.tensor([[score if k == label else score / 10 for k in (0, 1)] for _, label, score in rows])
    return LabeledBoxes(
        torch.tensor(boxes, dtype=torch.float32), torch.tensor(labels), PETS, torch.tensor(scores), class_scores=class_scores
    )


def test_one_detector_alone_is_unchanged():
    alone = found(((0, 0, 10, 10), 0, 0.9))
    assert fuse_members([alone]) is alone


def test_boxes_of_one_object_are_averaged_by_score():
    both = fuse_members([found(((0, 0, 20, 20), 0, 0.9)), found(((0, 0, 20, 24), 0, 0.3))])
    assert both.boxes_xyxy.tolist() == [[0, 0, 20, pytest.approx(21)]]  # (0.9 * 20 + 0.3 * 24) / 1.2
    assert both.scores.tolist() == [pytest.approx(0.6)]
    assert both.class_scores is not None
    assert both.class_scores[0].tolist() == [pytest.approx(0.6), pytest.approx(0.06)]


def test_what_one_of_three_sees_has_a_third_of_its_score():
    alone = fuse_members([found(), found(((0, 0, 20, 20), 1, 0.9)), found()])
    assert alone.scores.tolist() == [pytest.approx(0.3)]
    assert alone.boxes_xyxy.tolist() == [[0, 0, 20, 20]]


def test_classes_and_distant_boxes_stay_apart():
    one, other = found(((0, 0, 20, 20), 0, 0.8)), found(((0, 0, 20, 20), 1, 0.6), ((50, 50, 70, 70), 0, 0.4))
    both = fuse_members([one, other])
    assert both.labels.tolist() == [0, 1, 0]
    assert both.scores.tolist() == pytest.approx([0.4, 0.3, 0.2])


def test_a_member_counts_once_for_an_object():
    # Both boxes of the second overlap the first's by 0.8; the one that overlaps it more is taken.
    one, other = found(((0, 0, 100, 100), 0, 0.9)), found(((0, 20, 100, 100), 0, 0.7), ((0, 0, 100, 90), 0, 0.5))
    both = fuse_members([one, other])
    assert both.scores.tolist() == [pytest.approx((0.9 + 0.5) / 2)]
    assert both.boxes_xyxy[0, 3].item() == pytest.approx((0.9 * 100 + 0.5 * 90) / 1.4)


def test_the_order_of_members_does_not_matter_and_nothing_found_is_empty():
    one, other = found(((0, 0, 20, 20), 0, 0.8), ((40, 40, 60, 60), 1, 0.7)), found(((2, 0, 22, 20), 0, 0.6))
    there, back = fuse_members([one, other]), fuse_members([other, one])
    assert torch.allclose(there.boxes_xyxy, back.boxes_xyxy)
    assert torch.allclose(there.scores, back.scores)
    assert len(fuse_members([found(), found()])) == 0
