"""Shared by all exports: image paths, links to images, a folder that appears whole or not at all, the manifest."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from lat.core.errors import InputError
from lat.core.files import sha256_of_file
from lat.core.remote import is_file, is_folder, is_remote, name_of, open_file
from lat.data.dataset import DetectionDataset
from lat.data.images import read_image
from lat.labels.table import LabelTable

MANIFEST = "manifest.json"

_IMAGES_AT_ONCE = 256
_LONGEST_STEM = 200
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_PLAIN = re.compile(r"[^\w.+-]")


@dataclass(frozen=True, eq=False)
class Split:
    """One part of an export, such as train or val.

    Attributes:
        name: name of the part; letters only.
        dataset: its images and labels.
        images: path of each image in the export, with forward slashes; unique unless the files are the same.
        layers: more labels of exactly these images by name, for formats with several sets of labels.
        min_score: boxes with a lower score were left out of the dataset.
        doubts: doubt of its labels by annotation id; some or all may have none.
    """

    name: str
    dataset: DetectionDataset
    images: tuple[str, ...]
    layers: Mapping[str, LabelTable] = field(default_factory=dict)
    min_score: float = 0.0
    doubts: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportFormat:
    """How one format is written.

    Attributes:
        arrange: says where the images of each part lie, before anything is written.
        write: writes all but images and manifest into a folder.
        losses: what the format cannot hold of these datasets, one line each; empty if it holds everything.
        has_layers: whether it holds several sets of labels side by side.
        keeps_jpegs_whole: copy JPEG files that have bytes after their end instead of linking them, since readers of the
            format rewrite such files.
        train_with: a command that trains on the export, `{out}` standing for its folder; "" for none.
    """

    arrange: Callable[[Mapping[str, DetectionDataset]], list[Split]]
    write: Callable[[Path, Sequence[Split]], None]
    losses: Callable[[Sequence[DetectionDataset]], list[str]]
    has_layers: bool = False
    keeps_jpegs_whole: bool = False
    train_with: str = ""


def keep_names(datasets: Mapping[str, DetectionDataset]) -> list[Split]:
    """Images at `images/PART/FILE_NAME`, folders in the file names included."""
    return [
        Split(name, dataset, tuple(str(PurePosixPath("images", name, file_name)) for file_name in dataset.labels.file_names))
        for name, dataset in datasets.items()
    ]


def require_xml_names(split: Split) -> None:
    """Check that XML can hold the class names.

    Raises:
        InputError: naming the class.
    """
    for name in split.dataset.space.class_names:
        if not name.isprintable():
            raise InputError(split.dataset.labels.path, f"class {name!r} has characters that XML cannot hold", "rename it")


def require_xml_texts(split: Split) -> None:
    """Check that XML can hold the name of a dataset and those of its image files.

    Raises:
        InputError: naming the first that it cannot.
    """
    for name in (split.dataset.name, *split.dataset.labels.file_names):
        if _NOT_XML.search(name):
            raise InputError(split.dataset.labels.path, f"{name!r} has characters that XML cannot hold", "rename it")


def plain_names(datasets: Sequence[DetectionDataset]) -> list[list[str]]:
    """A file name for each image of each dataset, for formats with one flat folder and one label file per stem.

    Folders become part of the name (`a/b.png` is `a_b.png`), characters that readers cannot handle become `_`, and where
    two stems would be the same, whatever their suffix or case, the later one gets its image id. Equal input gives equal names.
    """
    taken: set[str] = set()
    return [
        [
            _plain_name(name, image_id, taken)
            for name, image_id in zip(d.labels.file_names, d.labels.image_ids.tolist(), strict=True)
        ]
        for d in datasets
    ]


def _plain_name(file_name: str, image_id: int, taken: set[str]) -> str:
    path = PurePosixPath(_NOT_PLAIN.sub("_", "_".join(PurePosixPath(file_name).parts)).lstrip("."))
    first = stem = path.stem[-_LONGEST_STEM:] or "image"
    number = 1
    while stem.casefold() in taken:
        stem = f"{first}_{image_id}" if number == 1 else f"{first}_{image_id}_{number}"
        number += 1
    taken.add(stem.casefold())
    return stem + path.suffix


def hash_images(dataset: DetectionDataset, advance: Callable[[int], None] | None = None) -> list[str]:
    """Decode every image of a dataset and return the SHA-256 of each file; `advance` is called for each of them.

    Raises:
        InputError: if the folder or a file is missing, not an image, or of another size than the labels say.
    """
    if not is_folder(dataset.images_dir):
        raise InputError(
            name_of(dataset.images_dir), "no such images folder", "name the folder that holds the images of the labels file"
        )
    missing = [i for i in range(len(dataset)) if not is_file(dataset.image_path(i))]
    if missing:
        item = f"image {dataset.labels.image_ids[missing[0]]} of {name_of(dataset.labels.path)}"
        what = f"{item} is missing ({len(missing)} of {len(dataset)} images are)"
        raise InputError(
            name_of(dataset.image_path(missing[0])), what, "name the folder that holds the images of the labels file"
        )
    hashes: list[str] = []
    with ThreadPoolExecutor() as readers:
        for start in range(0, len(dataset), _IMAGES_AT_ONCE):
            for digest in readers.map(partial(_hash_image, dataset), range(start, min(start + _IMAGES_AT_ONCE, len(dataset)))):
                hashes.append(digest)
                if advance is not None:
                    advance(1)
    return hashes


def _hash_image(dataset: DetectionDataset, i: int) -> str:
    read_image(dataset.image_path(i), dataset.size_hw(i))
    return sha256_of_file(dataset.image_path(i))


def place_images(folder: Path, split: Split, *, copy: bool, keep_jpegs_whole: bool = False) -> None:
    """Link the images of a split into an export, or copy them; each link names its file by an absolute path.

    Args:
        folder: the export.
        split: whose images to place.
        copy: copy instead of linking, as remote images are in any case: their copies in the cache may go.
        keep_jpegs_whole: copy JPEG files that have bytes after their end: Ultralytics takes them for damaged and rewrites them,
            which through a link would change the original.

    Raises:
        InputError: if links cannot be created here.
    """
    done: set[str] = set()
    for i, image in enumerate(split.images):
        if image in done:
            continue
        done.add(image)
        source, place = split.dataset.image_path(i), folder / image
        place.parent.mkdir(parents=True, exist_ok=True)
        if copy or is_remote(source) or (keep_jpegs_whole and _has_jpeg_tail(source)):
            with open_file(source) as content, place.open("wb") as file:
                shutil.copyfileobj(content, file)
            continue
        try:
            place.symlink_to(Path(os.path.abspath(source)))
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                folder, f"links to images cannot be created here ({reason})", "copy the images with --copy"
            ) from None


def _has_jpeg_tail(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return False
        file.seek(-2, os.SEEK_END)
        return file.read(2) != b"\xff\xd9"


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write to; it becomes `out` if all goes well, and is deleted otherwise.

    Raises:
        InputError: if `out` exists and is not an empty folder, or cannot be written.
    """
    check_is_free(out)
    out = out.resolve()
    temporary = out.parent / f".{out.name}.{uuid4().hex}.tmp"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(out)
    except OSError as error:
        raise InputError(
            out, f"cannot be written ({error.strerror or error})", "check the folder, its permissions and the disk"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_is_free(out: Path) -> None:
    """Check that an export to this path overwrites nothing.

    Raises:
        InputError: if there is a file or a folder that is not empty.
    """
    remedy = "name a new or empty folder; nothing was written"
    if out.is_dir():
        if any(out.iterdir()):
            raise InputError(out, "is not empty", remedy)
    elif out.exists() or out.is_symlink():
        raise InputError(out, "is not a folder", remedy)


def write_manifest(folder: Path, form: str, splits: Sequence[Split], hashes: Sequence[Sequence[str]], min_score: float) -> None:
    """Write `manifest.json`: classes, and for each part its labels file and every image, with their SHA-256."""
    space = splits[0].dataset.space
    content = {
        "format": form,
        "min_score": min_score,
        "classes": [{"index": index, **category} for index, category in enumerate(space.categories())],
        "splits": {split.name: _describe(split, digests) for split, digests in zip(splits, hashes, strict=True)},
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _describe(split: Split, hashes: Sequence[str]) -> dict[str, Any]:
    table = split.dataset.labels
    rows = zip(table.image_ids.tolist(), table.file_names, split.images, hashes, strict=True)
    keys = ("id", "file_name", "exported_as", "sha256")
    files = [{"file": path.name, "sha256": sha256_of_file(path)} for path in split.dataset.labels_files]
    return {
        "labels": files[0] if len(files) == 1 else files,
        "images": [dict(zip(keys, row, strict=True)) for row in rows],
    }
