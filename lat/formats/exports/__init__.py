"""A dataset in the layout that other tools read: one file per format, and what they share in `layout`.

`FORMATS` lists the formats. A new one is a module with an `ExportFormat`, and a line there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lat.core.lazy_table import LazyTable

if TYPE_CHECKING:
    from lat.formats.exports.layout import ExportFormat

FORMATS: Mapping[str, ExportFormat] = LazyTable(
    {
        "yolo": "lat.formats.exports.yolo:FORMAT",
        "voc": "lat.formats.exports.voc:FORMAT",
        "coco": "lat.formats.exports.coco:FORMAT",
        "huggingface": "lat.formats.exports.huggingface:FORMAT",
        "fiftyone": "lat.formats.exports.fiftyone:FORMAT",
        "cvat": "lat.formats.exports.cvat:FORMAT",
        "label-studio": "lat.formats.exports.label_studio:FORMAT",
    }
)
"""How each format is written; a lookup imports its module."""
