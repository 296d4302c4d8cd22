"""YOLO: one text file per image, one line `class cx cy w h` per box, as shares of the image's width and height."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.data.dataset import DetectionDataset
from lat.formats.exports.layout import ExportFormat, Split, plain_names
from lat.labels.table import LabelTable

DECIMALS = 8
"""Of a share: a corner is off by at most 0.0075 pixels in an image a million pixels wide."""

SUFFIXES = frozenset((".avif", ".bmp", ".dng", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"))
"""Image files that Ultralytics reads; it silently skips others."""

_NO_VALIDATION = "# no validation part was exported; `val` is required and names the training images\n"


def arrange(datasets: Mapping[str, DetectionDataset]) -> list[Split]:
    """Images at `images/PART/NAME`, one flat folder per part: readers find labels by the last `/images/` in the path.

    Raises:
        InputError: if an image has a suffix that YOLO readers skip.
    """
    splits = []
    for name, dataset in datasets.items():
        for image_id, file_name in zip(dataset.labels.image_ids.tolist(), dataset.labels.file_names, strict=True):
            if PurePosixPath(file_name).suffix.lower() not in SUFFIXES:
                what = f"image {image_id} is '{file_name}', a kind of file that YOLO readers skip"
                raise InputError(dataset.labels.path, what, "convert it to PNG or JPEG")
        (names,) = plain_names([dataset])
        splits.append(Split(name, dataset, tuple(f"images/{name}/{plain}" for plain in names)))
    return splits


def write(folder: Path, splits: Sequence[Split]) -> None:
    """Write `labels/PART/*.txt` and `data.yaml`, in which paths are relative to the folder, so that it can be moved."""
    for split in splits:
        write_label_files(folder, split)
    parts = {split.name: f"images/{split.name}" for split in splits}
    write_data_yaml(folder, splits[0].dataset.space, parts["train"], parts.get("val"))


def write_label_files(folder: Path, split: Split) -> None:
    """Write one text file per image of a split, empty for an image without boxes; crowd boxes are left out."""
    (folder / "labels" / split.name).mkdir(parents=True, exist_ok=True)
    table = split.dataset.labels.where(~split.dataset.labels.is_crowd)
    lines = box_lines(table)
    for i, image in enumerate(split.images):
        path = folder / PurePosixPath("labels", *PurePosixPath(image).parts[1:]).with_suffix(".txt")
        path.write_text("".join(lines[table.rows(i)]), encoding="utf-8")


def write_data_yaml(folder: Path, space: LabelSpace, train: str, val: str | None) -> None:
    """Write `data.yaml`: names by class index, and where the images of each part are, relative to the folder."""
    content = {"train": train, "val": val or train, "names": dict(enumerate(space.class_names))}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(("" if val else _NO_VALIDATION) + text, encoding="utf-8")


def box_lines(table: LabelTable) -> list[str]:
    """One line, with its line end, per annotation (A,) of a table."""
    sizes = np.repeat(table.sizes_hw[:, ::-1], np.diff(table.offsets), axis=0).astype(np.float64)
    corners = table.boxes_xyxy.astype(np.float64)
    shares = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2 / sizes, (corners[:, 2:] - corners[:, :2]) / sizes], axis=1)
    rows = zip(table.labels.tolist(), shares.tolist(), strict=True)
    return [f"{label} " + " ".join(f"{share:.{DECIMALS}f}" for share in box) + "\n" for label, box in rows]


def losses(datasets: Sequence[DetectionDataset]) -> list[str]:
    """Scores and crowd boxes."""
    lines = []
    crowd = sum(int(dataset.labels.is_crowd.sum()) for dataset in datasets)
    if crowd:
        lines.append(f"{crowd} crowd boxes are left out; what they cover counts as background")
    uncertain = sum(int((dataset.labels.scores < 1).sum()) for dataset in datasets)
    if uncertain:
        lines.append(f"{uncertain} boxes lose their scores and count as certain; see --min-score")
    return lines


FORMAT = ExportFormat(arrange, write, losses, keeps_jpegs_whole=True, train_with="yolo detect train data={out}/data.yaml")
