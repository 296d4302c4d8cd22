"""Write the configuration of a new run, with settings that suit its datasets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from lat.commands.found_dataset import found_dataset
from lat.commands.proposed_training import propose
from lat.config.load import load_config
from lat.config.places import path_from, seen_from
from lat.core.errors import InputError, did_you_mean
from lat.core.files import write_atomically
from lat.core.remote import as_path, is_file, name_of
from lat.data.data_settings import DatasetSettings
from lat.data.dataset import existing_folder, load_dataset, split_images
from lat.engine.machine import Machine, this_machine
from lat.labels.coco.read import read_labels
from lat.labels.table import LabelTable
from lat.workspace.time_estimate import Counted, estimate

SMALL_OBJECT = 10  # pixels that the shorter side of a small object should keep
SMALL_SHARE = 0.05  # share of boxes that count as small
LEAST_SIZE, MOST_SIZE, SIZE_STEP = 256, 800, 32  # of a proposed image size, in pixels
HELD_OUT_SHARE, LEAST_IMAGES = 0.2, 20  # share of a dataset's images to hold out, if it has that many
_CLASSES_LISTED = 12
_SPLITS = (("train", "training"), ("val", "valid", "validation", "dev"))

_HEADER = """\
# A run of lat. Paths count from the folder of this file.
# Next:    lat check {path}    (every problem in images and files)
#          lat run {path}      (every stage; it can be stopped at any time, and the same command resumes it)
# Settings that are not named here have their defaults; `lat schema > lat.schema.json` describes all of them for editors.
output_dir: {output_dir}
seed: 0
target: {target} # {reason}
rounds: {{count: 1}} # one more round, with detectors trained on the transferred labels of the first; 0 for none
datasets:
"""

_TRAINING = """\
upstream:
  model: {{backbone: efficientnet_lite0, weights: pretrained, image_size: {size}}} # {what}
  # Steps and images per step are for {machine}, the learning rate for pretrained weights; small, which has none, takes 0.004.
  training: {{steps: {one.upstream}, batch_size: {one.batch_size}, learning_rate: 0.001}}
lat: {{training: {{steps: {one.label_transfer}, batch_size: {one.label_transfer_batch}}}}}
downstream:
  model: {{image_size: {size}}}
  training: {{steps: {one.downstream}, batch_size: {one.batch_size}}}
"""

_GPU = """\
# On a GPU, larger models that train longer are better; for a start, in place of the sections above:
# training: {{warmup_steps: 1000}}
# upstream:
#   model: {{backbone: resnet50, weights: pretrained, image_size: {gpu_size}}} # weights may also be a file
#   training: {{steps: 20000, batch_size: 16, optimizer: sgd, learning_rate: 0.02}}
# lat:
#   backbone: {{name: dinov2_vitb14, weights: pretrained, image_size: 518}} # weights may also be a file
#   training: {{steps: 10000, batch_size: 16}}
"""


@dataclass(frozen=True)
class _Look:
    """What was found in a dataset: the settings to write, its labels, how many images are for what, and the size they need."""

    settings: DatasetSettings
    table: LabelTable
    counted: Counted
    size_needed: int

    @property
    def shorter_side(self) -> int:
        return int(np.median(self.table.sizes_hw.min(axis=1)))

    @property
    def small_box(self) -> float:
        return _small_box(self.table)


@dataclass(frozen=True)
class Written:
    """What a new configuration makes a run do.

    Attributes:
        target: name of the dataset to whose label space all others are moved, or all.
        machine: what steps, image size and batches were chosen for.
        seconds: about how long each stage takes there.
    """

    target: str
    machine: Machine
    seconds: Mapping[str, float]


def require_free(path: Path, *, force: bool) -> None:
    """Raise an `InputError` if there is a file of this name that may not be replaced."""
    if path.exists() and not force:
        raise InputError(path, "already exists", "name another file with --out, or replace it with --force")


def require_target(names: Sequence[str], target: str) -> None:
    """Raise an `InputError` unless this is one of the datasets, all, or empty."""
    if target not in ("", "all", *names):
        raise InputError("--target", f"there is no dataset '{target}'", did_you_mean(target, [*names, "all"]))


def too_few(names: Sequence[str]) -> tuple[str, str]:
    """What is missing where fewer than two datasets are named, and where a second may come from."""
    what = f"names {f'{names[0]} alone' if names else 'none'}, and labels move between two datasets"
    remedy = "name another; a promptable model makes one of a folder of images: lat label IMAGES --prompts FILE --out LABELS.json"
    return what, f"{remedy}, then NAME=IMAGES,LABELS.json"


def parse_dataset(text: str) -> DatasetSettings:
    """A dataset from `NAME=IMAGES,ANNOTATIONS[,VALIDATION[,VALIDATION_IMAGES]]`, or from `NAME=FOLDER`; see `found_dataset`.

    Raises:
        InputError: if the text has another form, the name is not allowed, or the folder holds no dataset.
    """
    name, equals, paths = text.partition("=")
    parts = [part.strip() for part in paths.split(",")]
    if not equals or len(parts) > 4 or not all(parts):
        forms = "NAME=FOLDER, or NAME=IMAGES,ANNOTATIONS and, held out, ,VALIDATION or ,VALIDATION,VALIDATION_IMAGES"
        raise InputError("--dataset", f"is '{text}'", f"write {forms}")
    if len(parts) == 1:
        return found_dataset(name.strip(), Path(parts[0]))
    images, annotations, validation, validation_images = (*parts, "", "")[:4]
    return DatasetSettings(name.strip(), images, annotations, validation, validation_images=validation_images)


def write_config(
    path: Path, datasets: Sequence[DatasetSettings], *, target: str = "", output_dir: str = "", force: bool = False
) -> Written:
    """Inspect the datasets and write a commented YAML file that `lat check` accepts, with settings that suit this machine.

    Args:
        path: the file to write.
        datasets: two or more.
        target: name of the dataset to whose label space all others are moved, or all; by default the one with fewest images.
        output_dir: where the run writes; by default `runs/` and the name of the file, in its folder.
        force: overwrite an existing file.

    Raises:
        InputError: if a file or folder is missing or wrong, a name is used twice, or `path` exists and `force` is false.
    """
    require_free(path, force=force)
    names = [settings.name for settings in datasets]
    if repeated := next((name for name in names if names.count(name) > 1), ""):
        raise InputError("--dataset", f"names {repeated} twice", "give each dataset its own name")
    if len(names) < 2:
        raise InputError("--dataset", *too_few(names))
    require_target(names, target)
    looks = [_look(settings) for settings in datasets]
    chosen = target or min(looks, key=lambda look: len(look.table)).settings.name
    reason = "the others' labels are moved to its label space" if target else "the dataset with the fewest images"
    reason += "; a list of names, or all, is possible too"
    place = path_from(path.parent, output_dir) if output_dir else f"runs/{path.stem}"
    head = _HEADER.format(path=path, output_dir=_text(place), target=_text(chosen), reason=reason)
    machine = this_machine()
    content = head + "".join(_describe(look, path.parent) for look in looks) + _training(looks, machine)
    gpu_size = max(MOST_SIZE, min(1333, max(look.size_needed for look in looks)))
    write_atomically(path, content + _GPU.format(gpu_size=gpu_size))
    seconds = estimate(load_config(path), {look.settings.name: look.counted for look in looks}, machine)
    return Written(chosen, machine, seconds)


def _look(settings: DatasetSettings) -> _Look:
    table = read_labels(as_path(settings.annotations), settings.name)
    folder = existing_folder(as_path(settings.images))
    if not any(is_file(folder / name) for name in table.file_names):
        first = f"such as {table.file_names[0]!r}" if len(table) else "which names none"
        raise InputError(
            name_of(folder),
            f"has none of the images of {name_of(table.path)}, {first}",
            "name the folder that its file names are relative to",
        )
    if not settings.validation:
        settings = _with_held_out(_with_split(settings, table), table)
    return _Look(settings, table, Counted.of(*load_dataset(settings)), _size_needed(table))


def _with_split(settings: DatasetSettings, table: LabelTable) -> DatasetSettings:
    """The same dataset with the parts that the key `split` of its images names, if these have boxes."""
    found = [next((one for one in sorted(set(table.splits)) if one.lower() in names), "") for names in _SPLITS]
    return _if_sound(replace(settings, split=found[0], validation_split=found[1])) or settings


def _with_held_out(settings: DatasetSettings, table: LabelTable) -> DatasetSettings:
    """The same dataset with a share of its images held out, if it has enough and no other, and both parts have boxes."""
    if settings.validation_split or len(split_images(table, settings)[0]) < LEAST_IMAGES:
        return settings
    return _if_sound(replace(settings, validation_fraction=HELD_OUT_SHARE)) or settings


def _if_sound(settings: DatasetSettings) -> DatasetSettings | None:
    """A dataset that can be read, or None."""
    try:
        load_dataset(settings)
    except InputError:
        return None
    return settings


def _small_box(table: LabelTable) -> float:
    """The shorter side, in pixels, that few boxes fall below."""
    sides = (table.boxes_xyxy[:, 2:] - table.boxes_xyxy[:, :2]).min(axis=1)
    return float(np.quantile(sides, SMALL_SHARE)) if len(sides) else math.inf


def _size_needed(table: LabelTable) -> int:
    """The shorter side of an image, in pixels and in steps, at which small objects keep enough pixels; at most its own."""
    own = int(np.median(table.sizes_hw.min(axis=1)))
    wanted = max(own * SMALL_OBJECT / max(_small_box(table), 1.0), LEAST_SIZE)
    return min(math.ceil(wanted / SIZE_STEP) * SIZE_STEP, own)


def _describe(look: _Look, folder: Path) -> str:
    """The entry of one dataset in a file of this folder, with what was found in it as comments."""
    counts = np.bincount(look.table.labels, minlength=len(look.table.space)).tolist()
    ranked = sorted(zip(look.table.space.class_names, counts, strict=True), key=lambda pair: -pair[1])
    listed = ", ".join(f"{_plain(name)} {count}" for name, count in ranked[:_CLASSES_LISTED])
    more = f", and {len(ranked) - _CLASSES_LISTED} more classes" if len(ranked) > _CLASSES_LISTED else ""
    settings, entry = look.settings, _seen_from(folder, look.settings)
    lines = [
        f"  - name: {_text(settings.name)} # {len(look.table)} images, {look.table.num_boxes} boxes",
        f"    # boxes: {listed}{more}",
        f"    images: {_text(entry.images)}",
        f"    annotations: {_text(entry.annotations)}",
    ]
    use = "to score detectors and calibrate labels"
    if settings.split:
        lines.append(f"    split: {_text(settings.split)} # value of the key `split` of the images to train on")
    if settings.validation_split:
        lines.append(f"    validation_split: {_text(settings.validation_split)} # of those held out, {use}")
    if settings.validation:
        lines.append(f"    validation: {_text(entry.validation)} # {use}")
        lines += [f"    validation_images: {_text(entry.validation_images)}"] if settings.validation_images else []
    elif settings.validation_fraction:
        lines.append(f"    validation_fraction: {settings.validation_fraction:g} # share to hold out, {use}")
    elif not settings.validation_split:
        lines.append(f"    # validation: FILE.json # held-out images, {use}; too few here to hold any out")
    return "\n".join(lines) + "\n"


def _seen_from(folder: Path, settings: DatasetSettings) -> DatasetSettings:
    (entry,) = seen_from(folder, {"datasets": [asdict(settings)]})["datasets"]
    return DatasetSettings(**entry)


def _image_size(looks: Sequence[_Look]) -> int:
    """The shorter side to which images are resized; 0 keeps their own size."""
    needed = max(look.size_needed for look in looks)
    return 0 if all(needed >= look.shorter_side for look in looks) else min(needed, MOST_SIZE)


def _training(looks: Sequence[_Look], machine: Machine) -> str:
    """The sections that set image size, steps and batches, and the reason for them."""
    size = _image_size(looks)
    lines = [f"# Small objects should keep about {SMALL_OBJECT} pixels. The shorter side of 19 out of 20 boxes is at least:"]
    for look in looks:
        kept = f", {look.small_box * size / look.shorter_side:.0f} as seen" if size else ""
        lines.append(f"#   {look.settings.name}: {look.small_box:.0f} pixels in images {look.shorter_side} high or wide{kept}")
    what = "0 keeps the images' own size" if not size else "shorter side in pixels; 0 keeps the images' own size"
    images = [look.counted.train for look in looks]
    proposal = propose(machine, images, max(look.counted.megapixels(size) for look in looks))
    return "\n".join(lines) + "\n" + _TRAINING.format(size=size, what=what, machine=machine, one=proposal)


def _text(value: str) -> str:
    """A string as YAML on one line, quoted where it must be."""
    return yaml.safe_dump(value, allow_unicode=True, width=math.inf).splitlines()[0]


def _plain(name: str) -> str:
    """A class name that cannot end the comment it stands in."""
    return name if name.isprintable() else repr(name)
