"""Corrections from CVAT: "CVAT for images 1.1", the XML file or the archive that it comes in."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from lat.core.errors import InputError
from lat.formats.corrections.corrected import CorrectedBox, CorrectedImage, CorrectionFormat, Corrections, as_box, as_id

_REMEDY = "export the task as 'CVAT for images 1.1'"
_IN_ARCHIVE = "annotations.xml"


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
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return ElementTree.fromstring(archive.read(_IN_ARCHIVE))
        return ElementTree.fromstring(path.read_bytes())
    except FileNotFoundError:
        raise InputError(path, "there is no such file", "check the path") from None
    except KeyError:
        raise InputError(path, f"holds no {_IN_ARCHIVE}", _REMEDY) from None
    except (OSError, ElementTree.ParseError, zipfile.BadZipFile) as error:
        raise InputError(path, f"cannot be read as XML ({error})", _REMEDY) from None


def _image(path: Path, image: Element) -> CorrectedImage:
    name = image.get("name", "")
    return CorrectedImage(f"image '{name}'", name, tuple(_box(path, f"image '{name}'", box) for box in image.iter("box")))


def _box(path: Path, item: str, box: Element) -> CorrectedBox:
    if as_box(path, item, (0, 0, 0, box.get("rotation", 0)))[3]:
        raise InputError(
            path, f"{item}: a box of '{box.get('label')}' is rotated", "only upright boxes are supported: rotate it back"
        )
    said = {attribute.get("name"): (attribute.text or "").strip() for attribute in box.iter("attribute")}
    corners = as_box(path, item, [box.get(key) for key in ("xtl", "ytl", "xbr", "ybr")])
    return CorrectedBox(box.get("label", ""), corners, as_id(said.get("annotation_id")), said.get("iscrowd") == "1")


FORMAT = CorrectionFormat(read, "task.zip")
