"""Reading images ahead of a detector."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from factories import coco_dict, write_coco

from lat.core.errors import InputError
from lat.data.augment.augment_settings import AugmentationSettings, NoiseSettings
from lat.data.augment.transforms import AugmentedThere
from lat.data.dataset import load_dataset
from lat.data.read_ahead import read_ahead
from lat.engine.runtime import build_fabric
from lat.engine.training_settings import RuntimeSettings
from lat.stages.shared.detection import DetectionItems, batches_of, image_batches


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 9])
def test_batches_hold_every_image_once_and_in_order(tmp_path: Path, batch_size: int) -> None:
    part, _ = load_dataset(write_coco(tmp_path, coco_dict([[(1, 1, 9, 9)]] * 5)))
    batches = list(image_batches(part, batches_of(range(5), batch_size)))
    assert [len(batch) for batch in batches] == [batch_size] * (5 // batch_size) + [5 % batch_size] * (5 % batch_size > 0)
    for index, image in enumerate(image for batch in batches for image in batch):
        assert torch.equal(image, part.image(index))


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    part, _ = load_dataset(write_coco(tmp_path, coco_dict([[(1, 1, 9, 9)]] * 3)))
    part.image_path(2).write_bytes(b"no image")
    batches = image_batches(part, batches_of(range(3), 2))
    assert len(next(batches)) == 2
    with pytest.raises(InputError, match=part.labels.file_names[2]):
        next(batches)


def test_an_image_augmented_on_its_device_is_the_image_augmented_before(tmp_path: Path) -> None:
    part, _ = load_dataset(write_coco(tmp_path, coco_dict([[(1, 1, 9, 9)]] * 5)))
    settings = AugmentationSettings(horizontal_flip=0.5, color_jitter=0.4)
    here, there = DetectionItems([part], settings), DetectionItems([part], settings, device=torch.device("cuda"))
    mirrored = set()
    for index in range(5):
        image, boxes = here.item(index, torch.Generator().manual_seed(index))
        waiting, same_boxes = there.item(index, torch.Generator().manual_seed(index))
        assert isinstance(waiting, AugmentedThere)
        assert waiting.pixels.dtype == torch.uint8
        assert torch.equal(waiting.to(torch.device("cpu")), image)
        assert torch.equal(same_boxes.boxes_xyxy, boxes.boxes_xyxy)
        mirrored.add(waiting.variation.is_mirrored)
    assert mirrored == {False, True}


def test_images_that_are_yet_to_be_augmented_are_moved_like_any_batch(tmp_path: Path) -> None:
    part, _ = load_dataset(write_coco(tmp_path, coco_dict([[(1, 1, 9, 9)]] * 2)))
    items = DetectionItems([part], AugmentationSettings(), device=torch.device("cuda"))
    batch = items.collate([items.item(index, torch.Generator().manual_seed(index)) for index in range(2)])
    images, _ = build_fabric(RuntimeSettings(accelerator="cpu"), seed=0).to_device(batch)
    assert [(image.dtype, image.shape[0]) for image in images] == [(torch.float32, 3)] * 2


def test_further_variation_is_done_where_the_image_is_read(tmp_path: Path) -> None:
    part, _ = load_dataset(write_coco(tmp_path, coco_dict([[(1, 1, 9, 9)]] * 2)))
    items = DetectionItems([part], AugmentationSettings(), NoiseSettings(blur=1.0), torch.device("cuda"))
    image, _ = items.item(0, torch.Generator().manual_seed(0))
    assert isinstance(image, torch.Tensor)


def test_many_readers_read_further_ahead_and_an_early_end_stops_them() -> None:
    read: list[int] = []
    batches = read_ahead(lambda i: read.append(i) or i, [range(i, i + 2) for i in range(0, 40, 2)], readers=6)
    assert next(batches) == [0, 1]
    batches.close()
    assert sorted(read) == list(range(len(read)))
    assert 2 <= len(read) <= 8  # the first batch, and six items for six readers
