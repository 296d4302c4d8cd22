"""Data that the stages and rounds of a run load once and share: datasets, label sets, joint label space, features."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lat.config.load import Config
from lat.core.decoded_store import DecodedStore
from lat.core.errors import InputError, did_you_mean
from lat.core.label_space import JointLabelSpace, LabelSpace
from lat.core.remote import as_path, forget
from lat.data.data_settings import DatasetSettings
from lat.data.dataset import DetectionDataset, load_dataset, load_test
from lat.data.label_sets import LabelSet, load_label_set
from lat.labels.coco.read import read_labels

if TYPE_CHECKING:
    from lat.models.feature_cache import FeatureCache


class LoadedData:
    """The data of a run, each part read on first use.

    Attributes:
        config: the settings of the run.
        features: by backbone model and part; see `open_features`.
        decoded: decoded images that the class-shares step hands to the transfer of each small source.
    """

    def __init__(self, config: Config) -> None:
        forget()  # what changed at a URL since other data was loaded
        self.config = config
        self.features: dict[tuple[Path | None, str], FeatureCache] = {}
        self.decoded = DecodedStore()

    @cached_property
    def _parts(self) -> dict[str, tuple[DetectionDataset, DetectionDataset | None]]:
        return {settings.name: load_dataset(settings) for settings in self.config.datasets}

    @cached_property
    def _tests(self) -> dict[str, DetectionDataset | None]:
        parts = {name: [part for part in both if part is not None] for name, both in self._parts.items()}
        return {settings.name: load_test(settings, parts[settings.name]) for settings in self.config.datasets}

    @cached_property
    def label_sets(self) -> dict[str, LabelSet]:
        """The outside label sets by name, with all labels in their files."""
        return {
            one.name: load_label_set(
                one, {name: read_labels(as_path(self.settings_of(name).annotations), name) for name in one.files}
            )
            for one in self.config.label_sets
        }

    @cached_property
    def joint(self) -> JointLabelSpace:
        """All label spaces: datasets first, then outside label sets, in configuration order."""
        return JointLabelSpace(tuple(self.space(name) for name in (*self.config.dataset_names, *self.label_sets)))

    def index(self, dataset: str) -> int:
        """Position of a dataset.

        Raises:
            InputError: if the configuration has no dataset of that name.
        """
        names = self.config.dataset_names
        if dataset not in names:
            raise InputError("datasets", f"there is no dataset '{dataset}'", did_you_mean(dataset, names))
        return names.index(dataset)

    def settings_of(self, dataset: str) -> DatasetSettings:
        return self.config.datasets[self.index(dataset)]

    def train_part(self, dataset: str) -> DetectionDataset:
        """The training part of a dataset; its images are the ones that get labels in other spaces."""
        return self._parts[self.settings_of(dataset).name][0]

    def validation_part(self, dataset: str) -> DetectionDataset | None:
        """Held-out images of a dataset, or None."""
        return self._parts[self.settings_of(dataset).name][1]

    def test_part(self, dataset: str) -> DetectionDataset | None:
        """The images of a dataset that nothing is trained on, fitted to or chosen by, or None."""
        return self._tests[self.settings_of(dataset).name]

    def held_out_part(self, dataset: str) -> DetectionDataset:
        """Images that detectors and transferred labels are judged on: the validation part, or else the training part."""
        return self.validation_part(dataset) or self.train_part(dataset)

    def space(self, name: str) -> LabelSpace:
        """The label space of a dataset or of an outside label set."""
        return self.label_sets[name].space if name in self.label_sets else self.train_part(name).space

    def proposal_spaces(self, dataset: str) -> tuple[str, ...]:
        """The spaces in which a dataset's images have pseudo-labels: all other datasets and the label sets that label it."""
        others = (name for name in self.config.dataset_names if name != dataset)
        return (*others, *(name for name, labels in self.label_sets.items() if dataset in labels.tables))
