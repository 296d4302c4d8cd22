"""Summarize a dataset and find all its problems, where `read_labels` raises the first ten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.core.remote import as_path
from lat.data.data_settings import DatasetSettings
from lat.data.dataset import missing_part, split_images, truth_mismatches, unseen_images
from lat.data.image_check import PartImages, Progress, check_images
from lat.data.near_duplicates import near_duplicates
from lat.data.shared_images import PartFiles, files_of_part, images_of_both, repeated_images
from lat.labels.coco.problems import Problem
from lat.labels.coco.scan import ImageList, LabelScan, class_list_mismatch
from lat.labels.mapped_classes import ClassMap, scan_mapped
from lat.labels.table import LabelTable

FEW_BOXES = 10
"""A class with fewer boxes than this is hardly learnt."""

_SIZES_LISTED, _PAIRS_LISTED = 3, 3


@dataclass(frozen=True)
class PartSummary:
    """Figures of one part of a dataset: `training`, `validation`, `test`, or `truth.SPACE`.

    `boxes_per_class` has every class of the label space, in its order; `image_sizes` is text, width x height.
    """

    part: str
    images: int
    boxes: int
    boxes_per_class: dict[str, int]
    image_sizes: str
    crowd_boxes: int
    empty_images: int


@dataclass(frozen=True)
class Repair:
    """A repair that `read_labels` makes in memory each time it reads a file, and how often."""

    file: Path
    what: str
    count: int


@dataclass(frozen=True)
class DatasetCheck:
    """The result of checking one dataset.

    Attributes:
        name: name of the dataset.
        parts: figures of each readable part, over its valid annotations.
        repairs: what is repaired in memory.
        problems: what must be corrected before the dataset can be used.
        notes: what is legal but rarely intended.
        space: the dataset's label space, if it could be read.
        truth_spaces: the label space of each truth file that could be read.
        files: the image files of its training and its validation part.
    """

    name: str
    parts: tuple[PartSummary, ...]
    repairs: tuple[Repair, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    space: LabelSpace | None
    truth_spaces: dict[str, LabelSpace]
    files: tuple[PartFiles, ...] = ()
    manifests: tuple[Path, ...] = ()


def check_datasets(
    datasets: Sequence[DatasetSettings], progress: Progress | None = None, *, write_manifests: bool = False
) -> tuple[DatasetCheck, ...]:
    """Check each dataset, and their consistency: names differ, truth files are in the label spaces they are named after.

    An image file that two datasets have is noted with the later of them.

    `progress` restarts from 0 with each dataset.
    """
    maps = {settings.name: settings.classes for settings in datasets}
    checks = [check_dataset(settings, progress, write_manifests=write_manifests, maps=maps) for settings in datasets]
    spaces = {check.name: check.space for check in checks}
    times = Counter(settings.name for settings in datasets)
    found = []
    for place, (settings, check) in enumerate(zip(datasets, checks, strict=True)):
        problems = list(check.problems)
        notes = [note for other in checks[:place] for note in images_of_both(other.name, check.files, other.files)]
        if times[settings.name] > 1:
            what = f"{times[settings.name]} datasets have the name {settings.name}"
            problems.append(Problem(as_path(settings.annotations), "", what, "rename one in the configuration"))
        for name, path in settings.truth.items():
            problems += _check_truth_space(settings, name, as_path(path), spaces, check.truth_spaces.get(name))
        found.append(replace(check, problems=tuple(problems), notes=(*check.notes, *notes)))
    return tuple(found)


def _check_truth_space(
    settings: DatasetSettings, name: str, path: Path, spaces: dict[str, LabelSpace | None], found: LabelSpace | None
) -> Iterator[Problem]:
    if name not in spaces:
        known = ", ".join(sorted(set(spaces) - {settings.name})) or "no other"
        yield Problem(path, f"truth of {settings.name}", f"there is no dataset {name!r}", f"the other datasets are {known}")
    elif found is not None and (wanted := spaces[name]) is not None and (what := class_list_mismatch(found, wanted)):
        yield Problem(path, "categories", what, "ids, names and order must be the same")


@dataclass
class _Findings:
    """Collects the findings of one dataset; `images` are those to check."""

    images: list[PartImages] = field(default_factory=list)
    files: list[PartFiles] = field(default_factory=list)
    parts: list[PartSummary] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    def add_images(self, part: str, labels: Path, folder: str, images: ImageList | LabelTable | None) -> None:
        if images is not None:
            self.images.append(PartImages(labels, as_path(folder), images))
            self.files.append(files_of_part(part, labels, as_path(folder), images))

    def add_part(self, part: str, table: LabelTable) -> None:
        summary = summarize(part, table)
        self.parts.append(summary)
        if not summary.boxes and part in ("training", "validation"):
            what = f"the {part} part has no boxes ({len(table)} images)"
            self.problems.append(Problem(table.path, "", what, "add annotations, or choose another split"))
        unused = [name for name, count in summary.boxes_per_class.items() if not count]
        if unused and summary.boxes:
            self.notes.append(Problem(table.path, "", f"the {part} part has no boxes of {', '.join(unused)}"))
        few = [f"{name} ({count})" for name, count in summary.boxes_per_class.items() if 0 < count < FEW_BOXES]
        if few and part == "training":
            what = f"fewer than {FEW_BOXES} boxes to learn from: {', '.join(few)}"
            self.notes.append(Problem(table.path, "", what, "add some, or expect labels of these classes to be poor"))

    def add_near_duplicates(self, looks: Mapping[PartImages, Mapping[str, np.ndarray]]) -> None:
        """Note images that are held out and look like ones that are trained on."""
        if not self.files or self.files[0].part != "training" or not (trained := looks[self.images[0]]):
            return
        names, known = list(trained), np.stack(list(trained.values()))
        for part in self.images[1:]:
            if not (held_out := looks[part]):
                continue
            others = list(held_out)
            pairs = list(near_duplicates(np.stack(list(held_out.values())), known))
            listed = "; ".join(f"{others[i]} like {names[j]}" for i, j in pairs[:_PAIRS_LISTED])
            if count := len({i for i, _ in pairs}):
                what = f"{count} held-out image{'s look' if count > 1 else ' looks'} like training images ({listed})"
                self.notes.append(Problem(part.labels, "", what, "figures on them are too good if they show the same scene"))


def check_dataset(
    settings: DatasetSettings,
    progress: Progress | None = None,
    *,
    write_manifests: bool = False,
    maps: Mapping[str, ClassMap] = MappingProxyType({}),
) -> DatasetCheck:
    """Read all files of a dataset and check all its images; collects problems instead of raising.

    Images of unused splits are not checked. If files are missing that a known command makes, only that is reported.
    With `write_manifests`, each labels file with images of its own gets a manifest of them. `maps` has the `classes` of every
    dataset: truth is read as the dataset of its label space is.
    """
    if missing := missing_part(settings):
        return DatasetCheck(settings.name, (), (), (missing,), (), None, {})
    findings = _Findings()
    scan = _scan(as_path(settings.annotations), settings.name, findings, settings.classes)
    space = None if scan.table is None else scan.table.space
    train = _check_annotations(scan, settings, findings)
    if settings.validation:
        validation = _scan(as_path(settings.validation), settings.name, findings, settings.classes, expect=space)
        if validation.table is not None:
            findings.add_part("validation", validation.table)
        folder = settings.validation_images or settings.images
        findings.add_images("validation", as_path(settings.validation), folder, validation.images)
    truth_spaces = _check_truth(settings, train, findings, maps)
    _check_test(settings, space, findings)
    findings.problems += repeated_images(findings.files)
    if train is not None and len(findings.files) < 2:
        what = "no images are held out: scores are not calibrated, and nothing says how good its detector is"
        findings.notes.append(Problem(train.path, "", what, f"add validation_fraction: 0.2 to datasets.{settings.name}"))
    images = check_images(findings.images, progress, write_manifests=write_manifests)
    findings.add_near_duplicates(images.looks)
    return DatasetCheck(
        name=settings.name,
        parts=tuple(findings.parts),
        repairs=tuple(findings.repairs),
        problems=(*findings.problems, *images.problems),
        notes=(*findings.notes, *images.notes),
        space=space,
        truth_spaces=truth_spaces,
        files=tuple(findings.files),
        manifests=images.manifests,
    )


def summarize(part: str, table: LabelTable) -> PartSummary:
    """The figures of one table."""
    counts = np.bincount(table.labels, minlength=len(table.space)).tolist()
    return PartSummary(
        part=part,
        images=len(table),
        boxes=table.num_boxes,
        boxes_per_class=dict(zip(table.space.class_names, counts, strict=True)),
        image_sizes=_describe_sizes(table.sizes_hw),
        crowd_boxes=int(table.is_crowd.sum()),
        empty_images=int((np.diff(table.offsets) == 0).sum()),
    )


def _describe_sizes(sizes_hw: np.ndarray) -> str:
    """Sizes as "640 x 480, 480 x 640", width first, or "320..1920 x 240..1080 (17 sizes)" if there are more than three."""
    distinct = np.unique(sizes_hw[(sizes_hw > 0).all(axis=1)], axis=0)[:, ::-1]
    if len(distinct) <= _SIZES_LISTED:
        return ", ".join(f"{width} x {height}" for width, height in distinct.tolist())
    low, high = distinct.min(axis=0), distinct.max(axis=0)
    return f"{low[0]}..{high[0]} x {low[1]}..{high[1]} ({len(distinct)} sizes)"


def _scan(path: Path, name: str, findings: _Findings, classes: ClassMap, expect: LabelSpace | None = None) -> LabelScan:
    scan = scan_mapped(path, name, classes, expect=expect)
    findings.problems += scan.problems
    if scan.table is not None:
        findings.repairs += [Repair(path, what, count) for what, count in scan.table.repairs.items()]
    return scan


def _check_annotations(scan: LabelScan, settings: DatasetSettings, findings: _Findings) -> LabelTable | None:
    """Add the parts of `annotations`; return the training part, or the whole file if it cannot be split."""
    table = scan.table
    if table is None:
        findings.add_images("training", as_path(settings.annotations), settings.images, scan.images)
        return None
    try:
        rows, held_out_rows = split_images(table, settings)
    except InputError as error:
        findings.problems.append(Problem(table.path, "", error.what, error.remedy))
        rows, held_out_rows = np.arange(len(table)), None
    unused = len(table) - len(rows) - (0 if held_out_rows is None else len(held_out_rows))
    if unused:
        what = f"{unused} of {len(table)} images are in no part because of their split"
        findings.notes.append(Problem(table.path, "", what))
    train = table.select(rows)
    held_out = None if held_out_rows is None else table.select(held_out_rows)
    for part, labels in (("training", train), ("validation", held_out)):
        if labels is not None:
            findings.add_part(part, labels)
            findings.add_images(part, labels.path, settings.images, labels)
    return train


def _check_truth(
    settings: DatasetSettings, train: LabelTable | None, findings: _Findings, maps: Mapping[str, ClassMap]
) -> dict[str, LabelSpace]:
    """Check the truth files, and that they have the training images; return their label spaces by name."""
    spaces = {}
    for name, file in settings.truth.items():
        if name == settings.name:
            continue  # see `_check_test`
        path = as_path(file)
        scan = _scan(path, name, findings, maps.get(name, {}))
        if scan.table is None:
            continue
        spaces[name] = scan.table.space
        findings.add_part(f"truth.{name}", scan.table)
        if train is not None:
            findings.problems += truth_mismatches(scan.table, train)
    return spaces


def _check_test(settings: DatasetSettings, space: LabelSpace | None, findings: _Findings) -> None:
    """Add the test part, if there is one."""
    if settings.name not in settings.truth:
        return
    path, folder = as_path(settings.truth[settings.name]), as_path(settings.validation_images or settings.images)
    scan = _scan(path, settings.name, findings, settings.classes, expect=space)
    if scan.table is None:
        return
    table = unseen_images(scan.table, folder, [files.ids_of for files in findings.files])
    findings.add_part("test", table)
    findings.images.append(PartImages(path, folder, table))
    if not table.num_boxes:
        what = "has no boxes on images that are in no other part"
        findings.problems.append(Problem(path, "", what, "name a file of test images"))
