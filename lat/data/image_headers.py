"""What the header of an image file says, read before anything is decoded."""

from __future__ import annotations

import os
import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from lat.core.errors import InputError

MOST_MEGAPIXELS = "LAT_MOST_MEGAPIXELS"
"""Environment variable: the most million pixels of an image; 400 if it is not set, which are 1.2 GB once decoded."""

MOST_IMAGE_BYTES = 1_000_000_000
"""Of an image file."""

_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap width and height

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `require_few_pixels` says what is too large


def size_hw_of_header(content: bytes | BinaryIO, where: object) -> tuple[int, int] | None:
    """Height and width of an upright image, from its header; None if only decoding can tell.

    Raises:
        InputError: naming `where`, if the image has too many pixels.
    """
    try:
        with Image.open(BytesIO(content) if isinstance(content, bytes) else content) as image:
            width, height = image.size
            require_few_pixels(width * height, where)
            return (width, height) if image.getexif().get(_ORIENTATION) in _TURNED else (height, width)
    except Image.DecompressionBombError as error:
        require_few_pixels(int(next(iter(re.findall(r"\d+", str(error))), "0")), where)
    except UnidentifiedImageError:
        pass
    except (OSError, ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError):  # a damaged header
        pass
    return None


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


def file_size_hw(path: Path, file: BinaryIO) -> tuple[int, int]:
    """Height and width of an upright image file, from its header.

    Raises:
        InputError: if it is no image, or has too many pixels.
    """
    size_hw = size_hw_of_header(file, path)
    if size_hw is None:
        raise InputError(path, "is not an image, or its size cannot be read", "copy or download it again")
    return size_hw
