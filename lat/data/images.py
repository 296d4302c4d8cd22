"""The one image reader of all stages."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from lat.core.errors import InputError
from lat.core.files import refused
from lat.core.regular_files import require_size
from lat.core.remote import name_of, open_file
from lat.data.image_headers import MOST_IMAGE_BYTES, other_size_hw

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG", b"IEND"


def read_image(path: Path, size_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB, upright: the file's EXIF orientation is applied.

    Grey images are repeated over three channels, alpha channels are dropped, 16 bits become 8.

    Args:
        path: the image file, in any format that OpenCV decodes; a remote one is fetched.
        size_hw: the height and width that the annotation file states; None skips the check.

    Raises:
        InputError: if the file is missing, empty, truncated, not an image, too large, or of another size than stated.
    """
    return decode_image(image_bytes(path), path, size_hw)


def image_bytes(path: Path) -> bytes:
    """The content of an image file; a remote one is fetched.

    Raises:
        InputError: if it is missing or cannot be read.
    """
    try:
        with open_file(Path(path)) as file:
            require_size(path, os.fstat(file.fileno()).st_size, MOST_IMAGE_BYTES)
            return file.read()
    except FileNotFoundError:
        raise InputError(path, "no such image file", "correct `file_name` or the images folder") from None
    except OSError as error:
        raise refused(error, path) from None


def decode_image(data: bytes, path: Path, size_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Decode the content of the image file `path` as `read_image` does; what its header says is compared first."""
    where = name_of(path)
    if _is_cut_off(data):
        raise InputError(where, "the image file is cut off", "copy or download it again")
    other_hw = other_size_hw(data, where, size_hw)
    if size_hw is not None and other_hw is not None:
        check_size(path, other_hw, size_hw)
    image = _decode(data)
    if image is None:
        raise InputError(where, "not an image that can be decoded", "copy or download it again, or convert it to PNG or JPEG")
    if size_hw is not None:
        check_size(path, image.shape[:2], size_hw)
    return image


def _is_cut_off(data: bytes) -> bool:
    """True for a truncated JPEG or PNG file, which OpenCV cannot tell from a file that is not an image."""
    if data.startswith(_JPEG_START):
        return data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN)
    return data.startswith(_PNG_START) and _PNG_END not in data


def _decode(data: bytes) -> np.ndarray | None:
    if not data:
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None


def check_size(path: Path, found_hw: tuple[int, ...], promised_hw: tuple[int, ...]) -> None:
    """Raise an `InputError` if an image has another height and width than the annotation file states."""
    if tuple(found_hw) == tuple(promised_hw):
        return
    found, promised = (f"{hw[1]} x {hw[0]}" for hw in (found_hw, promised_hw))
    what = f"the image is {found} pixels (width x height), the annotation file says {promised}"
    if tuple(found_hw) == tuple(promised_hw)[::-1]:
        raise InputError(
            name_of(path),
            f"{what}: width and height are swapped, as if EXIF orientation was ignored when annotating",
            "annotate the upright image, or remove the orientation tag from the file",
        )
    raise InputError(name_of(path), what, "correct `width` and `height`, or use the images that were annotated")
