"""Typed settings of a run: one YAML file plus `key=value` options on the command line.

Every option has one home: a field with its default and a comment in the frozen dataclass beside the class that it configures.
This module only assembles and reads the sections.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from lat.config.sections import (
    DownstreamSettings,
    EvaluationSettings,
    LabelTransferSettings,
    PseudoLabelSettings,
    RoundsSettings,
    TransferSettings,
    UpstreamSettings,
)
from lat.core.errors import InputError, did_you_mean
from lat.data.dataset import DatasetSettings
from lat.data.label_sets import LabelSetSettings
from lat.detectors.settings import TRANSFORMERS_DETECTORS
from lat.engine.runtime import RuntimeSettings
from lat.relations.settings import RelationSettings
from lat.report.build import ReportSettings


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
    downstream: DownstreamSettings = field(default_factory=DownstreamSettings)
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
        for where, chosen in (("target", self.target_names), ("transfer.prior.sources", self.transfer.prior.named_sources or ())):
            for name in set(chosen) - set(names):
                raise InputError(where, f"there is no dataset '{name}'", f"{choices} or all")
        for dataset in self.datasets:
            for space in set(dataset.truth) - (set(names) - {dataset.name}):
                raise InputError(f"datasets.{dataset.name}.truth", f"'{space}' is not another dataset", choices)
        self._check_upstream(choices)
        self._check_label_sets(choices)

    def _check_upstream(self, choices: str) -> None:
        detector = self.upstream.detector
        if self.lat.upstream_dataset not in ("", *self.dataset_names):
            raise InputError("lat.upstream_dataset", f"there is no dataset '{self.lat.upstream_dataset}'", choices)
        if self.lat.backbone == "upstream" and detector in TRANSFORMERS_DETECTORS:
            what = f"is upstream, but {detector} detectors provide no feature maps"
            raise InputError("lat.backbone", what, "choose another backbone, or upstream.detector: torchvision")
        if self.rounds.noise.dropout and detector != "torchvision":
            what = f"is {self.rounds.noise.dropout}, but upstream.detector is {detector}"
            raise InputError("rounds.noise.dropout", what, "choose 0, or upstream.detector: torchvision")

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
        """The targets, in the order listed, or of the datasets for `all`."""
        if self.target == "all":
            return self.dataset_names
        return tuple([self.target] if isinstance(self.target, str) else self.target)

    @property
    def backbone_dataset(self) -> str:
        """The dataset whose upstream detector provides the features when `lat.backbone` is upstream."""
        return self.lat.upstream_dataset or self.dataset_names[0]

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain types, as written to `config.yaml` and hashed."""
        return asdict(self)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply `key=value` options, check everything.

    Raises:
        InputError: if the file is missing or not YAML, a key is unknown (the nearest known one is suggested), or a value has
            the wrong type or is out of range.
    """
    if not path.is_file():
        raise InputError(path, "there is no such configuration file", "check the path")
    try:
        written = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise InputError(path, f"is not valid YAML ({line}{_first_line(error)})", "correct the file") from None
    if not isinstance(written, DictConfig):
        raise InputError(path, "contains no settings", "write `key: value` lines")
    return _resolve(written, overrides, path)


def config_from(content: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Build a configuration from the content of such a file.

    Raises:
        InputError: as for `load_config`.
    """
    try:
        return _resolve(OmegaConf.create(dict(content)), overrides, "configuration")
    except OmegaConfBaseException as error:
        raise InputError("configuration", _first_line(error), "use plain types") from None


def _resolve(written: DictConfig, overrides: Sequence[str], where: object) -> Config:
    for override in overrides:
        if not re.match(r"[A-Za-z_][\w.\[\]]*=", override):
            raise InputError(where, f"the option '{override}' is not key=value", "write, for example, seed=1")
    try:
        resolved = OmegaConf.merge(_schema(), written, OmegaConf.from_dotlist(list(overrides)))
        config = OmegaConf.to_object(resolved)
    except OmegaConfBaseException as error:
        raise InputError(where, *_explain(error)) from None
    except InputError as error:
        raise InputError(where, f"{error.where} {error.what}", error.remedy) from None
    assert isinstance(config, Config)
    return config


def _schema() -> DictConfig:
    """The structured defaults, writable: frozen dataclasses give read-only nodes, into which nothing can be merged."""
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
        return f"there is no setting '{key}'", did_you_mean(error.key, known)
    return f"'{key}': {_first_line(error)}", "correct the value"


def _first_line(error: Exception) -> str:
    return " ".join(str(error).splitlines()[:1]) or type(error).__name__
