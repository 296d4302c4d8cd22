"""Scan a COCO file in one pass: collect every problem, and read everything valid into columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from lat.core.errors import InputError, is_encodable
from lat.core.label_space import LabelSpace
from lat.labels.class_scores import ClassScores
from lat.labels.coco.pieces import Doubt, SoundFile
from lat.labels.coco.problems import Problem, Records, load_json
from lat.labels.coco.read_scores import read_class_scores
from lat.labels.coco.root_category import without_root
from lat.labels.coco.typed_annotations import TypedAnnotations
from lat.labels.provenance import MEANING, Provenance, columns_of, is_provenance
from lat.labels.table import LabelTable, find_ids, have_area

CLIP_TOLERANCE = 1e-3
"""Pixels by which a box may extend beyond its image, from rounding, without counting as repaired."""

MAX_SIDE = 1_000_000
"""Upper bound of height and width."""

RENUMBER = "renumber the annotations from 1"

OUTSIDE_FOLDER = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0")
"""File names that leave the images folder."""


_Annotations: TypeAlias = Records | TypedAnnotations


@dataclass(frozen=True, eq=False)
class ImageList:
    """The `images` of a file (I,), including invalid ones so that checks can continue.

    Invalid sizes are 0; file names that are invalid or leave the images folder are empty.
    """

    image_ids: np.ndarray
    file_names: tuple[str, ...]
    sizes_hw: np.ndarray
    splits: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LabelScan:
    """The readable content of a file, and every problem found.

    `table` has all annotations if there are no problems, else the valid ones; it is None if the class list cannot be used.
    `images` is None if the file is not a JSON object.
    """

    images: ImageList | None
    table: LabelTable | None
    problems: tuple[Problem, ...]


def scan_labels(path: Path, name: str, *, expect: LabelSpace | None = None) -> LabelScan:
    """Read a COCO file like `read_labels`, but collect every problem instead of raising."""
    path = Path(path)
    problems: list[Problem] = []
    try:
        return _scan_typed(path, name, expect)
    except Doubt:
        document = load_json(path, problems)
    return LabelScan(None, None, tuple(problems)) if document is None else scan_document(path, document, name, expect=expect)


def scan_document(path: Path, document: dict[str, Any], name: str, *, expect: LabelSpace | None = None) -> LabelScan:
    """Read the content of a COCO file like `scan_labels`; problems are reported for the file `path`."""
    return _scan(path, document, name, expect, lambda content, _, problems: Records(path, content, "annotations", problems))


def _scan_typed(path: Path, name: str, expect: LabelSpace | None) -> LabelScan:
    """The scan of a file without problems, at several times the speed of `scan_document`.

    Raises:
        Doubt: if there may be a problem.
    """
    file = SoundFile(path)

    def typed(document: dict[str, Any], space: LabelSpace | None, problems: list[Problem]) -> TypedAnnotations:
        if problems or space is None:
            raise Doubt
        return TypedAnnotations(file, space)

    return _scan(path, file.document, name, expect, typed)


def _scan(
    path: Path,
    document: dict[str, Any],
    name: str,
    expect: LabelSpace | None,
    annotations: Callable[[dict[str, Any], LabelSpace | None, list[Problem]], _Annotations],
) -> LabelScan:
    """Read a document whose annotations are what that function makes of it."""
    problems: list[Problem] = []
    document, repairs = without_root(document)
    info = document.get("info", {})
    if not isinstance(info, dict):
        problems.append(Problem(path, "info", "is not an object", "write an object or leave it out"))
    space = read_space(path, document, name, expect, problems)
    images = _read_images(path, document, problems)
    table = _read_table(path, info, space, images, annotations(document, space, problems))
    return LabelScan(images, table and replace(table, repairs={**repairs, **table.repairs}), tuple(problems))


def read_space(
    path: Path, document: dict[str, Any], name: str, expect: LabelSpace | None, problems: list[Problem]
) -> LabelSpace | None:
    """The label space of a file's `categories`, or None if they cannot be used."""
    records = Records(path, document, "categories", problems)
    names, _ = records.texts("name")
    if not records.is_list or not records.sound.all():
        return None
    try:
        space = LabelSpace(name, tuple(names), tuple(records.ids.tolist()))
    except InputError as error:
        problems.append(Problem(path, "categories", error.what, error.remedy))
        return None
    if expect is not None and (mismatch := class_list_mismatch(space, expect)):
        problems.append(Problem(path, "categories", mismatch, "ids, names and order must be the same"))
    return space


def class_list_mismatch(found: LabelSpace, wanted: LabelSpace) -> str:
    """How the class list of a file differs from that of a label space: in ids, names or order; empty if it does not."""
    if found.categories() == wanted.categories():
        return ""
    lists = (", ".join(f"{category['id']} {category['name']}" for category in s.categories()) for s in (found, wanted))
    return "the class list is [{}], but that of {name} is [{}]".format(*lists, name=wanted.name)


def _read_images(path: Path, document: dict[str, Any], problems: list[Problem]) -> ImageList | None:
    records = Records(path, document, "images", problems)
    if not records.is_list:
        return None
    records.report_repeated_ids("give each image its own id")
    file_names, are_texts = records.texts("file_name")
    outside = np.fromiter((OUTSIDE_FOLDER.search(name) is not None for name in file_names), bool, len(records))
    records.report(
        outside,
        lambda row: f"`file_name` {file_names[row]!r} leaves the images folder",
        "write it relative to that folder, without '..'",
    )
    empty = np.fromiter((name.strip() in ("", ".") for name in file_names), bool, len(records))
    records.report(empty & are_texts, lambda row: "`file_name` is empty", "write the name of the image file")
    sizes_hw = np.stack([_read_side(records, "height"), _read_side(records, "width")], axis=1).astype(np.int32)
    splits = tuple(value if isinstance(value, str) else "" for value in records.values("split"))
    safe_names = tuple("" if leaves or not is_encodable(name) else name for name, leaves in zip(file_names, outside, strict=True))
    return ImageList(records.ids, safe_names, sizes_hw, splits)


def _read_side(records: Records, key: str) -> np.ndarray:
    """Height or width of each image (I,) int64; 0 if invalid."""
    sides, sound = records.integers(key)
    in_range = (sides > 0) & (sides <= MAX_SIDE)
    records.report(sound & ~in_range, lambda row: f"`{key}` is {sides[row]}", f"`{key}` must be 1 to {MAX_SIDE} pixels")
    return np.where(in_range, sides, 0)


def _read_table(
    path: Path, info: dict[str, Any], space: LabelSpace | None, images: ImageList | None, records: _Annotations
) -> LabelTable | None:
    repairs: Counter[str] = Counter()
    not_positive = records.id_is_sound & (records.ids < 1)
    records.report(not_positive, lambda row: "the id is not positive, which breaks AP", RENUMBER)
    records.report_repeated_ids(RENUMBER)
    image_of = _read_image_index(records, images)
    labels = _read_labels(records, space)
    columns: dict[str, Any] = {
        "labels": labels,
        "boxes_xyxy": _read_boxes(records, image_of, images, repairs),
        "scores": _read_scores(records),
        "is_crowd": _read_crowd(records, repairs),
        "annotation_ids": records.ids,
        "class_scores": _read_class_scores(records, space, labels),
        "provenance": _read_provenance(records),
    }
    _check_areas(records, repairs)
    if space is None or images is None:
        return None
    if not records.sound.all() or (np.diff(image_of) < 0).any():
        rows = np.flatnonzero(records.sound)
        rows = rows[np.argsort(image_of[rows], kind="stable")]
        columns = {name: None if column is None else column[rows] for name, column in columns.items()}
        image_of = image_of[rows]
    counts = np.bincount(image_of, minlength=len(images.image_ids))
    return LabelTable(
        path=path,
        space=space,
        image_ids=images.image_ids,
        file_names=images.file_names,
        sizes_hw=images.sizes_hw,
        splits=images.splits,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        info=info,
        repairs=dict(repairs),
        **columns,
    )


def _read_image_index(records: _Annotations, images: ImageList | None) -> np.ndarray:
    """Index of each annotation's image (A,) int64; -1 if unknown."""
    image_ids, sound = records.integers("image_id")
    if images is None:
        return np.full(len(records), -1)
    indices, known = find_ids(image_ids, images.image_ids)
    known &= sound
    records.report(sound & ~known, lambda row: f"image {image_ids[row]} is not in the file", "correct `image_id`")
    return np.where(known, indices, -1)


def _read_labels(records: _Annotations, space: LabelSpace | None) -> np.ndarray:
    """Class index of each annotation (A,) int64; 0 if unknown."""
    category_ids, sound = records.integers("category_id")
    if space is None:
        return np.zeros(len(records), dtype=np.int64)
    labels, known = find_ids(category_ids, np.asarray(space.category_ids, dtype=np.int64))
    what = "category {} is not in the file's class list"
    records.report(sound & ~known, lambda row: what.format(category_ids[row]), "correct `category_id` or add the category")
    return labels


def _read_boxes(records: _Annotations, image_of: np.ndarray, images: ImageList | None, repairs: Counter[str]) -> np.ndarray:
    """Boxes (A, 4) float32 xyxy, clipped at the borders of their images."""
    xywh, sound = records.number_rows("bbox", 4)
    flat = sound & (xywh[:, 2:] <= 0).any(axis=1)
    records.report(flat, lambda row: f"the box {xywh[row].tolist()} has no area", "a `bbox` is [x, y, width, height] in pixels")
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    if images is None or not len(images.image_ids):
        return boxes.astype(np.float32)
    sizes_hw = images.sizes_hw[image_of]
    framed = sound & ~flat & (image_of >= 0) & (sizes_hw > 0).all(axis=1)
    clipped = np.clip(boxes, 0, sizes_hw[:, [1, 0, 1, 0]])
    boxes_xyxy = np.where(framed[:, None], clipped, boxes).astype(np.float32)
    outside = framed & ~have_area(boxes_xyxy)
    records.report(
        outside,
        lambda row: f"the box {xywh[row].tolist()} lies outside its image of {sizes_hw[row, 1]} x {sizes_hw[row, 0]} pixels",
        "a `bbox` is [x, y, width, height] in pixels, not shares of the image",
    )
    moved = framed & ~outside & (np.abs(clipped - boxes) > CLIP_TOLERANCE).any(axis=1)
    _count(repairs, "box clipped at the image border", moved)
    return boxes_xyxy


def _count(repairs: Counter[str], what: str, repaired: np.ndarray) -> None:
    if repaired.any():
        repairs[what] += int(repaired.sum())


def _check_areas(records: _Annotations, repairs: Counter[str]) -> None:
    """Count missing areas; given areas must be numbers but are not used: a mask's area is not its box's."""
    _, there = records.optional_numbers("area")
    _count(repairs, "missing area taken from the box", ~there)


def _read_crowd(records: _Annotations, repairs: Counter[str]) -> np.ndarray:
    crowd, there = records.optional_numbers("iscrowd")
    _count(repairs, "missing iscrowd taken as 0", ~there)
    records.report((crowd != 0) & (crowd != 1), lambda row: f"`iscrowd` is {crowd[row]:g}", "`iscrowd` must be 0 or 1")
    result: np.ndarray = crowd == 1
    return result


def _read_scores(records: _Annotations) -> np.ndarray:
    scores, sound = records.numbers("score", default=1.0)
    outside = sound & ((scores < 0) | (scores > 1))
    records.report(outside, lambda row: f"`score` is {scores[row]}", "a `score` must lie in 0..1")
    return scores.astype(np.float32)


def _read_class_scores(records: _Annotations, space: LabelSpace | None, labels: np.ndarray) -> ClassScores | None:
    """Class scores; None if no annotation has any."""
    if space is None:
        return None
    return records.class_scores(space) if isinstance(records, TypedAnnotations) else read_class_scores(records, space, labels)


def _read_provenance(records: _Annotations) -> Provenance | None:
    """Provenance columns; None if no annotation has any."""
    if isinstance(records, TypedAnnotations):
        return records.provenance()
    values = records.values("provenance")
    if all(value is None for value in values):
        return None
    sound = np.fromiter((is_provenance(value) for value in values), bool, len(values))
    records.report(~sound, lambda row: "`provenance` is missing or malformed", MEANING)
    nothing: dict[str, Any] = {"origin": "ground_truth", "space": "", "annotation_id": None}
    return columns_of([value if is_sound else nothing for value, is_sound in zip(values, sound, strict=True)])
