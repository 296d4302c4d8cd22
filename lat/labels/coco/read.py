"""Reading COCO JSON.

The modules of this folder are the only ones that know (x, y, width, height) boxes and category ids.
"""

from __future__ import annotations

from pathlib import Path

from lat.core.label_space import LabelSpace
from lat.labels.coco.problems import raise_problems
from lat.labels.coco.scan import scan_labels
from lat.labels.table import LabelTable


def read_labels(path: Path, name: str, *, expect: LabelSpace | None = None) -> LabelTable:
    """Read a COCO file into columns.

    A box that pokes out of its image is clipped, a missing `area` or `iscrowd` is taken as computed from the box or as 0, and
    the root that Roboflow puts above the classes is no class: in memory, and counted in `repairs`. Nothing else is changed and
    nothing is left out.

    Args:
        path: the file.
        name: name of the label space of its `categories`.
        expect: the categories must be those of this space: ids, names and order.

    Raises:
        InputError: with the first ten problems and their total, if the file is missing, is not JSON, or has errors that cannot
            be repaired.
    """
    scan = scan_labels(path, name, expect=expect)
    raise_problems(path, scan.problems)
    assert scan.table is not None
    return scan.table
