"""What several detectors find together, on a device: as on a CPU, and without waiting. No GPU is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from waits import ELSEWHERE, counted_waits

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.detected import Detected, hand_out
from lat.detectors.device_ensemble import fuse_detected, keep_detected
from lat.detectors.ensemble import fuse_members
from lat.stages.shared.kept_detections import NMS_IOU, keep_pseudo_labels

TOWN = LabelSpace.from_names("town", ("car", "bus", "person"))


def seen(objects: int, count: int, seed: int) -> LabeledBoxes:
    """Detections around so many objects, which are the same for every seed; two of three are of an object's class."""
    places = 150 * torch.rand(objects, 2, generator=torch.Generator().manual_seed(objects))
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(max(objects, 1), (count,), generator=generator)
    corner = places[which] + 4 * torch.rand(count, 2, generator=generator)
    boxes = torch.cat([corner, corner + 20 + 5 * torch.rand(count, 2, generator=generator)], dim=1)
    labels = (which + (torch.rand(count, generator=generator) < 1 / 3)) % 3
    scores = torch.softmax(torch.randn(count, 4, generator=generator) + 2 * torch.eye(4)[labels], dim=1)[:, :3]
    found = LabeledBoxes(boxes, labels, TOWN, scores=scores.gather(1, labels[:, None])[:, 0], class_scores=scores)
    return found[found.scores.argsort(descending=True)]


MEMBERS = [[seen(8, 30, 1), seen(0, 0, 2), seen(5, 12, 3)], [seen(8, 25, 4), seen(5, 9, 5), seen(5, 20, 6)]]
MEMBERS.append([seen(8, 12, 7), seen(5, 4, 8), seen(0, 0, 9)])


def elsewhere(boxes: Sequence[LabeledBoxes]) -> Detected:
    return Detected.of_boxes(boxes, ELSEWHERE)


def assert_close(found: Any, wanted: Sequence[LabeledBoxes]) -> None:
    assert [len(one) for one in found] == [len(one) for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.labels, other.labels)
        for name in ("boxes_xyxy", "scores", "class_scores"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-5)


def test_all_images_are_fused_at_once_as_each_is() -> None:
    wanted = [fuse_members(of_image) for of_image in zip(*MEMBERS, strict=True)]
    assert all(len(one) < sum(map(len, of_image)) for one, of_image in zip(wanted, zip(*MEMBERS, strict=True), strict=True))
    with counted_waits() as waits:
        fused = fuse_detected([elsewhere(member) for member in MEMBERS])
        assert waits.found == []
        found = fused.handed_out()
    assert_close(found, wanted)


def test_one_detector_alone_is_unchanged_on_a_device() -> None:
    alone = Detected.of_boxes(MEMBERS[0], torch.device("cpu"))
    assert fuse_detected([alone]) is alone


def test_a_member_counts_once_for_an_object_on_a_device() -> None:
    # As in `test_ensemble`: both boxes of the second overlap the first's; the one that overlaps it more is taken.
    rows = [([[0, 0, 100, 100]], [0.9]), ([[0, 20, 100, 100], [0, 0, 100, 90]], [0.7, 0.5])]
    members = []
    for boxes, scores in rows:
        of_classes = torch.tensor(scores)[:, None] * torch.tensor([[1.0, 0.1, 0.0]])
        labels = torch.zeros(len(scores), dtype=torch.int64)
        found = LabeledBoxes(torch.tensor(boxes).float(), labels, TOWN, scores=torch.tensor(scores), class_scores=of_classes)
        members.append(Detected.of_boxes([found], torch.device("cpu")))
    (both,) = fuse_detected(members).handed_out() or []
    torch.testing.assert_close(both.scores, torch.tensor([(0.9 + 0.5) / 2]))
    torch.testing.assert_close(both.boxes_xyxy[0, 3], torch.tensor((0.9 * 100 + 0.5 * 90) / 1.4))


def test_labels_of_all_images_and_thresholds_take_one_copy() -> None:
    wanted = [[keep_pseudo_labels(one, threshold, 6) for one in MEMBERS[0]] for threshold in (0.8, 0.0)]
    assert len(wanted[0][2]) < len(wanted[1][2])
    with counted_waits() as waits:
        member = elsewhere(MEMBERS[0])
        found = hand_out([keep_detected(member, threshold, 6, NMS_IOU) for threshold in (0.8, 0.0)])
        assert len(waits) == 1, waits.found
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other)


def test_mirrored_detections_are_those_of_the_mirror_image() -> None:
    boxes = LabeledBoxes(torch.tensor([[2.0, 3.0, 10.0, 9.0]]), torch.tensor([1]), TOWN, class_scores=torch.zeros(1, 3))
    (found,) = Detected.of_boxes([boxes], torch.device("cpu")).mirrored([40]).handed_out() or []
    assert found.boxes_xyxy.tolist() == [[30, 3, 38, 9]]
