"""Several datasets of one label space as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from lat.data.dataset import DetectionDataset
from lat.labels.table import LabelTable


@dataclass(frozen=True, eq=False)
class JoinedDataset(DetectionDataset):
    """The images of several datasets, one after another, with new ids from 1 and file names that begin with their dataset's name.

    Of the labels, class scores and provenance are left out; scores stay.

    Attributes:
        parts: the datasets.
    """

    parts: tuple[DetectionDataset, ...]

    @classmethod
    def of(cls, name: str, parts: Sequence[DetectionDataset]) -> JoinedDataset:
        """Join at least one dataset; all have the label space of the first."""
        assert all(part.space == parts[0].space for part in parts), "one label space"
        tables = [part.labels for part in parts]
        images, boxes = sum(map(len, tables)), sum(table.num_boxes for table in tables)
        starts = [0, *accumulate(table.num_boxes for table in tables)]
        columns = ("sizes_hw", "boxes_xyxy", "labels", "scores", "is_crowd")
        joined: dict[str, Any] = {name: np.concatenate([getattr(table, name) for table in tables]) for name in columns}
        labels = LabelTable(
            path=tables[0].path,
            space=tables[0].space,
            image_ids=np.arange(1, images + 1),
            file_names=tuple(f"{part.name}/{file}" for part in parts for file in part.labels.file_names),
            splits=("",) * images,
            offsets=np.concatenate([[0], *(table.offsets[1:] + start for table, start in zip(tables, starts, strict=False))]),
            annotation_ids=np.arange(1, boxes + 1),
            **joined,
        )
        return cls(name, parts[0].images_dir, labels, tuple(parts))

    @property
    def labels_files(self) -> tuple[Path, ...]:
        return tuple(path for part in self.parts for path in part.labels_files)

    def image_path(self, i: int) -> Path:
        """The file of image `i`, in the folder of its own dataset."""
        for part in self.parts:
            if i < len(part):
                return part.image_path(i)
            i -= len(part)
        raise IndexError(i)
