"""Regions that nearly coincide with a detection vote on its box: numbers by hand, and the same on a device as image by image."""

from __future__ import annotations

import torch
from factories import label_space

from lat.detectors.box_voting import voted_among_pairs, voted_boxes
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.region_detections import RegionScores, detected, keep_detections

SPACE = label_space()
BOXES = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 20], [0, 0, 10, 10], [50, 50, 60, 60]])
LABELS, SCORES = torch.tensor([0, 0, 0, 1, 0]), torch.tensor([0.6, 0.2, 0.9, 0.9, 0.5])


def test_a_box_is_the_mean_of_its_class_that_nearly_coincides_weighted_by_score() -> None:
    # Of box 0 the second has IoU 9/11 = 0.82 and votes; the third has 0.5, the fourth is of another class.
    voted = voted_boxes(torch.tensor([2, 0, 4]), BOXES, LABELS, SCORES, 0.75)
    assert torch.allclose(voted, torch.tensor([[0, 0, 10, 20], [0.25, 0, 10.25, 10], [50, 50, 60, 60]]))


def test_without_votes_boxes_stay_as_they_are() -> None:
    kept = torch.tensor([2, 0, 4])
    assert torch.equal(voted_boxes(kept, BOXES, LABELS, SCORES, 1.0), BOXES[kept])
    assert voted_boxes(kept[:0], BOXES, LABELS, SCORES, 0.75).shape == (0, 4)
    first, second = torch.tensor([0]), torch.tensor([1])
    assert torch.equal(voted_among_pairs(first, second, torch.ones(1), BOXES, SCORES, 1.0), BOXES)


def test_a_candidate_of_no_weight_does_not_vote() -> None:
    first, second = torch.tensor([0]), torch.tensor([1])
    voted = voted_among_pairs(first, second, torch.tensor([0.8]), BOXES, torch.tensor([0.5, 0.0, 1, 1, 0.0]), 0.75)
    assert torch.equal(voted[0], BOXES[0])
    assert voted.isfinite().all()


def test_all_images_at_once_are_as_each_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    centres = torch.rand(3, 40, 1, 2, generator=generator) * 80 + 10
    centres[:, 20:] = centres[:, :20] + torch.rand(3, 20, 1, 2, generator=generator)
    sides = 8 + 8 * torch.rand(3, 40, len(SPACE), 2, generator=generator)
    sides[0, :5, :, 0] = 0.01  # too thin to be kept, or to vote
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=3)
    scores = torch.rand(3, 40, len(SPACE), generator=generator)
    sizes = [((100, 100), (100, 100))] * 3
    settings = DetectorSettings(detection_threshold=0.3)
    found = detected(RegionScores(boxes.unbind(), scores.unbind(), sizes), settings, SPACE, voting_iou=0.6)
    assert found is not None
    handed = found.handed_out()
    assert handed is not None
    for there, region_boxes, region_scores in zip(handed, boxes, scores, strict=True):
        alone = keep_detections(region_boxes, region_scores, sizes[0], settings, SPACE, voting_iou=0.6)
        plain = keep_detections(region_boxes, region_scores, sizes[0], settings, SPACE)
        assert torch.equal(there.labels, alone.labels)
        assert torch.equal(there.scores, alone.scores)
        torch.testing.assert_close(there.boxes_xyxy, alone.boxes_xyxy, rtol=0, atol=1e-4)
        assert torch.equal(alone.scores, plain.scores)
        assert not torch.allclose(alone.boxes_xyxy, plain.boxes_xyxy, atol=0.1)
