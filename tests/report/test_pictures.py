"""The pictures beside the page."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from factories import coco_dict, write_coco

from lat.data.dataset import load_dataset
from lat.report.pictures import jpeg_of, relative_url, write_pictures


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


@pytest.mark.parametrize(
    ("size_hw", "expected_hw"),
    [((40, 60), (40, 60)), ((100, 200), (32, 64)), ((200, 100), (64, 32)), ((1, 640), (1, 64))],
)
def test_only_large_images_are_scaled(size_hw: tuple[int, int], expected_hw: tuple[int, int]) -> None:
    assert decode(jpeg_of(np.zeros((*size_hw, 3), np.uint8), 64)).shape == (*expected_hw, 3)


def test_colours_survive() -> None:
    image = np.broadcast_to(np.array([200, 100, 30], np.uint8), (16, 16, 3))
    assert np.abs(decode(jpeg_of(image, 64)).astype(int) - [200, 100, 30]).max() <= 6


def test_the_chosen_images_are_written_and_counted(tmp_path: Path) -> None:
    dataset, _ = load_dataset(write_coco(tmp_path, coco_dict([[(2, 3, 10, 8)]] * 3)))
    done: list[int] = []
    write_pictures(tmp_path / "report", dataset, [0, 2], 24, done.append)
    found = sorted((tmp_path / "report").rglob("*.jpg"))
    assert [str(path.relative_to(tmp_path / "report")) for path in found] == ["pictures/city/0.jpg", "pictures/city/2.jpg"]
    assert decode(found[0].read_bytes()).shape == (16, 24, 3)
    assert sum(done) == 2


def test_urls_lead_from_the_page_and_are_quoted(tmp_path: Path) -> None:
    assert relative_url(tmp_path / "data" / "a b#1", tmp_path / "run" / "report") == "../../data/a%20b%231"
