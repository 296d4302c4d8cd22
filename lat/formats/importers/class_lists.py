"""Class lists of public datasets, from `spaces/*.yaml`, and of formats with their own classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lat.core.label_space import LabelSpace

CLASS_LIST_FOLDER = Path(__file__).parent / "spaces"


@dataclass(frozen=True)
class ClassList:
    """How the labels of a format map to categories.

    Attributes:
        space: the categories.
        labels: for each label of the format, its category id and whether its boxes are crowd boxes.
        ignored: labels without a category; their boxes are left out and counted.
        image_size: width and height of all images, if the dataset has a single size.
    """

    space: LabelSpace
    labels: Mapping[str, tuple[int, bool]]
    ignored: frozenset[str] = field(default_factory=frozenset)
    image_size: tuple[int, int] | None = None

    @classmethod
    def of_names(cls, name: str, class_names: Sequence[str], ids: Sequence[int] | None = None) -> ClassList:
        """The class list of a format with its own classes; ids are 1..K unless given.

        Raises:
            InputError: see `LabelSpace`.
        """
        space = LabelSpace(name, tuple(class_names), tuple(ids or range(1, len(class_names) + 1)))
        return cls(space, {name: (i, False) for name, i in zip(space.class_names, space.category_ids, strict=True)})


def load_class_list(name: str) -> ClassList:
    """The list `spaces/NAME.yaml`; `spaces/README.md` explains its keys."""
    content = yaml.safe_load((CLASS_LIST_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    classes: list[dict[str, Any]] = content["classes"]
    space = LabelSpace(name, tuple(entry["name"] for entry in classes), tuple(entry["id"] for entry in classes))
    labels: dict[str, tuple[int, bool]] = {}
    for entry in classes:
        for is_crowd, found in ((False, entry.get("labels", [entry["name"]])), (True, entry.get("crowd_labels", []))):
            labels |= {str(label): (entry["id"], is_crowd) for label in found}
    size = content.get("image_size")
    return ClassList(space, labels, frozenset(map(str, content.get("ignored", []))), tuple(size) if size else None)
