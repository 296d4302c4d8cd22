from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lat.core.errors import InputError
from lat.data.images import read_image
from lat.data.tensors import unit_range

ORIENTATION_6 = bytes.fromhex(
    "ffe1 0022 457869660000 4d4d002a00000008 0001 0112 0003 00000001 00060000 00000000".replace(" ", "")
)
"""A JPEG APP1 segment whose EXIF orientation is 6: what is stored must be turned a quarter clockwise to stand upright."""


def gradient(height: int, width: int) -> np.ndarray:
    """(H, W, 3) RGB: red grows to the right, green grows downwards."""
    red, green = np.meshgrid(np.linspace(0, 200, width), np.linspace(0, 200, height))
    return np.stack([red, green, np.full_like(red, 7)], axis=2).astype(np.uint8)


def write_image(path: Path, image_rgb: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image_rgb[:, :, ::-1])
    return path


def write_turned_jpeg(path: Path, stored_rgb: np.ndarray) -> Path:
    data = cv2.imencode(".jpg", stored_rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    path.write_bytes(data[:2] + ORIENTATION_6 + data[2:])
    return path


def test_reads_rgb_in_the_order_of_rows(tmp_path: Path) -> None:
    image = gradient(5, 9)
    read = read_image(write_image(tmp_path / "a.png", image), (5, 9))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize(
    "stored",
    [
        np.full((4, 6), 9, np.uint8),
        np.full((4, 6, 4), 9, np.uint8),
        np.full((4, 6), 9 * 257, np.uint16),
    ],
    ids=["grey", "alpha", "16 bits"],
)
def test_every_kind_of_png_becomes_three_channels_of_8_bits(tmp_path: Path, stored: np.ndarray) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), stored)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.full((4, 6, 3), 9, np.uint8))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    stored = gradient(16, 40)  # red grows to the right; turned clockwise, red grows downwards
    upright = read_image(write_turned_jpeg(tmp_path / "a.jpg", stored), (40, 16))
    assert upright.shape == (40, 16, 3)
    assert upright[36, 8, 0] > 150 > 50 > upright[3, 8, 0]


def test_size_that_ignores_exif_orientation_is_called_swapped(tmp_path: Path) -> None:
    path = write_turned_jpeg(tmp_path / "a.jpg", gradient(16, 40))
    with pytest.raises(InputError, match=r"a\.jpg: the image is 16 x 40 .* says 40 x 16: .*swapped.*EXIF"):
        read_image(path, (16, 40))


def test_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", gradient(5, 9))
    with pytest.raises(InputError, match=r"9 x 5 pixels .* says 10 x 5") as error:
        read_image(path, (5, 10))
    assert "swapped" not in str(error.value)


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.97])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    path = write_image(tmp_path / f"a{suffix}", noise)
    read_image(path)
    cut(path, share)
    what = "cut off" if suffix != ".bmp" and share > 0.5 else "not an image|cut off"
    with pytest.raises(InputError, match=f"a{suffix}: .*({what})"):
        read_image(path)


def test_missing_files_folders_and_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(InputError, match=r"text\.png: not an image"):
        read_image(tmp_path / "text.png")
    with pytest.raises(InputError, match=r"none\.png: no such image file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path)


def test_pixels_become_contiguous_numbers_from_0_to_1() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[1, 2] = (255, 51, 0)
    tensor = unit_range(torch.from_numpy(image).permute(2, 0, 1))
    assert tensor.shape == (3, 2, 3)
    assert tensor.is_contiguous()
    assert unit_range(tensor) is tensor
    assert tensor.dtype == torch.float32
    torch.testing.assert_close(tensor[:, 1, 2], torch.tensor([1.0, 0.2, 0.0]))
    assert float(tensor.sum()) == pytest.approx(1.2)
