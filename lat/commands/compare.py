"""Compare two annotators, or any two labels files of the same images, whatever their class lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lat.commands.output_folder import check_output_folder
from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.core.remote import is_folder, name_of
from lat.data.dataset import DetectionDataset
from lat.engine.progress import track
from lat.evaluation.compared_labels import ComparedLabels, compare_labels
from lat.labels.coco.read import read_labels
from lat.labels.same_images import SameImages, same_images

FIGURES, PAGE = "compare.json", "index.html"
_USUALLY_AT_ONCE = 2.0  # seconds


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two labels files compared.

    Attributes:
        found: the matched boxes.
        figures: all figures, as JSON types: those of `ComparedLabels.figures`, and which files and images they are of.
    """

    found: ComparedLabels
    figures: dict[str, Any]


def compare_files(first: Path, second: Path, min_score: float = 0.0) -> Comparison:
    """Match the boxes of two labels files on the images that both have.

    Args:
        first, second: COCO files, each with categories of its own.
        min_score: boxes with a lower score are left out.

    Raises:
        InputError: if a file is wrong, they share no image, or an image has another size in each.
    """
    if not 0.0 <= min_score <= 1.0:
        raise InputError("--min-score", f"is {min_score}", "choose a number from 0 to 1")
    shared = same_images(*(read_labels(path, path.stem) for path in (first, second)))
    tables = shared.first.at_least(min_score), shared.second.at_least(min_score)
    with track(len(shared.first), "matching boxes", after_seconds=_USUALLY_AT_ONCE) as progress:
        found = compare_labels(*tables, progress.advance)
    return Comparison(found, {**_inputs(shared, (first, second), min_score), **found.figures()})


def _inputs(shared: SameImages, paths: tuple[Path, Path], min_score: float) -> dict[str, Any]:
    files = dict(zip("AB", map(name_of, paths), strict=True))
    left_out = dict(zip("AB", shared.left_out, strict=True))
    return {"files": files, "matched_by": shared.matched_by, "images_left_out": left_out, "min_score": min_score}


def check_folders(out: Path, images: Path | None) -> None:
    """Check that writing to `out` overwrites nothing but an earlier comparison, and that the folder of images is there.

    Raises:
        InputError: if `out` is a file or has something else in it, or there is no folder of images.
    """
    if images is not None and not is_folder(images):
        raise InputError(name_of(images), "no such images folder", "correct --images")
    check_output_folder(out, FIGURES, "an earlier comparison")


def write_comparison(comparison: Comparison, out: Path, images: Path | None) -> None:
    """Write the figures as `compare.json`, and with a folder of images the page `index.html` with its pictures.

    Args:
        comparison: what to write.
        out: the folder; see `check_folders`.
        images: the folder of the images, which are named as in the first file; None for figures alone.

    Raises:
        InputError: if an image is missing, cannot be decoded, or has another size than the labels say.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / FIGURES, json.dumps(comparison.figures, indent=2, allow_nan=False) + "\n")
    if images is not None:
        from lat.report.comparison import write_page

        dataset = DetectionDataset("compared", images, comparison.found.first)
        write_page(out, comparison.found, comparison.figures, dataset, _pictures)


@contextmanager
def _pictures(count: int) -> Iterator[Callable[[int], None]]:
    with track(count, "pictures", after_seconds=_USUALLY_AT_ONCE) as progress:
        yield progress.advance
