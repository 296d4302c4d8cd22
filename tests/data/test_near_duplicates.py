"""Images that look the same, and held-out images that look like ones that are trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from factories import coco_dict, write_coco

from lat.data.dataset_check import check_dataset
from lat.data.near_duplicates import ALIKE, look_of, near_duplicates


def scene(seed: int) -> np.ndarray:
    """(96, 128, 3) uint8: an image of smooth blobs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_CUBIC)


def differing(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.unpackbits(look_of(one) ^ look_of(other)).sum())


def test_a_look_is_whether_it_gets_brighter_to_the_right() -> None:
    ramp = np.broadcast_to(np.arange(0, 170, 10, dtype=np.uint8)[None, :, None], (16, 17, 3))
    assert look_of(ramp).tolist() == [255] * 32
    assert look_of(ramp[:, ::-1]).tolist() == [0] * 32


def test_a_photograph_saved_again_looks_the_same_and_another_does_not() -> None:
    first = scene(0)
    _, encoded = cv2.imencode(".jpg", cv2.resize(first, (64, 48), interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, 60])
    again = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert differing(first, again) <= ALIKE
    assert min(differing(scene(i), scene(j)) for i in range(6) for j in range(i)) > 2 * ALIKE


def test_pairs_are_those_within_the_distance() -> None:
    looks = np.stack([look_of(scene(seed)) for seed in range(5)])
    near, far = looks[3].copy(), looks[4].copy()
    near[:4] ^= 255  # 32 bits
    far[:4] ^= 255
    far[4] ^= 1  # and one more
    blank = np.zeros(32, np.uint8)
    assert list(near_duplicates(np.stack([near, far, blank]), np.stack([*looks, blank]))) == [(0, 3)]


def test_a_held_out_frame_of_a_training_scene_is_noted(tmp_path: Path) -> None:
    settings = write_coco(tmp_path, coco_dict([[(2, 3, 10, 8)]] * 3, size_hw=(96, 128)))
    settings = replace(settings, validation=str(tmp_path / "val.json"), validation_images=str(tmp_path / "val"))
    (tmp_path / "val.json").write_text(json.dumps(coco_dict([[(2, 3, 10, 8)]] * 2, size_hw=(96, 128))))
    (tmp_path / "val").mkdir()
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / "images" / f"00{number}.png"), scene(number))
    cv2.imwrite(str(tmp_path / "val" / "001.png"), np.clip(scene(2).astype(int) + 3, 0, 255).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "val" / "002.png"), scene(9))
    notes = [note.what for note in check_dataset(settings).notes]
    assert "1 held-out image looks like training images (001.png like 002.png)" in notes
