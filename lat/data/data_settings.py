"""Settings of what is read: datasets, outside label sets, and what a detector makes of labels of another protocol."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lat.core.errors import InputError
from lat.core.remote import as_path

DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class DatasetSettings:
    """One entry of `datasets` in the configuration.

    The validation part is a file of its own, or a value of the key `split` that images of `annotations` have, or a share of
    them; at most one of the three. Without any there is no validation part.

    Raises:
        InputError: if the name is not made of letters, digits, '_' and '-' (file names are built from it), a path is empty,
            the share is not in [0, 1), or more than one way to a validation part is given.
    """

    name: str  # name of the dataset and of its label space
    images: str  # folder of the images; this and every file below may be a URL such as s3://bucket/images
    annotations: str  # COCO file with the ground truth
    validation: str = ""  # COCO file of the held-out images; empty for none
    validation_images: str = ""  # folder of the held-out images; empty for the folder `images`
    truth: dict[str, str] = field(
        default_factory=dict
    )  # COCO files that only evaluation reads, by label space: in those of other
    # datasets, annotations of the training images; in its own, test images, of which those count that are in no other part
    classes: dict[str, str | None] = field(
        default_factory=dict
    )  # new names of classes as they are read: two of one name are merged, null leaves a class out with its boxes
    split: str = ""  # train on the images whose key `split` has this value; empty for all that are not held out
    validation_split: str = ""  # hold out the images whose key `split` has this value
    validation_fraction: float = 0.0  # hold out about this share of the images, by a hash of the file name
    made_by: str = ""  # the command that makes the files, to be named where they are missing

    def __post_init__(self) -> None:
        where = f"datasets.{self.name}"
        if not DATASET_NAME.fullmatch(self.name):
            raise InputError("datasets.name", f"is {self.name!r}", "use letters, digits, '_' and '-'")
        for key in ("images", "annotations"):
            if not getattr(self, key):
                raise InputError(f"{where}.{key}", "is empty", "give the path")
        if not 0 <= self.validation_fraction < 1:
            raise InputError(f"{where}.validation_fraction", f"is {self.validation_fraction}", "choose a share from 0 to below 1")
        ways = [key for key in ("validation", "validation_split", "validation_fraction") if getattr(self, key)]
        if len(ways) > 1:
            raise InputError(where, f"{' and '.join(ways)} are both given", "keep one of them")
        if self.validation_images and not self.validation:
            raise InputError(f"{where}.validation_images", "is given without validation", "name the validation file")
        if self.validation_split and self.validation_split == self.split:
            raise InputError(f"{where}.validation_split", f"is {self.split!r}, the value of split", "choose another value")


@dataclass(frozen=True)
class LabelSetSettings:
    """One entry of `label_sets` in the configuration.

    Its class list is that of the file `categories` if one is named (COCO JSON, or its list of categories alone), else that of
    the first of `files`. A dataset that `files` does not name has no labels of this set, nor has an image that its file leaves
    out: they have no proposals of this space.

    Raises:
        InputError: if the name is not made of letters, digits, '_' and '-', or no file is named.
    """

    name: str  # name of the label set and of its label space
    files: dict[str, str]  # for each dataset whose images it labels, COCO JSON or a list of detections
    categories: str = ""  # JSON file with the class list; lists of detections, which have none, need it

    def __post_init__(self) -> None:
        if not DATASET_NAME.fullmatch(self.name):
            raise InputError("label_sets.name", f"is {self.name!r}", "use letters, digits, '_' and '-'")
        if not self.files:
            raise InputError(f"label_sets.{self.name}.files", "is empty", "name a file for a dataset, as in {city: labels.json}")

    @property
    def class_list_path(self) -> Path:
        """The file from which the class list is read."""
        return as_path(self.categories or next(iter(self.files.values())))

    def paths_for(self, datasets: Sequence[str]) -> tuple[Path, ...]:
        """The files that must be read for the labels of these datasets."""
        files = tuple(as_path(file) for name, file in self.files.items() if name in datasets)
        return tuple(dict.fromkeys((self.class_list_path, *files)))


@dataclass(frozen=True)
class WeighingSettings:
    """What a detector makes of labels that were not drawn for its own dataset.

    Raises:
        InputError: if a threshold is not in [0, 1], or `ignore_threshold` is above `trained_threshold`.
    """

    trained_threshold: float = 0.5  # labels with this score or more train the detector
    ignore_threshold: float = 0.2  # of the others, those with this score or more are don't-care; the rest is left out
    silent_threshold: float = 0.2  # if lower, replaces ignore_threshold for classes on which the source's protocol is silent
    weigh_by_score: bool = True  # the score of a label is its weight in the loss; false weighs all alike

    def __post_init__(self) -> None:
        for name in ("trained_threshold", "ignore_threshold", "silent_threshold"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(name, f"is {getattr(self, name)}", "choose a number between 0 and 1")
        if self.ignore_threshold > self.trained_threshold:
            remedy = f"choose a number up to trained_threshold, {self.trained_threshold}"
            raise InputError("ignore_threshold", f"is {self.ignore_threshold}", remedy)
