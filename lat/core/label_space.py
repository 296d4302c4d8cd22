"""Label spaces: the class list of a dataset, and all of them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lat.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LabelSpace:
    """The class list of one dataset, in the order of its COCO file.

    A class has an index 0..K-1 inside `lat` and a category id in files; ids may have gaps and any order.

    Raises:
        InputError: if the class list is empty, or has a name or a category id twice.
    """

    name: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.class_names:
            raise InputError(self.name, "the class list is empty", "add `categories` to its annotation file")
        if len(self.class_names) != len(self.category_ids):
            raise InputError(self.name, f"{len(self.class_names)} class names but {len(self.category_ids)} category ids")
        for what, values in (("class name", self.class_names), ("category id", self.category_ids)):
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                raise InputError(self.name, f"{what} {', '.join(twice)} occurs more than once in the class list", "rename one")

    def __len__(self) -> int:
        return len(self.class_names)

    @classmethod
    def from_names(cls, name: str, class_names: Sequence[str]) -> LabelSpace:
        """A label space whose category ids are 1..K."""
        return cls(name, tuple(class_names), tuple(range(1, len(class_names) + 1)))

    def to_dict(self) -> dict[str, Any]:
        """The label space as plain types, for a checkpoint."""
        return {"name": self.name, "class_names": list(self.class_names), "category_ids": list(self.category_ids)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LabelSpace:
        """The label space that `to_dict` described."""
        return cls(content["name"], tuple(content["class_names"]), tuple(content["category_ids"]))

    @cached_property
    def _index_of(self) -> dict[int, int]:
        return {category_id: index for index, category_id in enumerate(self.category_ids)}

    def to_index(self, category_ids: np.ndarray) -> np.ndarray:
        """Map category ids (N,) to class indices (N,) int64; ids outside the space become -1."""
        return np.array([self._index_of.get(int(category_id), -1) for category_id in category_ids], dtype=np.int64)

    def to_category_ids(self, labels: np.ndarray) -> np.ndarray:
        """Map class indices (N,) to category ids (N,) int64."""
        return np.asarray(self.category_ids, dtype=np.int64)[np.asarray(labels, dtype=np.int64)]

    def categories(self) -> list[dict[str, object]]:
        """The `categories` list of a COCO file in this space."""
        return [{"id": i, "name": name} for i, name in zip(self.category_ids, self.class_names, strict=True)]


@dataclass(frozen=True)
class JointLabelSpace:
    """All label spaces side by side, never merged by name: size K = K_1 + ... + K_N, background last at index K.

    Source: Label-Aligned Transfer, section 3.2 (label spaces are concatenated).
    """

    spaces: tuple[LabelSpace, ...]

    def __post_init__(self) -> None:
        names = [space.name for space in self.spaces]
        if len(set(names)) != len(names):
            raise InputError("datasets", f"two label spaces have the same name among {', '.join(names)}", "rename one dataset")

    def __len__(self) -> int:
        return sum(len(space) for space in self.spaces)

    @cached_property  # asked for with every label
    def names(self) -> tuple[str, ...]:
        return tuple(space.name for space in self.spaces)

    def index(self, name: str) -> int:
        """Position of the space called `name`."""
        return self.names.index(name)

    def offset(self, name: str) -> int:
        """First joint class index of the space called `name`."""
        return sum(len(space) for space in self.spaces[: self.index(name)])

    def slice(self, name: str) -> slice:
        """Joint class indices of the space called `name`."""
        start = self.offset(name)
        return slice(start, start + len(self.spaces[self.index(name)]))

    def mask(self, name: str) -> Tensor:
        """(K + 1,) bool: True for the classes of the space called `name` and for background, the last entry."""
        import torch  # here, so that reading labels needs no torch

        mask = torch.zeros(len(self) + 1, dtype=torch.bool)
        mask[self.slice(name)] = True
        mask[-1] = True
        return mask
