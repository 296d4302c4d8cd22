"""Corrections from CVAT: "CVAT for images 1.1", the XML file or the archive that it comes in."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from lat.core.archives import DAMAGED
from lat.core.errors import InputError
from lat.core.regular_files import open_regular, read_regular, require_size
from lat.formats.corrections.corrected import CorrectedBox, CorrectedImage, CorrectionFormat, Corrections, as_box, as_id, as_score
from lat.formats.exports.columns import MIN_SCORE

_REMEDY = "export the task as 'CVAT for images 1.1'"
_IN_ARCHIVE = "annotations.xml"

MOST_XML_BYTES = 256_000_000
"""Of a file of annotations, unpacked; in memory it takes several times as much."""


def read(path: Path, field: str = "") -> Corrections:
    """Read every image of a task; its boxes are in pixels. CVAT has no label fields: `field` is ignored.

    Raises:
        InputError: if the file is missing or not in this format, or a box is rotated.
    """
    root = _parse(path)
    if root.tag != "annotations" or root.find("track") is not None:
        raise InputError(path, "is not of the format 'CVAT for images'", _REMEDY)
    images = [_image(path, image) for image in root.iter("image")]
    others = sum(1 for image in root.iter("image") for shape in image if shape.tag not in ("box", "tag"))
    return Corrections(path, tuple(images), (f"{others} shapes that are not boxes are left out",) if others else ())


def _parse(path: Path) -> Element:
    try:
        with open_regular(path) as file:
            content = _unpacked(path, file) if zipfile.is_zipfile(file) else read_regular(path, MOST_XML_BYTES)
        return ElementTree.fromstring(content)
    except FileNotFoundError:
        raise InputError(path, "there is no such file", "check the path") from None
    except (OSError, ElementTree.ParseError, LookupError, *DAMAGED) as error:
        raise InputError(path, f"cannot be read as XML ({error})", _REMEDY) from None


def _unpacked(path: Path, file: BinaryIO) -> bytes:
    """The annotations in an archive; its sizes are looked at before anything is unpacked."""
    with zipfile.ZipFile(file) as archive:
        try:
            entry = archive.getinfo(_IN_ARCHIVE)
        except KeyError:
            raise InputError(path, f"holds no {_IN_ARCHIVE}", _REMEDY) from None
        require_size(path, entry.file_size, MOST_XML_BYTES, _IN_ARCHIVE)
        with archive.open(entry) as content:
            found = content.read(MOST_XML_BYTES + 1)
    require_size(path, len(found), MOST_XML_BYTES, _IN_ARCHIVE)
    return found


def _image(path: Path, image: Element) -> CorrectedImage:
    name = image.get("name", "")
    boxes = tuple(_box(path, f"image '{name}'", box) for box in image.iter("box"))
    scores = (as_score(_said(box).get(MIN_SCORE)) for box in image.iter("box"))
    return CorrectedImage(f"image '{name}'", name, boxes, min_score=next((one for one in scores if one is not None), None))


def _said(box: Element) -> dict[str | None, str]:
    """The attributes of a box that a person sees in CVAT."""
    return {attribute.get("name"): (attribute.text or "").strip() for attribute in box.iter("attribute")}


def _box(path: Path, item: str, box: Element) -> CorrectedBox:
    if as_box(path, item, (0, 0, 0, box.get("rotation", 0)))[3]:
        raise InputError(
            path, f"{item}: a box of '{box.get('label')}' is rotated", "only upright boxes are supported: rotate it back"
        )
    said = _said(box)
    corners = as_box(path, item, [box.get(key) for key in ("xtl", "ytl", "xbr", "ybr")])
    return CorrectedBox(box.get("label", ""), corners, as_id(said.get("annotation_id")), said.get("iscrowd") == "1")


FORMAT = CorrectionFormat(read, "task.zip")
