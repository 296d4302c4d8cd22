"""A dataset as models see it: images, labels, and the held-out part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from lat.core.errors import InputError, looked_for
from lat.core.label_space import LabelSpace
from lat.core.remote import as_path, is_folder, is_url, name_of
from lat.data.data_settings import DatasetSettings
from lat.data.images import read_image
from lat.data.shared_images import files_of_part, repeated_images
from lat.labels.coco.problems import Problem, raise_problems
from lat.labels.mapped_classes import ClassMap, read_mapped
from lat.labels.table import LabelTable, find_ids

if TYPE_CHECKING:  # reading labels and paths needs no torch
    from torch import Tensor

    from lat.core.structures import LabeledBoxes


@dataclass(frozen=True, eq=False)
class DetectionDataset:
    """Images of one folder with their labels.

    Image i is (3, H, W) float32 RGB in [0, 1]; its boxes are in pixels of that image.
    """

    name: str
    images_dir: Path
    labels: LabelTable

    @property
    def space(self) -> LabelSpace:
        return self.labels.space

    @property
    def labels_files(self) -> tuple[Path, ...]:
        """The files that the labels come from."""
        return (self.labels.path,)

    def __len__(self) -> int:
        return len(self.labels)

    def image_path(self, i: int) -> Path:
        """The file of image `i`; of a remote one, the place of its copy (see `lat.core.remote`)."""
        return self.images_dir / self.labels.file_names[i]

    def size_hw(self, i: int) -> tuple[int, int]:
        """Height and width of image `i` in pixels, as the labels file has them."""
        height, width = self.labels.sizes_hw[i].tolist()
        return height, width

    def image(self, i: int) -> Tensor:
        """Decode image `i` as (3, H, W) float32 RGB in [0, 1].

        Raises:
            InputError: if the file is missing, cannot be decoded, or its size differs from the labels file.
        """
        from lat.data.tensors import unit_range

        return unit_range(self.pixels(i))

    def pixels(self, i: int) -> Tensor:
        """Decode image `i` as (3, H, W) uint8 RGB, channels last in memory; raises as `image` does."""
        import torch

        return torch.from_numpy(read_image(self.image_path(i), self.size_hw(i))).permute(2, 0, 1)

    def boxes(self, i: int) -> LabeledBoxes:
        """The boxes of image `i`, including crowd boxes with weight 0."""
        from lat.data.tensors import boxes_of

        return boxes_of(self.labels, i)

    def select(self, images: np.ndarray) -> DetectionDataset:
        """The dataset reduced to these images, given as indices (J,), whose order it takes, or as a mask (I,) bool."""
        return DetectionDataset(self.name, self.images_dir, self.labels.select(images))


def missing_part(settings: DatasetSettings) -> Problem | None:
    """The first missing file or folder of a dataset, with the command that makes it, if the settings name one."""
    if not settings.made_by:
        return None
    parts = (settings.annotations, settings.validation, settings.images, settings.validation_images)
    missing = next((Path(part) for part in parts if part and not is_url(part) and not Path(part).exists()), None)
    return None if missing is None else Problem(missing, "", "is not there", f"make it with `{settings.made_by}`")


def load_dataset(settings: DatasetSettings) -> tuple[DetectionDataset, DetectionDataset | None]:
    """Read the training part of a dataset, and its validation part or None. No image is opened.

    Raises:
        InputError: if a folder is missing, a file is wrong (see `read_labels`), a part has no boxes, or an image file stands in
            both parts or twice in one.
    """
    if missing := missing_part(settings):
        raise InputError(missing.file, missing.what, missing.remedy)
    images_dir = existing_folder(as_path(settings.images))
    table = read_mapped(as_path(settings.annotations), settings.name, settings.classes)
    train_rows, held_out_rows = split_images(table, settings)
    train = DetectionDataset(settings.name, images_dir, table.select(train_rows))
    validation = None
    if settings.validation:
        validation_dir = existing_folder(as_path(settings.validation_images or settings.images))
        labels = read_mapped(as_path(settings.validation), settings.name, settings.classes, expect=table.space)
        validation = DetectionDataset(settings.name, validation_dir, labels)
    elif held_out_rows is not None:
        validation = DetectionDataset(settings.name, images_dir, table.select(held_out_rows))
    parts = [("training", train), *([] if validation is None else [("validation", validation)])]
    for part, dataset in parts:
        if not dataset.labels.num_boxes:
            what = f"the {part} part of {settings.name} has no boxes ({len(dataset)} images)"
            raise InputError(name_of(dataset.labels.path), what, "add annotations, or choose another split")
    files = [files_of_part(part, one.labels.path, one.images_dir, one.labels) for part, one in parts]
    if repeated := list(repeated_images(files)):
        raise_problems(repeated[0].file, repeated)
    return train, validation


def load_test(settings: DatasetSettings, parts: Sequence[DetectionDataset]) -> DetectionDataset | None:
    """Read the test part of a dataset, or None if it has none. Nothing is trained on it, fitted to it or chosen by it.

    Args:
        settings: the truth in the dataset's own label space names the file; images are found where those of validation are.
        parts: the other parts of the dataset, training first; their images are left out.

    Raises:
        InputError: if the folder is missing, the file is wrong, or it has no box on an image that is in no other part.
    """
    if settings.name not in settings.truth:
        return None
    folder = existing_folder(as_path(settings.validation_images or settings.images))
    table = read_mapped(as_path(settings.truth[settings.name]), settings.name, settings.classes, expect=parts[0].space)
    files = (files_of_part("", part.labels.path, part.images_dir, part.labels).ids_of for part in parts)
    labels = unseen_images(table, folder, files)
    if not labels.num_boxes:
        raise InputError(name_of(table.path), "has no boxes on images that are in no other part", "name a file of test images")
    return DetectionDataset(settings.name, folder, labels)


def unseen_images(table: LabelTable, folder: Path, seen: Iterable[Mapping[str, object]]) -> LabelTable:
    """The images of a table, found in `folder`, whose resolved paths are in none of the mappings."""
    paths = set().union(*seen)
    ids = [i for path, ids in files_of_part("test", table.path, folder, table).ids_of.items() if path not in paths for i in ids]
    return table.select(np.isin(table.image_ids, ids))


def existing_folder(folder: Path) -> Path:
    """Return the folder unchanged.

    Raises:
        InputError: if it does not exist.
    """
    if not is_folder(folder):
        raise InputError(
            name_of(folder), f"no such images folder{looked_for(name_of(folder))}", "correct `images` of the dataset"
        )
    return folder


def split_images(table: LabelTable, settings: DatasetSettings) -> tuple[np.ndarray, np.ndarray | None]:
    """Indices (J,) of the training images of a file, and of its held-out images, or None.

    Raises:
        InputError: if no image has the required value of `split`, or the share holds out no image.
    """
    splits = np.array(table.splits, dtype=object)
    chosen = np.ones(len(table), dtype=bool)
    if settings.split:
        chosen = _images_of_split(table, splits, settings.split)
    if settings.validation_split:
        held_out = _images_of_split(table, splits, settings.validation_split)
        return np.flatnonzero(chosen & ~held_out), np.flatnonzero(held_out)
    if not settings.validation_fraction:
        return np.flatnonzero(chosen), None
    shares = np.array([_hash_share(name) for name in table.file_names])
    held_out = shares < settings.validation_fraction
    if not (chosen & held_out).any():
        what = f"validation_fraction {settings.validation_fraction} holds out none of {int(chosen.sum())} images"
        raise InputError(name_of(table.path), what, "choose a larger share")
    return np.flatnonzero(chosen & ~held_out), np.flatnonzero(chosen & held_out)


def _images_of_split(table: LabelTable, splits: np.ndarray, split: str) -> np.ndarray:
    chosen: np.ndarray = splits == split
    if not chosen.any():
        known = ", ".join(sorted(set(table.splits) - {""})) or "no values at all"
        raise InputError(name_of(table.path), f"no image has the split {split!r}", f"the key `split` of its images has {known}")
    return chosen


def _hash_share(file_name: str) -> float:
    """A number in [0, 1) that depends only on the file name, so an image stays in its part when others are added."""
    return int.from_bytes(hashlib.sha256(file_name.encode("utf-8", "surrogatepass")).digest()[:6]) / 2**48


def load_truth(
    settings: DatasetSettings, train: DetectionDataset, space: LabelSpace, classes: ClassMap = MappingProxyType({})
) -> LabelTable | None:
    """Read the known labels of the training images in another label space, or None if none are configured.

    Args:
        settings: of the dataset of the images.
        train: its training part.
        space: the other label space.
        classes: the map of the dataset that this is the label space of, see `DatasetSettings`.

    Returns:
        A table in `space` of exactly the images of `train`, in their order.

    Raises:
        InputError: if the file is wrong, its categories are not those of `space`, or an image of `train` is missing from it or
            has another file name or size there.
    """
    if space.name not in settings.truth:
        return None
    table = read_mapped(as_path(settings.truth[space.name]), space.name, classes, expect=space)
    raise_problems(table.path, truth_mismatches(table, train.labels))
    return table.select(table.index_of(train.labels.image_ids))


def truth_mismatches(truth: LabelTable, train: LabelTable) -> list[Problem]:
    """The training images that are missing from a truth file or have another file name or size there."""
    indices, known = find_ids(train.image_ids, truth.image_ids)
    problems = []
    for i, (j, is_known) in enumerate(zip(indices.tolist(), known.tolist(), strict=True)):
        item = f"image {train.image_ids[i]}"
        if not is_known:
            problems.append(Problem(truth.path, item, "is not in the file", f"label all images of {name_of(train.path)}"))
        elif truth.file_names[j] != train.file_names[i] or (truth.sizes_hw[j] != train.sizes_hw[i]).any():
            what = f"has another file name or size than in {name_of(train.path)}"
            problems.append(Problem(truth.path, item, what, "truth must have the same images with the same ids"))
    return problems
