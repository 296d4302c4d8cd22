"""Outside label sets: labels from a promptable model, an older detector or an annotator for the images of some datasets.

A label set has its own label space, but no images, no detector and no ground truth. Its files are COCO JSON, or lists of
detections as in COCO results files: {"image_id", "category_id", "bbox", "score"}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from lat.core.label_space import LabelSpace
from lat.core.remote import as_path, name_of
from lat.data.data_settings import DatasetSettings, LabelSetSettings
from lat.data.dataset_check import DatasetCheck, PartSummary, Repair, summarize
from lat.labels.coco.problems import Problem, load_json, raise_problems
from lat.labels.coco.root_category import without_root
from lat.labels.coco.scan import LabelScan, read_space, scan_document, scan_labels
from lat.labels.table import LabelTable, find_ids


@dataclass(frozen=True, eq=False)
class LabelSet:
    """A label space, and a table in it for each dataset that the set labels; tables may omit images without labels."""

    space: LabelSpace
    tables: Mapping[str, LabelTable]


def load_label_set(settings: LabelSetSettings, images: Mapping[str, LabelTable]) -> LabelSet:
    """Read an outside label set.

    Args:
        settings: where it is.
        images: for each dataset that it labels, a table of all images of its annotations file.

    Raises:
        InputError: if a file is missing or wrong (see `read_labels`), has another class list than the label set, or names an
            image that the dataset lacks or has under another file name or size.
    """
    problems: list[Problem] = []
    space = _read_class_list(settings, problems)
    raise_problems(settings.class_list_path, problems)
    assert space is not None
    tables = {}
    for dataset, file in settings.files.items():
        scan = _scan_file(as_path(file), space, images[dataset])
        raise_problems(as_path(file), scan.problems)
        assert scan.table is not None
        tables[dataset] = scan.table
    return LabelSet(space, tables)


def check_label_set(settings: LabelSetSettings, datasets: Sequence[DatasetSettings]) -> DatasetCheck:
    """Check a label set; datasets whose own annotations cannot be read are skipped."""
    problems: list[Problem] = []
    parts: list[PartSummary] = []
    repairs: list[Repair] = []
    space = _read_class_list(settings, problems)
    for dataset in datasets:
        images = scan_labels(as_path(dataset.annotations), dataset.name).table if dataset.name in settings.files else None
        if space is None or images is None:
            continue
        path = as_path(settings.files[dataset.name])
        scan = _scan_file(path, space, images)
        problems += scan.problems
        if scan.table is not None:
            parts.append(summarize(f"images of {dataset.name}", scan.table))
            repairs += [Repair(path, what, count) for what, count in scan.table.repairs.items()]
    name = f"label set {settings.name}"
    return DatasetCheck(name, tuple(parts), tuple(repairs), tuple(problems), notes=(), space=space, truth_spaces={})


def _read_class_list(settings: LabelSetSettings, problems: list[Problem]) -> LabelSpace | None:
    path = settings.class_list_path
    document = load_json(path, problems, (dict, list))
    if isinstance(document, list) and not settings.categories:
        remedy = f"name a file that has one as label_sets.{settings.name}.categories"
        problems.append(Problem(path, "", "is a list of detections, which has no class list", remedy))
        return None
    if isinstance(document, list):
        document = {"categories": document}
    return None if document is None else read_space(path, without_root(document)[0], settings.name, None, problems)


def _scan_file(path: Path, space: LabelSpace, images: LabelTable) -> LabelScan:
    """Read a file of labels in `space` for some of `images`, collecting every problem."""
    problems: list[Problem] = []
    document = load_json(path, problems, (dict, list))
    if isinstance(document, list):
        document = _as_document(path, document, space, images, problems)
    if document is None:
        return LabelScan(None, None, tuple(problems))
    scan = scan_document(path, document, space.name, expect=space)
    if scan.table is not None:
        problems += _image_mismatches(scan.table, images)
    return replace(scan, problems=(*scan.problems, *problems))


def _as_document(
    path: Path, detections: list[Any], space: LabelSpace, images: LabelTable, problems: list[Problem]
) -> dict[str, Any]:
    """A list of detections as COCO JSON with ids counted from 1; reports those on unknown images."""
    known = set(images.image_ids.tolist())
    annotations = []
    for number, detection in enumerate(detections, start=1):
        row = {**detection, "id": number, "area": 0, "iscrowd": 0} if isinstance(detection, dict) else detection
        image_id = row.get("image_id") if isinstance(row, dict) else None
        if type(image_id) is int and image_id not in known:
            what = f"image {image_id} is not in {name_of(images.path)}"
            problems.append(Problem(path, f"detection {number}", what, "correct or remove it"))
        else:
            annotations.append(row)
    return {"images": images.image_entries(), "categories": space.categories(), "annotations": annotations}


def _image_mismatches(labels: LabelTable, images: LabelTable) -> list[Problem]:
    """The images of a file that the dataset lacks, or has under another file name (ignoring folders) or size."""
    places, known = find_ids(labels.image_ids, images.image_ids)
    problems = []
    for i, (j, is_known) in enumerate(zip(places.tolist(), known.tolist(), strict=True)):
        item = f"image {labels.image_ids[i]}"
        if not is_known:
            problems.append(
                Problem(labels.path, item, f"is not in {name_of(images.path)}", "label the images of that dataset, by its ids")
            )
            continue
        names = (PurePosixPath(table.file_names[k]).name for table, k in ((labels, i), (images, j)))
        if len(set(names)) > 1 or (labels.sizes_hw[i] != images.sizes_hw[j]).any():
            what = f"has another file name or size than in {name_of(images.path)}"
            problems.append(Problem(labels.path, item, what, "label the images of that dataset, by its ids"))
    return problems
