"""The pictures beside the page: a small JPEG of each image, and the URL of the image itself."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import cv2
import numpy as np

from lat.data.dataset import DetectionDataset
from lat.data.images import read_image

if TYPE_CHECKING:  # pictures beside a page need no torch
    from torch import Tensor

LONGEST_SIDE = 320  # pixels, of the pictures beside the page
_JPEG_QUALITY = 85


def picture_name(source: str, i: int) -> str:
    """Path of the picture of image `i` of a source, relative to the page."""
    return f"pictures/{source}/{i}.jpg"


def write_pictures(
    folder: Path, dataset: DetectionDataset, images: Iterable[int], longest_side: int, progress: Callable[[int], None]
) -> None:
    """Write a picture of each of these images under `folder`; OpenCV releases the GIL, so threads help.

    Raises:
        InputError: if an image is missing, cannot be decoded, or its size differs from the labels file.
    """
    (folder / picture_name(dataset.name, 0)).parent.mkdir(parents=True, exist_ok=True)

    def write(i: int) -> None:
        image = read_image(dataset.image_path(i), dataset.size_hw(i))
        (folder / picture_name(dataset.name, i)).write_bytes(jpeg_of(image, longest_side))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(write, images):
            progress(1)


def jpeg_of(image: np.ndarray, longest_side: int) -> bytes:
    """A JPEG of an image (H, W, 3) uint8 RGB, scaled down to `longest_side` pixels if it is larger."""
    factor = longest_side / max(image.shape[:2])
    if factor < 1:
        size_wh = [max(round(side * factor), 1) for side in (image.shape[1], image.shape[0])]
        image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    encoded, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert encoded, "OpenCV could not encode a JPEG"
    return np.asarray(jpeg).tobytes()


def embed_image(image: Tensor, longest_side: int) -> str:
    """A JPEG of an image (3, H, W) float32 RGB in [0, 1] as a data URI; see `jpeg_of`."""
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_of(pixels, longest_side)).decode("ascii")


def relative_url(path: Path, page_folder: Path) -> str:
    """The URL of a file or folder for a page in `page_folder`: relative if there is a relative path."""
    try:
        relative = os.path.relpath(path.resolve(), page_folder.resolve())
    except ValueError:  # another drive
        return path.resolve().as_uri()
    return quote(Path(relative).as_posix())
