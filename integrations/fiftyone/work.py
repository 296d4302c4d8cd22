"""What the operators do, by functions of `lat` alone: no FiftyOne is imported, so any dataset with its methods will do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lat.commands.compare import check_folders, compare_files, write_comparison
from lat.commands.import_corrections import CorrectionOptions, import_corrections, reviewed_path
from lat.core.errors import InputError
from lat.engine.announce import speaking
from lat.formats.exports.columns import MIN_SCORE
from lat.formats.exports.fiftyone import detections, field_of
from lat.labels.coco.read import read_labels
from lat.report.comparison import count_disagreements

DISAGREEMENTS = "disagreements"
_KEPT = ("label", "bounding_box", "annotation_id", "iscrowd")  # what corrections are read from


def show_labels(dataset: Any, labels: Path, make: Callable[[Mapping[str, Any]], Any], field: str = "") -> dict[str, Any]:
    """Show a labels file as a field of the samples whose images it has; their boxes know their annotation ids.

    Args:
        dataset: samples with `filepath`, and where they come from `lat` with `file_name`.
        labels: a COCO labels file.
        make: makes `Detections` of their JSON form, as `fiftyone.Detections.from_dict` does.
        field: its name; by default `transferred`, `pseudo` or `ground_truth`, by the file's method.

    Returns:
        `field`, and how many `samples` and `boxes` have it now.

    Raises:
        InputError: if the file is wrong, or no sample is one of its images.
    """
    table = read_labels(labels, labels.stem)
    field, boxes, shown = field or field_of(table), 0, 0
    for sample, i in _matched(dataset, table.file_names, labels):
        sample["image_id"], sample["file_name"] = int(table.image_ids[i]), table.file_names[i]
        sample[field] = make(found := detections(table, i))
        sample.save()
        boxes, shown = boxes + len(found["detections"]), shown + 1
    return {"field": field, "samples": shown, "boxes": boxes}


def compare_labels(dataset: Any, files: tuple[Path, Path], out: Path, images: Path | None = None) -> dict[str, Any]:
    """Compare two labels files as `lat compare` does, and count the disagreements on each sample in the field `disagreements`.

    Args:
        dataset: samples; see `show_labels`.
        files: two COCO files, whatever their class lists.
        out: the folder for the figures, and for the page if there are images; see `check_folders`.
        images: the folder of the images of the first file, or None.

    Returns:
        `matched`, `mean_iou` and `alpha` of `lat compare`, the `samples` that have the field, and what was `written`.

    Raises:
        InputError: as for `lat compare`, or if no sample is one of the images.
    """
    check_folders(out, images)
    with speaking(quiet=True):
        comparison = compare_files(*files)
        counts, shown = count_disagreements(comparison.found).tolist(), 0
        for sample, i in _matched(dataset, comparison.found.first.file_names, files[0]):
            sample[DISAGREEMENTS] = counts[i]
            sample.save()
            shown += 1
        write_comparison(comparison, out, images)
    figures = {key: comparison.figures[key] for key in ("matched", "mean_iou", "alpha")}
    return {**figures, "samples": shown, "written": str(out / "index.html" if images else out / "compare.json")}


def send_back(dataset: Any, labels: Path, field: str = "", *, allow_deletions: bool = False) -> dict[str, Any]:
    """Write what a person corrected in a field as `NAME.reviewed.json` beside the labels, which their run then uses.

    Args:
        dataset: samples; those without the field are left as they are in the file.
        labels: the labels file that the field was made of.
        field: its name; by default that of `show_labels`.
        allow_deletions: whether any number of boxes may have been deleted.

    Returns:
        How many boxes were `accepted`, `changed`, `added` and `deleted`, and the file that was `written`.

    Raises:
        InputError: as for `lat import fiftyone`, or if no sample has the field.
    """
    field = field or field_of(read_labels(labels, labels.stem))
    samples = [found for sample in dataset if (found := _sent(sample, field)) is not None]
    if not samples:
        raise InputError("field", f"'{field}' is on no sample", "show the labels first, or name the field that was corrected")
    with TemporaryDirectory() as folder, speaking(quiet=True):
        place = Path(folder) / "samples.json"
        place.write_text(json.dumps({"samples": samples}), encoding="utf-8")
        merged, _ = import_corrections("fiftyone", place, labels, None, CorrectionOptions(field, None, allow_deletions))
    counts = {key: getattr(merged, key) for key in ("accepted", "changed", "added", "deleted")}
    return {**counts, "written": str(reviewed_path(labels))}


def _sent(sample: Any, field: str) -> dict[str, Any] | None:
    """A sample as FiftyOne exports it, as far as corrections are read; None if it has no such field."""
    found = _value(sample, field)
    if found is None:
        return None
    boxes = [{key: one[key] for key in _KEPT if one.get(key) is not None} for one in found.to_dict()["detections"]]
    known = {key: _value(sample, key) for key in ("image_id", "file_name", MIN_SCORE)}
    content = {key: value for key, value in known.items() if value is not None}
    return {"filepath": sample["filepath"], **content, field: {"_cls": "Detections", "detections": boxes}}


def _value(sample: Any, field: str) -> Any:
    return sample[field] if field in sample.field_names else None


def _matched(dataset: Iterable[Any], names: tuple[str, ...], labels: Path) -> Iterator[tuple[Any, int]]:
    """Samples that are images of a labels file, and which: by `file_name`, or else by the end of their paths.

    Raises:
        InputError: if there is none.
    """
    index, is_any = {name: i for i, name in enumerate(names)}, False
    for sample in dataset:
        parts = Path(sample["filepath"]).parts
        ends = (_value(sample, "file_name"), *("/".join(parts[start:]) for start in range(1, len(parts))))
        place = next((index[end] for end in ends if end in index), None)
        if place is not None:
            is_any = True
            yield sample, place
    if not is_any:
        raise InputError(labels, "has no image that is a sample of this dataset", "open the dataset of its images")
