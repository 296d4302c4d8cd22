"""Label tables of consecutive images as one, each column allocated once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lat.core.label_space import LabelSpace
from lat.labels.class_scores import ClassScores, TopScores
from lat.labels.provenance import AppliedPrior, Provenance
from lat.labels.table import LabelTable
from lat.labels.written_boxes import on_images

_BOXES = ("boxes_xyxy", "labels", "scores", "is_crowd", "annotation_ids")


def joined(
    images: LabelTable,
    space: LabelSpace,
    parts: Iterable[LabelTable],
    num_boxes: int,
    spaces: tuple[str, ...],
    source_classes: tuple[str, ...],
) -> LabelTable:
    """One table of all images; of the parts, one at a time is in memory.

    Args:
        images: all images.
        space: the label space of the parts.
        parts: the annotations of all images, in order.
        num_boxes: the annotations of all parts.
        spaces: all names of label spaces in the parts' provenance, sorted.
        source_classes: all names of source classes in the priors of it, sorted.

    Raises:
        ValueError: if some parts with annotations have class scores or provenance, and others have none.
    """
    columns: dict[str, np.ndarray] = {}
    counts, row = [np.zeros(1, np.int64)], 0
    for part in parts:
        counts.append(np.diff(part.offsets))
        some = _columns(part, spaces, source_classes)
        if not columns or (part.num_boxes and not row):
            columns = {name: np.empty((num_boxes, *column.shape[1:]), column.dtype) for name, column in some.items()}
        if part.num_boxes and columns.keys() != some.keys():
            raise ValueError("some boxes have class scores or provenance and others have none")
        for name in columns if part.num_boxes else ():
            columns[name][row : row + part.num_boxes] = some[name]
        row += part.num_boxes
    return on_images(
        images,
        range(len(images)),
        space=space,
        offsets=np.cumsum(np.concatenate(counts)),
        **{name: columns[name] for name in _BOXES},
        class_scores=_class_scores(columns, space),
        provenance=_provenance(columns, spaces, source_classes),
    )


def _columns(part: LabelTable, spaces: tuple[str, ...], source_classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """All columns of a part that there are, side by side, with indices into these names."""
    columns: dict[str, np.ndarray] = {name: getattr(part, name) for name in _BOXES}
    if isinstance(scores := part.class_scores, TopScores):
        columns |= {f"class_{name}": column for name, column in scores.columns().items()}
    elif scores is not None:
        columns["class_scores"] = scores
    if (found := part.provenance) is not None:
        columns["origin"], columns["annotation_id"] = found.origin, found.annotation_ids
        columns["space"] = _renamed(found.space, found.spaces, spaces)
        if source_classes:
            prior = found.prior or _no_prior(part.num_boxes)
            columns["source_class"] = _renamed(prior.source_class, prior.source_classes, source_classes)
            columns["factor"], columns["is_kept"] = prior.factor, prior.is_kept
    return columns


def _class_scores(columns: dict[str, np.ndarray], space: LabelSpace) -> ClassScores | None:
    if "class_rest" in columns:
        return TopScores(columns["class_classes"], columns["class_scores"], columns["class_rest"], len(space))
    return columns.get("class_scores")


def _no_prior(count: int) -> AppliedPrior:
    return AppliedPrior(np.full(count, -1, np.int32), (), np.ones(count), np.zeros(count, bool))


def _renamed(indices: np.ndarray, names: tuple[str, ...], into: tuple[str, ...]) -> np.ndarray:
    """Indices into `names` as indices into `into`; -1 stays."""
    places = [into.index(name) for name in names]
    result: np.ndarray = np.array([*places, -1], dtype=indices.dtype)[indices]
    return result


def _provenance(columns: dict[str, np.ndarray], spaces: tuple[str, ...], source_classes: tuple[str, ...]) -> Provenance | None:
    if "origin" not in columns:
        return None
    prior = None
    if source_classes:
        prior = AppliedPrior(columns["source_class"], source_classes, columns["factor"], columns["is_kept"])
    return Provenance(columns["origin"], columns["space"], spaces, columns["annotation_id"], prior)
