"""Write the COCO file and the manifest of an import, image by image."""

from __future__ import annotations

import hashlib
import heapq
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from lat.core.errors import InputError, is_encodable
from lat.core.files import open_atomically, sha256_of_file
from lat.formats.importers.source import Box, Image, Importer
from lat.labels.coco.scan import CLIP_TOLERANCE, MAX_SIDE, OUTSIDE_FOLDER
from lat.labels.table import BOX_DECIMALS

_SHOWN = 60  # characters of a wrong value
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))

MIN_SIDE = 0.01
"""Boxes thinner than this, in pixels, have no area."""


@dataclass
class ImportSummary:
    """What an import wrote, and what became of boxes that could not be written as annotated.

    Attributes:
        labels: the COCO file.
        images_dir: the folder to which its file names are relative.
        images: written.
        empty: images among them without boxes.
        boxes: written, by class name, crowd boxes included.
        crowd: crowd boxes among them.
        clipped: boxes that reached beyond their image and were clipped.
        left_out: boxes that were left out, by reason.
        missing: annotated images that do not exist.
        file_names: of the images that were written.
        beside_boxes: what else differs from the annotation files, one line each.
    """

    labels: Path
    images_dir: Path
    images: int = 0
    empty: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    crowd: int = 0
    clipped: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    file_names: list[str] = field(default_factory=list, repr=False)
    beside_boxes: Sequence[str] = ()

    def notes(self) -> Iterator[str]:
        """One line for each kind of difference from the dataset."""
        yield from self.beside_boxes
        if self.clipped:
            yield f"clipped to the image: {_boxes(self.clipped)}"
        yield from (f"left out: {_boxes(count)}: {reason}" for reason, count in sorted(self.left_out.items()))
        if self.missing:
            images = f"{self.missing} image{'s' * (self.missing != 1)}"
            yield f"left out: {images}: not in {self.images_dir}"


def _boxes(count: int) -> str:
    return f"{count} box{'es' * (count != 1)}"


@dataclass(frozen=True)
class ImportOptions:
    """Which images to import, and what to record of them.

    Attributes:
        subset: import this many images, drawn by a hash of the seed and the file name; None for all.
        seed: of the draw.
        hash_images: add the SHA-256 of every image file to the manifest, which otherwise has sizes only.
    """

    subset: int | None = None
    seed: int = 0
    hash_images: bool = False

    def __post_init__(self) -> None:
        if self.subset is not None and self.subset < 1:
            raise InputError("--subset", f"is {self.subset}", "choose 1 or more")


def draw_subset(names: Iterable[str], count: int, seed: int) -> frozenset[str]:
    """The `count` names of the lowest hashes: the same in any order of names, and nearly the same if names are added."""
    return frozenset(heapq.nsmallest(count, names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest()))


def write_import(
    importer: Importer, options: ImportOptions, form: str, labels: Path, advance: Callable[[], None] = lambda: None
) -> ImportSummary:
    """Write the COCO file `labels` and `STEM.manifest.json` beside it, each complete or not at all.

    Args:
        importer: whose images to write.
        options: which of them.
        form: name of the format, for the manifest.
        labels: the file to write; an old one is replaced.
        advance: called for each image, written or skipped.

    Raises:
        InputError: if an annotation file is wrong, or no image exists. Nothing is written then.
    """
    summary = ImportSummary(labels, importer.images_dir, beside_boxes=importer.notes)
    chosen = None if options.subset is None else draw_subset(importer.names(), options.subset, options.seed)

    def is_wanted(name: str) -> bool:
        advance()
        if chosen is not None and name not in chosen:
            return False
        if OUTSIDE_FOLDER.search(name) or not is_encodable(name):
            raise InputError(
                importer.root,
                f"image '{name}' leaves the images folder, or is no name of a file",
                "correct its name in the annotations",
            )
        is_there = importer.writes_images or (importer.images_dir / name).is_file()
        summary.missing += not is_there
        return is_there

    with open_atomically(labels.with_suffix(".manifest.json")) as manifest:
        _write_head(manifest, importer, options, form)
        with open_atomically(labels) as file, _DocumentWriter(file, importer, summary) as document:
            for image in importer.images(is_wanted):
                document.add(image)
                _write_item(manifest, _describe(image, summary.images, importer, options.hash_images), summary.images == 1)
            _check_not_empty(importer, summary)
        manifest.write(f'],"labels":{{"file":"{labels.name}","sha256":"{sha256_of_file(labels)}"}}}}\n'.encode())
    summary.left_out += importer.left_out
    return summary


def _check_not_empty(importer: Importer, summary: ImportSummary) -> None:
    if summary.missing and not summary.images:
        what = f"none of the {summary.missing} annotated images exists"
        raise InputError(importer.images_dir, what, "download the images, or correct --root")
    if not summary.images:
        where = next(iter(importer.annotation_files), importer.images_dir)
        raise InputError(where, "has no images", "download it again, or correct --root")


class _DocumentWriter:
    """Writes images to the COCO file as they come, and their boxes to a temporary file that is appended at the end."""

    def __init__(self, file: BinaryIO, importer: Importer, summary: ImportSummary) -> None:
        self._file, self._classes, self._summary = file, importer.class_list, summary
        self._class_names = dict(zip(self._classes.space.category_ids, self._classes.space.class_names, strict=True))
        self._importer, self._seen = importer, set[str]()
        for name in self._class_names.values():
            if not is_encodable(name):
                raise InputError(importer.root, f"class '{name}' has half a character", "correct its name")
        self._annotations = 0
        self._spool = tempfile.TemporaryFile(dir=summary.labels.parent)  # noqa: SIM115 - closed in __exit__
        file.write(b'{"info":' + _json({"method": "ground_truth"}) + b',"categories":' + _json(self._classes.space.categories()))
        file.write(b',"images":[')

    def __enter__(self) -> _DocumentWriter:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._file.write(b'],"annotations":[')
            self._spool.seek(0)
            shutil.copyfileobj(self._spool, self._file, 1 << 20)
            self._file.write(b"]}\n")
        self._spool.close()

    def add(self, image: Image) -> None:
        summary = self._summary
        self._check(image)
        summary.images += 1
        summary.file_names.append(image.file_name)
        entry = {"id": summary.images, "file_name": image.file_name, "width": image.width, "height": image.height}
        _write_item(self._file, entry, summary.images == 1)
        before = self._annotations
        for box in image.boxes:
            self._add_box(box, image)
        summary.empty += self._annotations == before

    def _check(self, image: Image) -> None:
        """Raise an `InputError` for an image that nothing could read back."""
        where = self._where(image)
        for key, side in (("width", image.width), ("height", image.height)):
            if type(side) is not int or not 1 <= side <= MAX_SIDE:
                what = f"image '{image.file_name}': `{key}` is {str(side)[:_SHOWN]}"
                raise InputError(where, what, f"`{key}` must be a whole number from 1 to {MAX_SIDE} pixels")
        if image.file_name in self._seen:
            raise InputError(where, f"image '{image.file_name}' is there twice", "give each image one entry")
        self._seen.add(image.file_name)

    def _where(self, image: Image) -> Path:
        """The file of an image's annotations, if it is known."""
        files = self._importer.annotation_files
        return image.annotation or (files[0] if len(files) == 1 else self._importer.root)

    def _add_box(self, box: Box, image: Image) -> None:
        if not box.is_sound:
            what = f"image '{image.file_name}' has the box {str(tuple(box))[:_SHOWN]}"
            raise InputError(self._where(image), what, "a box is a label, which is text, and four numbers")
        known = self._classes.labels.get(box.label)
        if known is None:
            kind = "" if box.label in self._classes.ignored else "unknown "
            self._summary.left_out[f"{kind}label '{box.label}', no class of {self._classes.space.name}"] += 1
            return
        x1, y1 = max(box.x1, 0.0), max(box.y1, 0.0)
        x2, y2 = min(box.x2, float(image.width)), min(box.y2, float(image.height))
        width, height = round(x2 - x1, BOX_DECIMALS), round(y2 - y1, BOX_DECIMALS)
        if not (width >= MIN_SIDE and height >= MIN_SIDE):  # NaN too
            self._summary.left_out["no area inside the image"] += 1
            return
        pokes_out = max(x1 - box.x1, y1 - box.y1, box.x2 - x2, box.y2 - y2)
        self._summary.clipped += pokes_out > CLIP_TOLERANCE
        category_id, is_crowd = known[0], known[1] or box.is_crowd
        self._annotations += 1
        self._summary.boxes[self._class_names[category_id]] += 1
        self._summary.crowd += is_crowd
        annotation = {
            "id": self._annotations,
            "image_id": self._summary.images,
            "category_id": category_id,
            "bbox": [round(x1, BOX_DECIMALS), round(y1, BOX_DECIMALS), width, height],
            "area": round(width * height, BOX_DECIMALS),
            "iscrowd": int(is_crowd),
        }
        _write_item(self._spool, annotation, self._annotations == 1)


def _write_head(file: BinaryIO, importer: Importer, options: ImportOptions, form: str) -> None:
    left_out = ("root", "out", "split", "left_out")
    head = {
        "format": form,
        "split": importer.split,
        "settings": {one.name: getattr(importer, one.name) for one in fields(importer) if one.name not in left_out},
        "subset": options.subset,
        "seed": options.seed,
        "annotation_files": [_hashed(path, importer.root) for path in importer.annotation_files],
    }
    file.write(_json(head)[:-1] + b',"images":[')


def _describe(image: Image, image_id: int, importer: Importer, hash_images: bool) -> Mapping[str, Any]:
    path = importer.images_dir / image.file_name
    entry: dict[str, Any] = {"id": image_id, "file_name": image.file_name, "bytes": path.stat().st_size}
    if hash_images:
        entry["sha256"] = sha256_of_file(path)
    if image.annotation is not None:
        entry["annotation"] = _hashed(image.annotation, importer.root)
    return entry


def _hashed(path: Path, root: Path) -> dict[str, str]:
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return {"file": name, "sha256": sha256_of_file(path)}


def _write_item(file: BinaryIO, item: Mapping[str, Any], is_first: bool) -> None:
    file.write((b"\n" if is_first else b",\n") + _json(item))


def _json(value: object) -> bytes:
    return _ENCODER.encode(value).encode()
