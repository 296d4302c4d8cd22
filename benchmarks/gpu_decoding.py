"""JPEG files decoded by `lat`, and by PyTorch on the device: how fast, and whether the pixels are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from gpu_bench import Bench, rounded
from gpu_data import write_dataset
from markdown import Row
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from lat.data.images import decode_image
from lat.street_scenes import SPACES

IMAGES, SIZE_HW = 32, (1080, 1920)


def decoding_rows(bench: Bench) -> Iterator[Row]:
    """A row per way to the pixels (3, H, W) uint8 on the device."""
    folder = bench.folder / "decoding"
    count, size_hw = (3, (48, 64)) if bench.small else (IMAGES, SIZE_HW)
    write_dataset(folder, {folder / "images.json": count}, SPACES["city"], size_hw)
    files = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    threads = min(16, os.cpu_count() or 1)
    by_lat = [_by_lat(data) for data in files]
    with ThreadPoolExecutor(threads) as pool:
        ways: dict[str, Callable[[], list[Tensor]]] = {
            "lat, one thread": lambda: [_to(bench, _by_lat(data)) for data in files],
            f"lat, {threads} threads": lambda: [_to(bench, one) for one in pool.map(_by_lat, files)],
            f"torchvision, {bench.device.type}": partial(_by_torchvision, bench, files),
        }
        for name, decode in ways.items():
            yield _row(bench, name, decode, by_lat)


def _row(bench: Bench, name: str, decode: Callable[[], list[Tensor]], wanted: list[np.ndarray]) -> Row:
    decoded = [one.cpu().numpy().astype(int) for one in decode()]
    apart = np.concatenate([abs(one - other).ravel() for one, other in zip(decoded, wanted, strict=True)])
    return {
        "decoder": name,
        "images/s": rounded(len(wanted) / bench.seconds(decode)),
        "largest difference (levels)": int(apart.max()),
        "values that differ": f"{100 * float((apart > 0).mean()):.2f} %",
    }


def _by_lat(data: bytes) -> np.ndarray:
    return decode_image(data, Path("image.jpg")).transpose(2, 0, 1)


def _to(bench: Bench, pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(bench.device)


def _by_torchvision(bench: Bench, files: list[bytes]) -> list[Tensor]:
    data = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in files]
    if bench.is_gpu:
        found = decode_jpeg(data, mode=ImageReadMode.RGB, device=bench.device)
        return list(found)
    return [decode_jpeg(one, mode=ImageReadMode.RGB) for one in data]
