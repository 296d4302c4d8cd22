"""Register our datasets in Detectron2's `DatasetCatalog` and `MetadataCatalog`, with pseudo-labels next to the ground truth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from lat.core.errors import InputError
from lat.core.structures import LabeledBoxes
from lat.data.dataset import DetectionDataset
from lat.data.tensors import boxes_of
from lat.labels.table import LabelTable

_HASHED = (
    "image_ids",
    "sizes_hw",
    "offsets",
    "boxes_xyxy",
    "labels",
    "scores",
    "is_crowd",
    "annotation_ids",
    "class_scores",
)  # columns of a table
_BOX_COLUMNS = ("boxes_xyxy", "labels", "scores", "class_scores", "weights", "annotation_ids")
PseudoLabels = Mapping[str, Sequence[LabelTable]]  # tables in other label spaces, by name of the dataset whose images they label


def register_datasets(
    datasets: Sequence[DetectionDataset], pseudo_labels: PseudoLabels | None = None, names: Sequence[str] = ()
) -> list[str]:
    """Register datasets, each under its own name, and return the names.

    Dataset dictionaries have Detectron2's standard format, plus `space`, for each annotation `annotation_id`, `score`, `weight`
    (0 for crowd) and `class_scores` or None, and in `pseudo_labels` the columns of each other label space. Metadata has
    `thing_classes`, `thing_dataset_id_to_contiguous_id` and `label_space`, its name.

    Args:
        datasets: the datasets, possibly with transferred labels.
        pseudo_labels: for a dataset's name, tables with at least its images.
        names: the names to register under; empty for lat_NAME_HASH, with a hash of all labels.

    Raises:
        InputError: if a name is taken by other content, pseudo-labels are in the dataset's own label space, belong to no
            dataset, or lack an image. Nothing is registered then.
    """
    pseudo_labels = pseudo_labels or {}
    for name in set(pseudo_labels) - {dataset.name for dataset in datasets}:
        raise InputError("pseudo_labels", f"there is no dataset '{name}'", "give pseudo-labels by the name of their dataset")
    if names and len(names) != len(datasets):
        raise InputError("names", f"there are {len(names)} for {len(datasets)} datasets", "give one per dataset, or none")
    planned = []
    for i, dataset in enumerate(datasets):
        tables = [_aligned(dataset, table) for table in pseudo_labels.get(dataset.name, ())]
        fingerprint = _fingerprint(dataset, tables)
        planned.append((names[i] if names else f"lat_{dataset.name}_{fingerprint[:8]}", dataset, tables, fingerprint))
    taken: dict[str, str] = {}
    for name, _, _, fingerprint in planned:
        if taken.setdefault(name, fingerprint) != fingerprint or not _is_free(name, fingerprint):
            raise InputError(name, "is registered already with other content", "unregister it first, or choose another name")
    for name, dataset, tables, fingerprint in planned:
        if name not in DatasetCatalog:
            _register(name, dataset, tables, fingerprint)
    return [name for name, *_ in planned]


def unregister_datasets(names: Sequence[str]) -> None:
    """Remove names from both catalogs, ignoring unknown names."""
    for catalog in (DatasetCatalog, MetadataCatalog):
        for name in names:
            if name in catalog:
                catalog.remove(name)


@contextmanager
def registered_datasets(
    datasets: Sequence[DetectionDataset], pseudo_labels: PseudoLabels | None = None, names: Sequence[str] = ()
) -> Iterator[list[str]]:
    """`register_datasets` as a context manager; names registered before stay."""
    before = set(DatasetCatalog)
    found = register_datasets(datasets, pseudo_labels, names)
    try:
        yield found
    finally:
        unregister_datasets([name for name in dict.fromkeys(found) if name not in before])


def boxes_of_record(record: Mapping[str, Any]) -> tuple[LabeledBoxes, list[LabeledBoxes]]:
    """Ground truth and pseudo-labels of one dataset dictionary.

    Raises:
        InputError: if the dictionary does not belong to a dataset registered here.
    """
    if "space" not in record:
        what = "its dataset is not one of lat's: the record names no label space"
        raise InputError(record.get("file_name", "record"), what, "register it with lat.detectron2.register_datasets")
    annotations, space = record["annotations"], record["space"]
    scores = [annotation["class_scores"] for annotation in annotations]
    ground_truth = LabeledBoxes(
        boxes_xyxy=torch.tensor([a["bbox"] for a in annotations], dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([a["category_id"] for a in annotations], dtype=torch.int64),
        space=space,
        scores=torch.tensor([a["score"] for a in annotations], dtype=torch.float32),
        class_scores=torch.tensor(scores, dtype=torch.float32) if scores and None not in scores else None,
        weights=torch.tensor([a["weight"] for a in annotations], dtype=torch.float32),
        annotation_ids=torch.tensor([a["annotation_id"] for a in annotations], dtype=torch.int64),
    )
    return ground_truth, [_from_columns(columns) for columns in record["pseudo_labels"]]


def _records(dataset: DetectionDataset, tables: Sequence[LabelTable]) -> list[dict[str, Any]]:
    """All dataset dictionaries of a dataset; pseudo-labels are numpy columns, which take little memory."""
    records = []
    for i in range(len(dataset)):
        height, width = dataset.size_hw(i)
        records.append(
            {
                "file_name": str(dataset.image_path(i).absolute()),
                "image_id": int(dataset.labels.image_ids[i]),
                "height": height,
                "width": width,
                "space": dataset.space,
                "annotations": _annotations(dataset.boxes(i)),
                "pseudo_labels": [_to_columns(boxes_of(table, i)) for table in tables],
            }
        )
    return records


def _annotations(boxes: LabeledBoxes) -> list[dict[str, Any]]:
    class_scores = [None] * len(boxes) if boxes.class_scores is None else boxes.class_scores.tolist()
    columns = (boxes.boxes_xyxy, boxes.labels, boxes.scores, boxes.weights, boxes.annotation_ids)
    keys = ("bbox", "category_id", "score", "weight", "annotation_id", "class_scores")
    rows = zip(*(column.tolist() for column in columns), class_scores, strict=True)
    return [
        {**dict(zip(keys, row, strict=True)), "bbox_mode": BoxMode.XYXY_ABS, "iscrowd": int(weight == 0)}
        for row, weight in zip(rows, boxes.weights.tolist(), strict=True)
    ]


def _to_columns(boxes: LabeledBoxes) -> dict[str, Any]:
    found = {name: getattr(boxes, name) for name in _BOX_COLUMNS}
    return {"space": boxes.space, **{name: None if c is None else c.numpy() for name, c in found.items()}}


def _from_columns(columns: Mapping[str, Any]) -> LabeledBoxes:
    tensors = {name: None if columns[name] is None else torch.tensor(columns[name]) for name in _BOX_COLUMNS}
    return LabeledBoxes(space=columns["space"], **tensors)  # type: ignore[arg-type]


def _aligned(dataset: DetectionDataset, table: LabelTable) -> LabelTable:
    """The rows of a table for the images of a dataset, in their order."""
    if table.space.name == dataset.space.name:
        what = f"has labels in the label space of {dataset.name} itself"
        raise InputError(table.path, what, "give pseudo-labels in other label spaces")
    return table.select(table.index_of(dataset.labels.image_ids))


def _fingerprint(dataset: DetectionDataset, tables: Sequence[LabelTable]) -> str:
    """SHA-256 over the images folder and all labels."""
    digest = hashlib.sha256(str(dataset.images_dir.absolute()).encode("utf-8", "surrogatepass"))
    for table in (dataset.labels, *tables):
        digest.update(repr((table.space, table.file_names)).encode("utf-8", "surrogatepass"))
        for name in _HASHED:
            column = getattr(table, name)
            digest.update(name.encode() if column is None else np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _is_free(name: str, fingerprint: str) -> bool:
    """True if nothing is registered under the name, or the same content."""
    return name not in DatasetCatalog or MetadataCatalog.get(name).get("lat_fingerprint") == fingerprint


def _register(name: str, dataset: DetectionDataset, tables: Sequence[LabelTable], fingerprint: str) -> None:
    space = dataset.space
    if name in MetadataCatalog:  # left behind when a name was removed only from the other catalog
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, partial(_records, dataset, tables))
    MetadataCatalog.get(name).set(
        thing_classes=list(space.class_names),
        thing_dataset_id_to_contiguous_id={category_id: i for i, category_id in enumerate(space.category_ids)},
        label_space=space.name,
        lat_fingerprint=fingerprint,
    )
