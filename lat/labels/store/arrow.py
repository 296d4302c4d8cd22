"""Label tables as Arrow tables, a row per annotation, and back.

Columns: `image` int32, the index in the list of all images; `x1`, `y1`, `x2`, `y2` float32; `label` int32; `score` float32;
`is_crowd` bool.
Where there are class scores: `class_scores`, a list of K float32; in spaces of more than 64 classes the columns of `TopScores`:
`top_classes`, a list of int32, `top_scores`, a list of float32, and `rest` float32.
Where there is provenance: `origin` int8, `space` int16, `annotation_id` int64 (-1 for none), and where a prior was applied
`prior_source_class` int32 (-1 for none), `prior_factor` float64, `prior_is_kept` bool.
The schema's metadata has the label space, the range of images, and the names that `space` and `prior_source_class` index.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow.parquet import FileMetaData

from lat.core.label_space import LabelSpace
from lat.labels.class_scores import ClassScores, TopScores, class_scores_of
from lat.labels.provenance import AppliedPrior, Provenance
from lat.labels.store.columns import from_column, to_column
from lat.labels.table import LabelTable
from lat.labels.written_boxes import on_images

_CORNERS = ("x1", "y1", "x2", "y2")
_METADATA = b"lat.labels"


def to_arrow(table: LabelTable, first_image: int = 0) -> pa.Table:
    """The annotations of a table of consecutive images, the first of which is `first_image` in the list of all images.

    Annotation ids are left out: readers number the rows.
    """
    columns: dict[str, np.ndarray] = {
        "image": (table.image_of_box + first_image).astype(np.int32),
        **{name: table.boxes_xyxy[:, i] for i, name in enumerate(_CORNERS)},
        "label": table.labels.astype(np.int32),
        "score": table.scores,
        "is_crowd": table.is_crowd,
    }
    metadata: dict[str, Any] = {"space": table.space.to_dict(), "images": [first_image, first_image + len(table)]}
    if isinstance(scores := table.class_scores, TopScores):
        columns |= {"top_classes": scores.classes, "top_scores": scores.scores, "rest": scores.rest}
    elif scores is not None:
        columns["class_scores"] = scores
    if (found := table.provenance) is not None:
        columns["space"], metadata["spaces"] = _used(found.space, found.spaces)
        columns["origin"], columns["annotation_id"] = found.origin, found.annotation_ids
        if (prior := found.prior) is not None and (prior.source_class >= 0).any():
            columns["prior_source_class"], metadata["source_classes"] = _used(prior.source_class, prior.source_classes)
            columns["prior_factor"], columns["prior_is_kept"] = prior.factor, prior.is_kept
    arrays = {name: to_column(column) for name, column in columns.items()}
    return pa.table(arrays).replace_schema_metadata({_METADATA: json.dumps(metadata)})


def from_arrow(
    found: pa.Table,
    images: LabelTable,
    space: LabelSpace,
    images_range: range,
    *,
    first_id: int = 1,
    as_written: bool = False,
) -> LabelTable:
    """The label table of a range of images from the rows that `to_arrow` made of it.

    Args:
        found: the rows, those of one image side by side, images in order.
        images: all images.
        space: the label space of the rows.
        images_range: the images of the rows.
        first_id: annotation ids are numbered from here.
        as_written: leave corners as they are, up to `CLIP_TOLERANCE` outside the image; else they are clipped, as `read_labels`
            does.

    Raises:
        ValueError: if the rows are of other images, in another order, or in another label space.
    """
    metadata = metadata_of(found.schema)
    if metadata["space"] != space.to_dict():
        raise ValueError(f"rows in label space {metadata['space']['name']}, not {space.name}")
    image = from_column(found.column("image")).astype(np.int64) - images_range.start
    if len(image) and (image[0] < 0 or image[-1] >= len(images_range) or (np.diff(image) < 0).any()):
        raise ValueError(f"rows that are not those of images {images_range.start} to {images_range.stop} in order")
    boxes_xyxy = np.stack([from_column(found.column(name)) for name in _CORNERS], axis=1)
    if not as_written:
        borders = images.sizes_hw[images_range.start : images_range.stop][image][:, [1, 0, 1, 0]]
        np.clip(boxes_xyxy, 0, borders.astype(np.float32), out=boxes_xyxy)
    counts = np.bincount(image, minlength=len(images_range))
    return on_images(
        images,
        images_range,
        space=space,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes_xyxy=boxes_xyxy,
        labels=from_column(found.column("label")).astype(np.int64),
        scores=from_column(found.column("score")),
        is_crowd=from_column(found.column("is_crowd")),
        annotation_ids=np.arange(first_id, first_id + len(found)),
        class_scores=_class_scores(found, space),
        provenance=_provenance(found, metadata),
    )


def metadata_of(described: pa.Schema | FileMetaData) -> dict[str, Any]:
    """What `to_arrow` put into a schema, which a file's footer repeats: `space`, `images`, and where there are such columns
    `spaces` and `source_classes`.

    Raises:
        ValueError: if there is nothing of the kind.
    """
    content = (described.metadata or {}).get(_METADATA)
    if content is None:
        raise ValueError("a table that `to_arrow` did not make: its schema has no metadata of labels")
    metadata: dict[str, Any] = json.loads(content)
    return metadata


def _used(indices: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, list[str]]:
    """The column into those names alone that it has, and these; -1 stays."""
    used = np.unique(indices[indices >= 0])
    place = np.full(len(names) + 1, -1, dtype=indices.dtype)
    place[used] = np.arange(len(used))
    return place[indices], [names[i] for i in used.tolist()]


def _class_scores(found: pa.Table, space: LabelSpace) -> ClassScores | None:
    """The class scores of the rows; None if no row has any."""
    if not len(found):
        return class_scores_of(np.zeros((0, len(space)), np.float32), np.zeros(0, np.int64))
    if "top_classes" in found.column_names:
        return TopScores(
            from_column(found.column("top_classes")),
            from_column(found.column("top_scores")),
            from_column(found.column("rest")),
            len(space),
        )
    return from_column(found.column("class_scores")) if "class_scores" in found.column_names else None


def _provenance(found: pa.Table, metadata: dict[str, Any]) -> Provenance | None:
    if not len(found) or "spaces" not in metadata:
        return None
    prior = None
    if "source_classes" in metadata:
        columns = (from_column(found.column(f"prior_{name}")) for name in ("source_class", "factor", "is_kept"))
        source_class, factor, is_kept = columns
        prior = AppliedPrior(source_class, tuple(metadata["source_classes"]), factor, is_kept)
    columns = (from_column(found.column(name)) for name in ("origin", "space", "annotation_id"))
    origin, space, annotation_ids = columns
    return Provenance(origin, space, tuple(metadata["spaces"]), annotation_ids, prior)
