"""Image files: looked at before they are decoded, and sound only if their decoder has nothing to say."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from factories import coco_dict, write_coco, write_json
from PIL.PngImagePlugin import PngImageFile
from trust.one_line import bounded, refused, run

from lat.core.errors import InputError
from lat.data.image_headers import other_size_hw
from lat.data.images import read_image
from lat.formats.importers.folders import image_size


def png(width: int, height: int) -> bytes:
    """A grey PNG file of zeros, whose pixels are made as they are packed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, row = zlib.compressobj(9), bytes(1 + width // 8)
    rows = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.GaussianBlur(noise, (3, 3), 0))[1])


BODY = len(jpeg()) * 2 // 3
DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "a byte": lambda data: data[:BODY] + bytes([data[BODY] ^ 0x5A]) + data[BODY + 1 :],
    "zeros": lambda data: data[:BODY] + bytes(100) + data[BODY + 100 :],
    "cut before its end marker": lambda data: data[:BODY] + b"\xff\xd9",
}


def checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Status and output of `lat check` of twice the dataset in a folder; the images are written already."""
    entry = {"images": str(folder / "images"), "annotations": str(folder / "annotations.json")}
    config = write_json(folder / "mine.yaml", {"datasets": [{"name": name, **entry} for name in ("one", "two")]})
    status, output, errors = run(capsys, "check", config)
    assert "Traceback" not in errors
    return status, output


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_body_is_found_and_named(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_coco(tmp_path)
    path = tmp_path / "images" / "001.png"  # the content says what it is
    path.write_bytes(DAMAGED[kind](jpeg()))
    status, output = checked(tmp_path, capfd)
    assert status == 2
    assert f"{path}: image 1: the image file is damaged (Corrupt JPEG data: " in output
    assert "image 2: the image file is damaged" not in output


@pytest.mark.parametrize("padding", [b"", bytes(2)])
def test_a_sound_jpeg_stays_sound(padding: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_coco(tmp_path)
    (tmp_path / "images" / "001.png").write_bytes(jpeg()[:-2] + padding + jpeg()[-2:])
    assert "damaged" not in checked(tmp_path, capfd)[1]


@pytest.mark.parametrize("promised", [(32, 48), (30_000, 30_000)])
def test_a_small_file_of_many_pixels_is_not_decoded(
    promised: tuple[int, int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_coco(tmp_path, coco_dict(size_hw=(32, 48)))
    write_json(tmp_path / "annotations.json", coco_dict(size_hw=promised))
    (tmp_path / "images" / "001.png").write_bytes(png(30_000, 30_000))
    status, output = checked(tmp_path, capfd)
    assert status == 2
    assert "the image has 900 million pixels, the most is 400 million; make it smaller" in output
    with bounded(), pytest.raises(InputError, match="900 million pixels"):
        image_size(tmp_path / "images" / "001.png")


def test_the_header_is_compared_before_the_pixels_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(8000, 8000))
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(InputError, match="is 8000 x 8000 pixels"):
        read_image(path, (32, 48))


@pytest.mark.parametrize("promised", [None, (60, 80), (32, 48)])
def test_reading_a_header_makes_no_pixels(promised: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PngImageFile, "load", None)  # Pillow's own decoder, which the orientation of a PNG would ask
    assert other_size_hw(png(80, 60), "small.png", promised) == ((60, 80) if promised == (32, 48) else None)


def test_the_bound_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "small.png"
    path.write_bytes(png(80, 80))
    monkeypatch.setenv("LAT_MOST_MEGAPIXELS", "0.001")
    with pytest.raises(InputError, match=r"raise LAT_MOST_MEGAPIXELS"):
        read_image(path)
    monkeypatch.setenv("LAT_MOST_MEGAPIXELS", "1")
    assert read_image(path).shape == (80, 80, 3)
    monkeypatch.setenv("LAT_MOST_MEGAPIXELS", "many")
    with pytest.raises(InputError, match="LAT_MOST_MEGAPIXELS: is 'many'"):
        read_image(path)


@pytest.mark.parametrize("kind", ["fifo", "device"])
@pytest.mark.parametrize("what", ["image", "labels"])
def test_what_is_no_file_is_not_waited_for(what: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_coco(tmp_path)
    path = tmp_path / ("images/001.png" if what == "image" else "annotations.json")
    path.unlink()
    os.mkfifo(path) if kind == "fifo" else path.symlink_to("/dev/zero")
    status, output = checked(tmp_path, capfd)
    assert status == 2
    assert f"is a {'FIFO' if kind == 'fifo' else 'device'}, not a file" in output
    truth = ("evaluate", "--truth", tmp_path / "annotations.json", "--labels", tmp_path / "annotations.json")
    if what == "labels":
        assert "not a file" in refused(capfd, *truth)
