"""The labels of a file as arrays, image by image: what Python users get."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lat.labels.class_scores import dense_scores
from lat.labels.provenance import ORIGINS
from lat.labels.table import LabelTable

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv


@dataclass(frozen=True, eq=False)
class ImageLabels:
    """The labels of one image, as arrays with the names and meanings of `supervision.Detections`.

    Attributes:
        image_id: the image's id in the labels file.
        file_name: the image's file, relative to its images folder.
        size_hw: height and width in pixels.
        xyxy: (N, 4) float32 corners, in pixels of the original image.
        confidence: (N,) float32 in [0, 1]; 1 for ground truth.
        class_id: (N,) int64, index into the class list, 0..K-1.
        data: more arrays of N rows: `class_name`, `category_id`, `annotation_id`, `iscrowd`; the provenance as `origin`,
            `origin_space` ("" for none) and `origin_id` (-1 for none); and `class_scores` (N, K) if the file has them.
    """

    image_id: int
    file_name: str
    size_hw: tuple[int, int]
    xyxy: np.ndarray
    confidence: np.ndarray
    class_id: np.ndarray
    data: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.xyxy)

    def detections(self) -> sv.Detections:
        """Convert to `supervision.Detections`; supervision must be installed."""
        import supervision as sv

        return sv.Detections(xyxy=self.xyxy, confidence=self.confidence, class_id=self.class_id, data=dict(self.data))


class Labels(Sequence[ImageLabels]):
    """The labels of one file, image by image in file order; `labels["a.png"]` is the image of that name."""

    def __init__(self, table: LabelTable) -> None:
        self.table = table

    def __repr__(self) -> str:
        return f"Labels({self.table.described()})"

    @property
    def path(self) -> Path:
        return self.table.path

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.table.space.class_names

    @property
    def category_ids(self) -> tuple[int, ...]:
        return self.table.space.category_ids

    @property
    def info(self) -> dict[str, Any]:
        """How the file was made, if it says so."""
        return self.table.info

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[ImageLabels]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, image: int | str) -> ImageLabels:  # type: ignore[override]
        """The image at an index, or with a file name.

        Raises:
            IndexError, KeyError: if there is none.
        """
        table = self.table
        if isinstance(image, str):
            if image not in table.file_names:
                raise KeyError(image)
            image = table.file_names.index(image)
        index = range(len(table))[image]
        rows = table.rows(index)
        height, width = table.sizes_hw[index].tolist()
        return ImageLabels(
            image_id=int(table.image_ids[index]),
            file_name=table.file_names[index],
            size_hw=(height, width),
            xyxy=table.boxes_xyxy[rows],
            confidence=table.scores[rows],
            class_id=table.labels[rows],
            data={name: column[rows] for name, column in self._data().items()},
        )

    def frame(self) -> pd.DataFrame:
        """A pandas data frame with one row per box; pandas must be installed."""
        import pandas as pd

        table = self.table
        per_image = np.repeat(np.arange(len(table)), np.diff(table.offsets))
        columns = {
            "image_id": table.image_ids[per_image],
            "file_name": np.array(table.file_names, dtype=object)[per_image],
            "height": table.sizes_hw[per_image, 0],
            "width": table.sizes_hw[per_image, 1],
            **dict(zip(("x1", "y1", "x2", "y2"), table.boxes_xyxy.T, strict=True)),
            "score": table.scores,
            "class_id": table.labels,
            **{name: column for name, column in self._data().items() if column.ndim == 1},
        }
        return pd.DataFrame(columns)

    def _data(self) -> dict[str, np.ndarray]:
        """Further columns (A, ...) of all annotations."""
        table = self.table
        columns = {
            "class_name": np.array(self.class_names)[table.labels],
            "category_id": table.space.to_category_ids(table.labels),
            "annotation_id": table.annotation_ids,
            "iscrowd": table.is_crowd,
        }
        if table.class_scores is not None:
            columns["class_scores"] = dense_scores(table.class_scores)
        names = {int(value): name for name, value in ORIGINS.items()}
        origins, spaces, ids = [""] * table.num_boxes, [""] * table.num_boxes, np.full(table.num_boxes, -1)
        if (found := table.provenance) is not None:
            origins = [names[value] for value in found.origin.tolist()]
            spaces, ids = [found.spaces[value] for value in found.space.tolist()], found.annotation_ids
        columns |= {"origin": np.array(origins, dtype=str), "origin_space": np.array(spaces, dtype=str), "origin_id": ids}
        return columns
