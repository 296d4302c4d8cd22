"""Typed settings of a run: one YAML file plus `key=value` options on the command line.

Every option has one home: a field with its default and a comment in the frozen dataclass beside the class that it configures.
This module only puts the sections together and reads them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from lat.data.dataset import DatasetSettings
from lat.data.label_sets import LabelSetSettings
from lat.data.transforms import AugmentationSettings
from lat.detectors.base import DetectorSettings
from lat.engine.runtime import RuntimeSettings
from lat.engine.trainer import TrainSettings
from lat.errors import InputError
from lat.models.backbone import BackboneSettings
from lat.models.fusion import FusionSettings
from lat.models.label_transfer import HeadSettings
from lat.models.proposals import ProposalSettings
from lat.pseudo.calibration import CalibrationSettings
from lat.pseudo.fusion import DecodeSettings, FuseSettings
from lat.relations.settings import RelationSettings
from lat.report.build import ReportSettings

Part = TypeVar("Part")


@dataclass(frozen=True)
class UpstreamSettings(DetectorSettings):
    """Section `upstream`: the detector that is trained on each dataset."""

    training: TrainSettings = field(default_factory=lambda: TrainSettings(steps=400, learning_rate=4e-3))
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except InputError as error:
            raise InputError(f"upstream.{error.where}", error.what, error.remedy) from None


@dataclass(frozen=True)
class PseudoLabelSettings:
    """Section `pseudo_label`: which detections of an upstream detector become pseudo-labels."""

    score_threshold: float = 0.3  # detections below it are not kept, nor labels of outside label sets
    nms_iou: float = 0.5  # IoU at which the lower of two boxes of one class is suppressed
    max_detections: int = 100  # most pseudo-labels of one space on one image
    batch_size: int = 4  # images a batch; each batch is decoded once for all detectors

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_iou"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"pseudo_label.{name}", f"is {getattr(self, name)}", "choose a number between 0 and 1")
        for name in ("max_detections", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"pseudo_label.{name}", f"is {getattr(self, name)}", "choose 1 or more")


@dataclass(frozen=True)
class LabelTransferSettings(BackboneSettings, ProposalSettings, HeadSettings, FusionSettings):
    """Section `lat`: the label-transfer model and its training."""

    upstream_dataset: str = ""  # with `backbone: upstream`, whose detector; empty for the first dataset's
    horizontal_flip: float = 0.5  # share of training images that are mirrored
    training: TrainSettings = field(default_factory=lambda: TrainSettings(steps=1200, learning_rate=1e-3))

    def __post_init__(self) -> None:
        for base in (BackboneSettings, ProposalSettings, HeadSettings, FusionSettings):
            base.__post_init__(self)
        if not 0.0 <= self.horizontal_flip <= 1.0:
            raise InputError("lat.horizontal_flip", f"is {self.horizontal_flip}", "choose a share between 0 and 1")


@dataclass(frozen=True)
class TransferSettings(CalibrationSettings, FuseSettings, DecodeSettings):
    """Section `transfer`: how the model's output becomes labels."""

    batch_size: int = 16  # images a batch

    def __post_init__(self) -> None:
        for base in (CalibrationSettings, FuseSettings, DecodeSettings):
            base.__post_init__(self)
        if self.batch_size < 1:
            raise InputError("transfer.batch_size", f"is {self.batch_size}", "choose 1 or more")


@dataclass(frozen=True)
class RoundsSettings:
    """Section `rounds`: doing everything again with what has been transferred.

    In each further round the detector of every target is trained on with its own ground truth and the labels transferred to it,
    then its pseudo-labels are made anew, the label-transfer model is trained anew, and labels are transferred with it.
    """

    count: int = 0  # further rounds; 0 for none
    steps_share: float = 0.5  # steps for which a detector is trained on, as a share of `upstream.training.steps`
    learning_rate_share: float = 0.25  # learning rate, likewise
    own_share: float = 0.5  # share of the target's own images in each batch of its detector, at least one image
    score_threshold: float = 0.5  # transferred labels of this score or more are trained on, with their score as weight
    ignore_threshold: float = 0.2  # of the others, those of this score or more are don't-care; the rest is left out

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InputError("rounds.count", f"is {self.count}", "choose 0 or more")
        for name in ("steps_share", "learning_rate_share", "own_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise InputError(f"rounds.{name}", f"is {getattr(self, name)}", "choose a number above 0, at most 1")
        if not 0.0 <= self.score_threshold <= 1.0:
            raise InputError("rounds.score_threshold", f"is {self.score_threshold}", "choose a number between 0 and 1")
        if not 0.0 <= self.ignore_threshold <= self.score_threshold:
            remedy = f"choose a number between 0 and rounds.score_threshold, {self.score_threshold}"
            raise InputError("rounds.ignore_threshold", f"is {self.ignore_threshold}", remedy)

    def training(self, first: TrainSettings) -> TrainSettings:
        """How a detector is trained on in a further round, if `first` is how it was trained before."""
        steps = max(1, round(self.steps_share * first.steps))
        return replace(first, steps=steps, learning_rate=self.learning_rate_share * first.learning_rate)


@dataclass(frozen=True)
class EvaluationSettings:
    """Section `evaluation`: which transferred labels count where no curve over all scores is drawn."""

    score_threshold: float = 0.5  # labels below it are left out of agreement figures and pictures; AP takes all that are written

    def __post_init__(self) -> None:
        if not 0.0 <= self.score_threshold <= 1.0:
            raise InputError("evaluation.score_threshold", f"is {self.score_threshold}", "choose a number between 0 and 1")


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    output_dir: str = "runs/lat"  # where everything is written
    data_root: str = "data"  # for use as ${data_root} in the paths below
    seed: int = 0  # seed of everything random
    target: Any = "all"  # a dataset's name, a list of names, or all
    datasets: list[DatasetSettings] = field(default_factory=list)
    label_sets: list[LabelSetSettings] = field(default_factory=list)
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    pseudo_label: PseudoLabelSettings = field(default_factory=PseudoLabelSettings)
    lat: LabelTransferSettings = field(default_factory=LabelTransferSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    rounds: RoundsSettings = field(default_factory=RoundsSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    relations: RelationSettings = field(default_factory=RelationSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def __post_init__(self) -> None:
        names = self.dataset_names
        choices = f"choose among {', '.join(names)}"
        if len(names) < 2:
            raise InputError("datasets", f"there are {len(names)}", "name at least two: labels move between datasets")
        for name in names:
            if names.count(name) > 1:
                raise InputError("datasets", f"two datasets are named '{name}'", "give each its own name")
        for name in self.target_names:
            if name not in names:
                raise InputError("target", f"there is no dataset '{name}'", f"{choices} or all")
        if self.lat.upstream_dataset not in ("", *names):
            raise InputError("lat.upstream_dataset", f"there is no dataset '{self.lat.upstream_dataset}'", choices)
        for dataset in self.datasets:
            for space in set(dataset.truth) - (set(names) - {dataset.name}):
                raise InputError(f"datasets.{dataset.name}.truth", f"'{space}' is not another dataset", choices)
        self._check_label_sets(choices)

    def _check_label_sets(self, choices: str) -> None:
        names = [*self.dataset_names, *(label_set.name for label_set in self.label_sets)]
        for label_set in self.label_sets:
            if names.count(label_set.name) > 1:
                raise InputError("label_sets", f"the name '{label_set.name}' is taken", "give each dataset and label set its own")
            for name in set(label_set.files) - set(self.dataset_names):
                raise InputError(f"label_sets.{label_set.name}.files", f"there is no dataset '{name}'", choices)

    @property
    def dataset_names(self) -> tuple[str, ...]:
        return tuple(dataset.name for dataset in self.datasets)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The targets, in the order of the datasets or as listed."""
        if self.target == "all":
            return self.dataset_names
        return tuple([self.target] if isinstance(self.target, str) else self.target)

    @property
    def backbone_dataset(self) -> str:
        """The dataset whose upstream detector lends its features when `lat.backbone` is upstream."""
        return self.lat.upstream_dataset or self.dataset_names[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as written to `config.yaml` and hashed."""
        return asdict(self)


def part_of(settings: Any, kind: type[Part]) -> Part:
    """The fields of `settings` that belong to the dataclass `kind`, from which its class inherits."""
    return kind(**{field.name: getattr(settings, field.name) for field in fields(kind)})  # type: ignore[arg-type]


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply `key=value` options, check everything.

    Raises:
        InputError: if the file is missing or is no YAML, a key is unknown (the nearest known one is suggested), or a value has
            the wrong type or is out of range.
    """
    if not path.is_file():
        raise InputError(path, "there is no such configuration file", "check the path")
    try:
        written = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise InputError(path, f"is not valid YAML ({line}{_first_line(error)})", "mend it there") from None
    if not isinstance(written, DictConfig):
        raise InputError(path, "holds no settings", "write `key: value` lines")
    for override in overrides:
        if not re.match(r"[A-Za-z_][\w.\[\]]*=", override):
            raise InputError(path, f"the option '{override}' is not key=value", "write, for example, seed=1")
    try:
        resolved = OmegaConf.merge(_schema(), written, OmegaConf.from_dotlist(list(overrides)))
        config = OmegaConf.to_object(resolved)
    except OmegaConfBaseException as error:
        raise InputError(path, *_explain(error)) from None
    except InputError as error:
        raise InputError(path, f"{error.where} {error.what}", error.remedy) from None
    assert isinstance(config, Config)
    return config


def _schema() -> DictConfig:
    """The structured defaults; frozen dataclasses give read-only nodes, which a merge must be able to write."""
    schema = OmegaConf.structured(Config)
    _thaw(schema)
    return schema


def _thaw(node: DictConfig) -> None:
    OmegaConf.set_readonly(node, None)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            _thaw(child)


def _explain(error: OmegaConfBaseException) -> tuple[str, str]:
    """What is wrong and what to do, from an error of the configuration library."""
    key = str(error.full_key or error.key or "")
    owner = error.object_type if is_dataclass(error.object_type) else Config
    known = sorted(f.name for f in fields(owner)) if isinstance(owner, type) else []
    if isinstance(error, ConfigKeyError | ConfigAttributeError):
        unknown = str(error.key)
        nearest = difflib.get_close_matches(unknown, known, n=1, cutoff=0.5)
        return f"there is no setting '{key}'", f"did you mean '{nearest[0]}'?" if nearest else f"known here: {', '.join(known)}"
    return f"'{key}': {_first_line(error)}", "correct the value"


def _first_line(error: Exception) -> str:
    return " ".join(str(error).splitlines()[:1]) or type(error).__name__
