"""Reading images ahead of a detector."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from factories import coco_dict, write_coco

from lat.core.errors import InputError
from lat.data.dataset import load_dataset
from lat.stages.shared.detection import batches_of, image_batches


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
