"""How often the detections of a batch make the program wait for a device; see `waits`. No GPU is needed."""

from __future__ import annotations

import torch
from detr_parts import detr
from torch import Tensor
from waits import counted_waits, there

from lat.core.label_space import LabelSpace
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.region_detections import keep_detections_of_batch

SPACE = LabelSpace.from_names("town", ["car", "bus", "person"])
SIZE_HW = (60, 80)


def regions_of(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Boxes (count, 3, 4), some of them beyond the image or without area, and scores (count, 3)."""
    generator = torch.Generator().manual_seed(seed)
    corner = 70 * torch.rand(count, 3, 2, generator=generator)
    boxes = torch.cat([corner, corner + 30 * torch.rand(count, 3, 2, generator=generator)], dim=2)
    boxes[::7, :, 2] = boxes[::7, :, 0]
    return boxes, torch.softmax(2 * torch.randn(count, 4, generator=generator), dim=1)[:, :3]


def test_the_detections_of_a_transformer_take_one_wait() -> None:
    detector = detr("rtdetr", image_size=48)
    batch, generator = detector._batch([torch.rand(3, 33, 105)] * 2), torch.Generator().manual_seed(0)
    scores, shares = torch.rand(2, 9, len(detector.space), generator=generator), torch.rand(2, 9, 4, generator=generator)
    wanted = detector._selected(batch, scores, shares)
    with counted_waits() as waits:
        found = detector._selected(batch, there(scores), there(shares))
        assert len(waits) == 1, waits.found
    assert [one.scores.tolist() for one in found] == [one.scores.tolist() for one in wanted]


def test_detections_of_a_batch_are_those_of_each_image_and_take_three_waits() -> None:
    boxes, scores = zip(*(regions_of(count, seed) for seed, count in enumerate((60, 0, 90))), strict=True)
    sizes = [(SIZE_HW, SIZE_HW), (SIZE_HW, (120, 160)), (SIZE_HW, (60, 160))]
    settings = DetectorSettings(detection_threshold=0.2, nms_iou=0.3, max_detections=12)
    wanted = keep_detections_of_batch(boxes, scores, sizes, settings, SPACE)
    assert [len(one) for one in wanted] == [12, 0, 12]
    with counted_waits() as waits:
        found = keep_detections_of_batch([there(one) for one in boxes], [there(one) for one in scores], sizes, settings, SPACE)
        assert len(waits) == 3, waits.found
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.boxes_xyxy, other.boxes_xyxy)
        assert torch.equal(one.scores, other.scores)
