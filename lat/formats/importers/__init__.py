"""Other formats and the public datasets, read image by image: one file per format, and what they share.

`FORMATS` lists the formats. A new one is a module with an `Importer`, and a line there.

`source` says what an importer is, `class_lists` reads the class lists of `spaces/`, `writer` writes the COCO file and its
manifest, `folders` and `streams` find and read files, and `box_store` keeps the boxes of files that are not sorted by image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lat.core.lazy_table import LazyTable

if TYPE_CHECKING:
    from lat.formats.importers.source import Importer

FORMATS: Mapping[str, type[Importer]] = LazyTable(
    {
        "coco": "lat.formats.importers.coco:Coco",
        "voc": "lat.formats.importers.voc:Voc",
        "yolo": "lat.formats.importers.yolo:Yolo",
        "kitti": "lat.formats.importers.kitti:Kitti",
        "open-images": "lat.formats.importers.open_images:OpenImages",
        "cityscapes": "lat.formats.importers.cityscapes:Cityscapes",
        "nuimages": "lat.formats.importers.nuimages:NuImages",
        "waymo": "lat.formats.importers.waymo:Waymo",
        "bdd100k": "lat.formats.importers.bdd100k:Bdd100k",
        "acdc": "lat.formats.importers.acdc:Acdc",
        "shift": "lat.formats.importers.shift:Shift",
        "synscapes": "lat.formats.importers.synscapes:Synscapes",
    }
)
"""The importer of each format; a lookup imports its module."""
