"""Write a labels file and its images in another tool's layout, for training or for review and correction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lat.commands.ranked_doubt import most_doubtful, read_ranking
from lat.core.errors import InputError
from lat.data.dataset import DetectionDataset
from lat.engine.progress import track
from lat.formats.exports import FORMATS
from lat.formats.exports.layout import check_is_free, hash_images, new_folder, place_images, write_manifest
from lat.labels.coco.read import read_labels
from lat.labels.table import LabelTable, find_ids


@dataclass(frozen=True)
class ExportOptions:
    """What is exported in addition to one labels file, and how.

    Attributes:
        val: a second labels file, for validation.
        val_images: folder of its images; None for the folder of the others.
        layers: more labels files of the same images as the first, by name, for formats that hold several.
        copy: copy the images instead of linking them.
        min_score: leave out boxes with a lower score, except those of `layers`.
        most_doubtful: only so many images, those whose labels are the most doubtful by the run's report; None for all.
    """

    val: Path | None = None
    val_images: Path | None = None
    layers: Mapping[str, Path] = field(default_factory=dict)
    copy: bool = False
    min_score: float = 0.0
    most_doubtful: int | None = None


@dataclass(frozen=True)
class Content:
    """What is exported.

    Attributes:
        parts: datasets of one label space: `train`, and `val` if there is one.
        layers: more labels of exactly the images of `train`, by name, for formats that hold several.
        doubts: doubt of the labels of `train` by annotation id, for formats that can be read back.
    """

    parts: Mapping[str, DetectionDataset]
    layers: Mapping[str, LabelTable] = field(default_factory=dict)
    doubts: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportSummary:
    """What an export wrote, and what the format cannot represent, one line each."""

    images: int
    boxes: int
    losses: tuple[str, ...]


def export_files(labels: Path, images: Path, form: str, out: Path, options: ExportOptions | None = None) -> ExportSummary:
    """Read one labels file, or one for training and one for validation, and write them with their images as `export` does.

    Args:
        labels: a COCO labels file.
        images: the folder of its images.
        form: a key of `FORMATS`.
        out: the folder to create; it may exist if it is empty.
        options: the defaults of `ExportOptions` if not given.

    Raises:
        InputError: see `read_labels` and `export`; the two files must have the same categories.
    """
    options = options or ExportOptions()
    if form not in FORMATS:
        raise InputError("--to", f"is '{form}'", f"choose one of {', '.join(FORMATS)}")
    if options.val_images is not None and options.val is None:
        raise InputError("--val-images", "is given without --val", "name the labels file of the validation images")
    check_is_free(out)
    train, ranking = DetectionDataset(labels.stem, images, read_labels(labels, labels.stem)), read_ranking(labels)
    if options.most_doubtful is not None:
        chosen = np.array(most_doubtful(labels, ranking, options.most_doubtful), dtype=np.int64)
        train = train.select(train.labels.index_of(chosen))
    parts = {"train": train}
    if (val := options.val) is not None:
        held_out = read_labels(val, val.stem, expect=train.space)
        parts["val"] = DetectionDataset(val.stem, options.val_images or images, held_out)
    layers = {name: _read_layer(path, train.labels) for name, path in options.layers.items()}
    doubts = {} if ranking is None else ranking.boxes
    return export(Content(parts, layers, doubts), form, out, copy=options.copy, min_score=options.min_score)


def _read_layer(path: Path, images: LabelTable) -> LabelTable:
    """Labels of the same images as those of another table.

    Raises:
        InputError: if an image with the same id has another file name or size, or no image is the same.
    """
    table = read_labels(path, path.stem)
    indices, known = find_ids(images.image_ids, table.image_ids)
    names = np.array(table.file_names, dtype=object)[indices[known]] == np.array(images.file_names, dtype=object)[known]
    if not known.any() or not names.all() or (table.sizes_hw[indices[known]] != images.sizes_hw[known]).any():
        raise InputError(path, f"its images are not those of {images.path}", "name labels of the same images")
    return table.laid_over(images)


def export(content: Content, form: str, out: Path, *, copy: bool = False, min_score: float = 0.0) -> ExportSummary:
    """Write datasets of one label space with links to their images and a manifest, all of it or nothing.

    Args:
        content: what is written.
        form: a key of `FORMATS`.
        out: the folder to create; it may exist if it is empty.
        copy: copy the images instead of linking them.
        min_score: boxes with a lower score are left out, except those of layers.

    Raises:
        InputError: if `out` is not free, there are layers but the format holds a single set of labels, an image is missing or
            does not match the labels, there are no images, `min_score` is not in [0, 1], or the format cannot hold the images.
            Nothing is written then.
    """
    check_is_free(out)
    if content.layers and not FORMATS[form].has_layers:
        able = ", ".join(name for name, one in FORMATS.items() if one.has_layers)
        raise InputError("--with", f"is given, but {form} holds a single set of labels", f"leave it out, or choose --to {able}")
    if not 0.0 <= min_score <= 1.0:
        raise InputError("--min-score", f"is {min_score}", "choose a number from 0 to 1")
    for dataset in content.parts.values():
        if not len(dataset):
            raise InputError(dataset.labels.path, "has no images", "name a labels file with images")
    chosen = {name: replace(part, labels=part.labels.at_least(min_score)) for name, part in content.parts.items()}
    splits = [replace(split, min_score=min_score) for split in FORMATS[form].arrange(chosen)]
    splits = [
        replace(split, layers=content.layers, doubts=content.doubts) if split.name == "train" else split for split in splits
    ]
    with track(sum(map(len, chosen.values())), "check images") as progress:
        hashes = [hash_images(split.dataset, progress.advance) for split in splits]
    with new_folder(out) as folder:
        FORMATS[form].write(folder, splits)
        for split in splits:
            place_images(folder, split, copy=copy, keep_jpegs_whole=FORMATS[form].keeps_jpegs_whole)
        write_manifest(folder, form, splits, hashes, min_score)
    parts = list(chosen.values())
    left_out = sum(part.labels.num_boxes for part in content.parts.values()) - sum(part.labels.num_boxes for part in parts)
    losses = [f"{left_out} box{'es' * (left_out != 1)} below a score of {min_score:g} left out"] if left_out else []
    images, boxes = sum(map(len, parts)), sum(part.labels.num_boxes for part in parts)
    return ExportSummary(images, boxes, (*losses, *FORMATS[form].losses(parts)))
