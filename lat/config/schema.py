"""All settings of a run, and what of one section must fit another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any

from lat.config.sections import (
    FURTHER_LEARNING_RATE,
    DownstreamSettings,
    EvaluationSettings,
    LabelTransferSettings,
    PseudoLabelSettings,
    RoundsSettings,
    TransferSettings,
    UpstreamSettings,
)
from lat.config.thresholds import check_thresholds
from lat.core.errors import InputError
from lat.core.remote import as_path, is_remote
from lat.data.augment.augment_settings import AugmentationSettings
from lat.data.data_settings import DatasetSettings, LabelSetSettings
from lat.detectors.detector_settings import TRANSFORMERS_DETECTORS
from lat.engine.training_settings import RuntimeSettings, SharedTrainSettings, Training
from lat.relations.relation_settings import RelationSettings


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    output_dir: str = "runs/lat"  # where everything is written; with runtime.executor: ray also a URL, such as s3://bucket/run
    data_root: str = "data"  # for use as ${data_root} in the paths below
    seed: int = 0  # seed of everything random
    target: Any = "all"  # a dataset's name, a list of names, or all
    datasets: list[DatasetSettings] = field(default_factory=list)
    label_sets: list[LabelSetSettings] = field(default_factory=list)
    answers: str = ""  # YAML file of what classes are in other class lists, as `lat ask` writes it; it overrides estimates
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    training: SharedTrainSettings = field(default_factory=SharedTrainSettings)
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    pseudo_label: PseudoLabelSettings = field(default_factory=PseudoLabelSettings)
    lat: LabelTransferSettings = field(default_factory=LabelTransferSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    rounds: RoundsSettings = field(default_factory=RoundsSettings)
    downstream: DownstreamSettings = field(default_factory=DownstreamSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    relations: RelationSettings = field(default_factory=RelationSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def __post_init__(self) -> None:
        names = self.dataset_names
        if len(names) < 2:
            what = f"has {len(names)} entr{'y' if len(names) == 1 else 'ies'}"
            raise InputError("datasets", what, "name at least two: labels move between datasets")
        for name in names:
            if names.count(name) > 1:
                raise InputError("datasets", f"has two entries named '{name}'", "give each its own name")
        for where, given in (("target", self.target), ("transfer.prior.sources", self.transfer.prior.sources)):
            if not isinstance(given, str) and not (
                isinstance(given, list | tuple) and all(isinstance(one, str) for one in given)
            ):
                raise InputError(where, f"is {str(given)[:80]}", "name a dataset, a list of them, or all")
        for where, chosen in (("target", self.target_names), ("transfer.prior.sources", self.transfer.prior.named_sources or ())):
            for name in set(chosen) - set(names):
                raise _unknown(where, name, names, "" if where != "target" else " or all")
        for dataset in self.datasets:
            for space in set(dataset.truth) - set(names):
                raise _unknown(f"datasets.{dataset.name}.truth", space, names)
        _check_output_dir(self.output_dir, self.runtime.executor)
        self._check_answers()
        self._check_upstream()
        self._check_label_sets()
        check_thresholds(self)

    def _check_answers(self) -> None:
        if self.answers and self.transfer.prior.method == "none":
            raise InputError("answers", "is given, but transfer.prior.method is none", "leave it out, or choose another method")

    def _check_upstream(self) -> None:
        detector, backbone = self.upstream.model.detector, self.lat.backbone
        if backbone.upstream_dataset not in ("", *self.dataset_names):
            raise _unknown("lat.backbone.upstream_dataset", backbone.upstream_dataset, self.dataset_names)
        if backbone.name == "upstream" and detector in TRANSFORMERS_DETECTORS:
            what = f"is upstream, but {detector} detectors provide no feature maps"
            raise InputError("lat.backbone.name", what, "choose another backbone, or upstream.model.detector: torchvision")
        if self.rounds.noise.dropout and detector != "torchvision":
            what = f"is {self.rounds.noise.dropout}, but upstream.model.detector is {detector}"
            raise InputError("rounds.noise.dropout", what, "choose 0, or upstream.model.detector: torchvision")

    def _check_label_sets(self) -> None:
        names = [*self.dataset_names, *(label_set.name for label_set in self.label_sets)]
        for label_set in self.label_sets:
            if names.count(label_set.name) > 1:
                raise InputError("label_sets", f"the name '{label_set.name}' is taken", "give each dataset and label set its own")
            for name in set(label_set.files) - set(self.dataset_names):
                raise _unknown(f"label_sets.{label_set.name}.files", name, self.dataset_names)

    @property
    def dataset_names(self) -> tuple[str, ...]:
        return tuple(dataset.name for dataset in self.datasets)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The targets, in the order of the datasets or as listed."""
        if self.target == "all":
            return self.dataset_names
        return tuple([self.target] if isinstance(self.target, str) else self.target)

    def num_members(self, dataset: str) -> int:
        """How many detectors label images in the space of a dataset: a target has all members, a mere source one."""
        return len(self.upstream.all_members) if dataset in self.target_names else 1

    @property
    def backbone_dataset(self) -> str:
        """The dataset whose upstream detector provides the features when `lat.backbone.name` is upstream."""
        return self.lat.backbone.upstream_dataset or self.dataset_names[0]

    def upstream_training(self, member: int = 0) -> Training:
        """How a member of an upstream detector is trained, before any further round."""
        return Training(self.upstream.all_members[member].training, self.training)

    @property
    def lat_training(self) -> Training:
        """How the label-transfer model is trained."""
        return Training(self.lat.training, self.training)

    @property
    def downstream_training(self) -> Training:
        """How a downstream detector is trained."""
        return Training(self.downstream.training, self.training, self.downstream.ema_decay)

    def round_training(self, member: int = 0) -> Training:
        """How a member of an upstream detector is trained on in a further round."""
        return self.upstream_training(member).scaled(self.rounds.steps_share, FURTHER_LEARNING_RATE)

    def round_augmentation(self, number: int) -> AugmentationSettings:
        """How the images of detectors are varied in round `number`; 0 is before any further round."""
        return self.rounds.noise.widened(self.augmentation, number - 1) if number > 1 else self.augmentation

    @property
    def detected_scales(self) -> list[float]:
        """The scales at which upstream detectors see images that they label, 1 first: only such as they have trained at."""
        smallest, largest = self.augmentation.scale
        return [1.0, *(scale for scale in self.pseudo_label.scaled if smallest <= scale <= largest)]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as written to `config.yaml` and hashed."""
        return asdict(self)


def _unknown(where: str, name: object, names: Sequence[str], others: str = "") -> InputError:
    """The error for a setting that names a dataset that there is not."""
    near = get_close_matches(str(name), names, n=1)
    remedy = f"did you mean '{near[0]}'?" if near else f"choose among {', '.join(names)}{others}"
    return InputError(where, f"names '{name}', and there is no such dataset", remedy)


def _check_output_dir(place: str, executor: str) -> None:
    """Raise an `InputError` for a URL that a run cannot write to, or that its executor does not know."""
    if not is_remote(as_path(place)):
        return
    if place.startswith(("http://", "https://")):
        raise InputError("output_dir", f"is {place}, and a web server takes no files", "name a folder, or an s3:// or gs:// URL")
    if executor != "ray":
        what = f"is {place}, and runtime.executor is '{executor}', which needs a folder"
        raise InputError("output_dir", what, "set runtime.executor=ray, or name a folder that all processes share")
