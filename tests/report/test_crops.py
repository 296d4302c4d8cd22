"""Example crops: which boxes are shown, and that what is shown lies in the box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from factories import coco_dict, write_coco

from lat.data.dataset import DetectionDataset, load_dataset
from lat.report.crops import CROP_SIDE, GROUND, class_strips, example_rows, square_crop


def dataset_of(folder: Path, boxes: list[list[tuple[float, ...]]], ids: list[list[int]]) -> DetectionDataset:
    return load_dataset(write_coco(folder, coco_dict(boxes, ids)))[0]


def test_the_larger_half_of_the_boxes_of_a_class_is_shown_evenly(tmp_path: Path) -> None:
    # Boxes of car, ten of one image and two of another, with sides 1 to 12; a truck between them.
    images = [[(0.0, 0.0, float(side), float(side)) for side in range(1, 11)], [(0, 0, 20, 20), (0, 0, 11, 11), (0, 0, 12, 12)]]
    dataset = dataset_of(tmp_path, images, [[1] * 10, [2, 1, 1]])
    # The six largest are rows 6 to 9, 11 and 12: places 0, 2, 3 and 5 of them (linspace 0, 1.67, 3.33, 5).
    assert example_rows(dataset, 0) == [6, 8, 9, 12]
    assert example_rows(dataset, 1) == [10]


def test_a_class_without_boxes_has_no_strip(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, [[(0, 0, 8, 8)]], [[1]])
    assert example_rows(dataset, 1) == []
    strips = class_strips(dataset)
    assert list(strips) == ["car"]
    assert strips["car"].startswith("data:image/jpeg;base64,")
    assert len(strips["car"]) < 8000


def test_a_crop_shows_the_box_centred_on_grey() -> None:
    image = torch.zeros(3, 40, 60)
    image[0, 10:30, 20:30] = 1.0  # a red box, twice as high as wide
    crop = square_crop(image, np.array([20.0, 10.0, 30.0, 30.0], dtype=np.float32))
    assert crop.shape == (3, CROP_SIDE, CROP_SIDE)
    quarter = CROP_SIDE // 4
    inside = crop[:, :, quarter:-quarter]
    assert torch.equal(inside[0], torch.ones_like(inside[0]))
    assert not inside[1:].any()
    assert (crop[:, :, :quarter] == GROUND).all()
    assert (crop[:, :, -quarter:] == GROUND).all()
