"""Pascal VOC: one XML file per image, corners as whole pixels counted from 1, both ends inside the box."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from lat.core.errors import InputError
from lat.data.dataset import DetectionDataset
from lat.formats.exports.layout import ExportFormat, Split, plain_names, require_xml_names
from lat.labels.table import LabelTable

_NOT_LISTED = re.compile(r"^#|:|^\s|\s$|^background$")
"""Class names that a reader of `labelmap.txt` takes for something else."""


def arrange(datasets: Mapping[str, DetectionDataset]) -> list[Split]:
    """Images of all parts at `JPEGImages/NAME`."""
    names = plain_names(list(datasets.values()))
    return [
        Split(name, dataset, tuple(f"JPEGImages/{plain}" for plain in plains))
        for (name, dataset), plains in zip(datasets.items(), names, strict=True)
    ]


def write(folder: Path, splits: Sequence[Split]) -> None:
    """Write `Annotations/*.xml`, `ImageSets/Main/{PART,trainval}.txt` and `labelmap.txt`.

    Raises:
        InputError: if XML cannot represent a class name.
    """
    require_xml_names(splits[0])
    class_names = splits[0].dataset.space.class_names
    for name in class_names:
        if _NOT_LISTED.search(name):
            what = f"class {name!r} cannot stand in labelmap.txt"
            raise InputError(splits[0].dataset.labels.path, what, "rename it: no # in front, no colon, no space at an end")
    (folder / "Annotations").mkdir()
    sets = folder / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    stems: list[str] = []
    for split in splits:
        own = [PurePosixPath(image).stem for image in split.images]
        _write_lines(sets / f"{split.name}.txt", own)
        stems += own
        corners = inclusive_corners(split.dataset.labels)
        for i, stem in enumerate(own):
            tree = ElementTree.ElementTree(_annotation(split, i, corners))
            ElementTree.indent(tree)
            tree.write(folder / "Annotations" / f"{stem}.xml", encoding="utf-8")
    _write_lines(sets / "trainval.txt", stems)
    _write_lines(
        folder / "labelmap.txt",
        ["# label:color_rgb:parts:actions", *(f"{name}:::" for name in class_names)],
    )


def inclusive_corners(table: LabelTable) -> np.ndarray:
    """Corners (A, 4) int64 as VOC counts them: the first pixel of a row is 1, and the last one belongs to the box.

    A reader subtracts 1 from the first two and gets corners that are at most half a pixel off. A box that would have no pixel
    gets the one at its centre; it is less than a pixel off.
    """
    exact = table.boxes_xyxy.astype(np.float64)
    low, high = np.rint(exact[:, :2]), np.rint(exact[:, 2:])
    middle = np.floor((exact[:, :2] + exact[:, 2:]) / 2)
    is_thin = high <= low
    return np.concatenate([np.where(is_thin, middle, low) + 1, np.where(is_thin, middle + 1, high)], axis=1).astype(np.int64)


def _annotation(split: Split, i: int, corners: np.ndarray) -> Element:
    """The XML of one image; `corners` are those of the whole table."""
    table, image = split.dataset.labels, PurePosixPath(split.images[i])
    root = Element("annotation")
    _add(root, "folder", image.parent.name)
    _add(root, "filename", image.name)
    _add(SubElement(root, "source"), "database", split.dataset.name)
    size = SubElement(root, "size")
    for key, value in zip(("width", "height", "depth"), (*table.sizes_hw[i, ::-1].tolist(), 3), strict=True):
        _add(size, key, value)
    _add(root, "segmented", 0)
    for row in range(*table.rows(i).indices(table.num_boxes)):
        # some readers rely on the order of the five elements of the devkit; others come last
        item = SubElement(root, "object")
        _add(item, "name", table.space.class_names[table.labels[row]])
        _add(item, "pose", "Unspecified")
        _add(item, "truncated", 0)
        _add(item, "difficult", int(table.is_crowd[row]))
        box = SubElement(item, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners[row].tolist(), strict=True):
            _add(box, key, value)
        _add(item, "score", f"{table.scores[row]:.6g}")
    return root


def _add(parent: Element, name: str, value: object) -> None:
    SubElement(parent, name).text = str(value)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def losses(datasets: Sequence[DetectionDataset]) -> list[str]:
    """Fractions of pixels, crowd boxes, and file names that some readers do not find."""
    lines = []
    tables = [dataset.labels for dataset in datasets]
    rounded = sum(int((table.boxes_xyxy != np.rint(table.boxes_xyxy)).any(axis=1).sum()) for table in tables)
    if rounded:
        lines.append(f"{rounded} boxes are rounded to whole pixels")
    crowd = sum(int(table.is_crowd.sum()) for table in tables)
    if crowd:
        lines.append(f"{crowd} crowd boxes are marked `difficult`")
    others = sum(PurePosixPath(name).suffix.lower() != ".jpg" for table in tables for name in table.file_names)
    if others:
        lines.append(f"{others} images are not .jpg files; the VOC readers of torchvision and Detectron2 find no others")
    return lines


FORMAT = ExportFormat(arrange, write, losses)
