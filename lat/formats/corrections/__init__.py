"""Labels that a person has corrected in another tool, read back: one file per tool, what they share in `corrected`, and `merge`.

`FORMATS` lists the tools. A new one is a module with a `CorrectionFormat`, and a line there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lat.core.lazy_table import LazyTable

if TYPE_CHECKING:
    from lat.formats.corrections.corrected import CorrectionFormat

FORMATS: Mapping[str, CorrectionFormat] = LazyTable(
    {
        "cvat": "lat.formats.corrections.cvat:FORMAT",
        "label-studio": "lat.formats.corrections.label_studio:FORMAT",
        "fiftyone": "lat.formats.corrections.fiftyone:FORMAT",
    }
)
"""How the corrections of each tool are read; a lookup imports its module."""
