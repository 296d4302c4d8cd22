"""Classes merged, renamed or left out as labels are read; the file itself is never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from lat.core.errors import InputError, did_you_mean
from lat.core.label_space import LabelSpace
from lat.labels.coco.problems import Problem, raise_problems
from lat.labels.coco.scan import LabelScan, class_list_mismatch, scan_labels
from lat.labels.table import LabelTable

ClassMap = Mapping[str, str | None]
"""A new name for each class that gets one, None for each that is left out; other classes stay as they are."""


def read_mapped(path: Path, name: str, classes: ClassMap, *, expect: LabelSpace | None = None) -> LabelTable:
    """Read a COCO file as `read_labels` does, then merge, rename and leave out classes.

    Args:
        path: the file.
        name: name of the label space, and of the dataset whose `classes` these are.
        classes: the map; empty for none.
        expect: the categories must then be those of this space: ids, names and order.

    Raises:
        InputError: if the file is wrong, the map names a class that it does not have, or no class is left.
    """
    scan = scan_mapped(path, name, classes, expect=expect)
    raise_problems(path, scan.problems)
    assert scan.table is not None
    return scan.table


def scan_mapped(path: Path, name: str, classes: ClassMap, *, expect: LabelSpace | None = None) -> LabelScan:
    """The same with all problems of the file, as `scan_labels` finds them, or that of the map."""
    scan = scan_labels(path, name, expect=None if classes else expect)
    if not classes or scan.table is None:
        return scan
    try:
        table = mapped(scan.table, classes)
    except InputError as error:
        return replace(scan, table=None, problems=(*scan.problems, Problem(path, "", error.what, error.remedy)))
    if expect is not None and (what := class_list_mismatch(table.space, expect)):
        problem = Problem(path, "categories", what, "ids, names and order must be the same")
        return replace(scan, table=None, problems=(*scan.problems, problem))
    return replace(scan, table=table)


def mapped(table: LabelTable, classes: ClassMap) -> LabelTable:
    """The table with its classes merged, renamed or left out; boxes of classes that are left out go with them.

    A class has the category id and the place of the first of those that it was merged from.

    Raises:
        InputError: if the map names a class that there is not, or leaves no class.
    """
    setting, own = f"datasets.{table.space.name}.classes", table.space.class_names
    for name in classes:
        if name not in own:
            raise InputError(table.path, f"{setting} names the class '{name}', which is not in the file", did_you_mean(name, own))
    new = [classes.get(name, name) for name in own]
    names = list(dict.fromkeys(name for name in new if name is not None))
    if not names:
        raise InputError(table.path, f"{setting} leaves out every class", "keep one of them")
    ids = [table.space.category_ids[new.index(name)] for name in names]
    labels = np.array([-1 if name is None else names.index(name) for name in new])[table.labels]
    kept = table.where(labels >= 0)
    return replace(
        kept, space=LabelSpace(table.space.name, tuple(names), tuple(ids)), labels=labels[labels >= 0], class_scores=None
    )
