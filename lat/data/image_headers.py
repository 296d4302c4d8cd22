"""What the header of an image file says, read before anything is decoded."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeVar

from PIL import Image, UnidentifiedImageError

from lat.core.errors import InputError

MOST_MEGAPIXELS = "LAT_MOST_MEGAPIXELS"
"""Environment variable: the most million pixels of an image; 400 if it is not set, which are 1.2 GB once decoded."""

MOST_IMAGE_BYTES = 1_000_000_000
"""Of an image file."""

Found = TypeVar("Found")

_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap width and height

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `require_few_pixels` says what is too large


def other_size_hw(content: bytes, where: object, promised_hw: tuple[int, int] | None) -> tuple[int, int] | None:
    """Height and width of an image, from its header, if these are not the promised ones in either order; reads no pixels.

    None if they may be those promised, if nothing is promised, or if only decoding can tell.

    Raises:
        InputError: naming `where`, if the image has too many pixels.
    """

    if promised_hw is not None and (size := _size_of_png(content)) is not None and set(size) == set(promised_hw):
        require_few_pixels(size[0] * size[1], where)
        return None

    def if_other(image: Image.Image) -> tuple[int, int] | None:
        if promised_hw is None or set(image.size) == set(promised_hw):
            return None
        return _upright(image, Image.Image.getexif(image))  # that of a PNG decodes the image, to look behind its pixels

    return _of_header(content, where, if_other)


def _size_of_png(content: bytes) -> tuple[int, int] | None:
    """Width and height as the first bytes of a PNG file have them; None for any other."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR" or len(content) < 24:
        return None
    return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])


def file_size_hw(path: Path, file: BinaryIO) -> tuple[int, int]:
    """Height and width of an upright image file.

    Raises:
        InputError: if it is no image, or has too many pixels.
    """
    size_hw = _of_header(file, path, lambda image: _upright(image, image.getexif()))
    if size_hw is None:
        raise InputError(path, "is not an image, or its size cannot be read", "copy or download it again")
    return size_hw


def _of_header(content: bytes | BinaryIO, where: object, find: Callable[[Image.Image], Found]) -> Found | None:
    """What is found in an image whose header alone is read, once its pixels are known to be few; None if it is damaged."""
    try:
        with Image.open(BytesIO(content) if isinstance(content, bytes) else content) as image:
            require_few_pixels(image.width * image.height, where)
            return find(image)
    except Image.DecompressionBombError as error:
        require_few_pixels(int(next(iter(re.findall(r"\d+", str(error))), "0")), where)
    except UnidentifiedImageError:
        pass
    except (OSError, ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError):  # a damaged header
        pass
    return None


def _upright(image: Image.Image, exif: Image.Exif) -> tuple[int, int]:
    """Height and width, swapped where the orientation turns the image."""
    return (image.width, image.height) if exif.get(_ORIENTATION) in _TURNED else (image.height, image.width)


def require_few_pixels(pixels: int, where: object) -> None:
    """Check the number of pixels of an image against `$LAT_MOST_MEGAPIXELS`.

    Raises:
        InputError: if there are more, or the variable is no number.
    """
    text = os.environ.get(MOST_MEGAPIXELS) or "400"
    try:
        most = float(text) * 1e6
    except ValueError:
        raise InputError(MOST_MEGAPIXELS, f"is '{text}'", "set it to a number, such as 400") from None
    if pixels > most:
        what = f"the image has {pixels / 1e6:.0f} million pixels, the most is {float(text):g} million"
        raise InputError(where, what, f"make it smaller, or raise {MOST_MEGAPIXELS}")
