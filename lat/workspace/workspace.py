"""Where a run keeps its files, and what its stages share: datasets, joint label space, device."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from lat.config.load import Config
from lat.core.errors import InputError
from lat.core.files import sha256_of_file, sha256_of_json
from lat.core.label_space import JointLabelSpace, LabelSpace
from lat.data.dataset import DatasetSettings, DetectionDataset, load_dataset, load_truth
from lat.data.label_sets import LabelSet, load_label_set
from lat.engine.processes import Processes, started_processes
from lat.engine.runtime import build_fabric, fabric_alone, processes_of
from lat.labels.coco.read import read_labels
from lat.labels.table import LabelTable
from lat.models.feature_cache import FeatureCache


class Loaded:
    """What all rounds of a run share, made when it is first asked for."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.features: dict[tuple[Path | None, str], FeatureCache] = {}  # by `backbone_model` and part; see `open_features`
        self.decoded: dict[tuple[Path, int, str], list[Any]] = {}  # see `take_decoded`

    @cached_property
    def fabric(self) -> Fabric:
        return build_fabric(self.config.runtime, self.config.seed)

    @cached_property
    def processes(self) -> Processes:
        return Processes() if started_processes() == (1, 1) else processes_of(self.fabric)

    @cached_property
    def parts(self) -> dict[str, tuple[DetectionDataset, DetectionDataset | None]]:
        return {settings.name: load_dataset(settings) for settings in self.config.datasets}


class Workspace:
    """The files of one run under its `output_dir`; datasets are read when they are first asked for.

    A run with further rounds is seen from its last round, whose labels are the run's result, or from the round that `at` names.
    The files of round 0 lie in `output_dir` itself, those of round r in `rounds/r`, but for transferred labels, of which those of
    the last round lie in `output_dir`; what a round does not make anew is that of an earlier one.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.root = Path(config.output_dir)
        self.names = config.dataset_names
        self.round = config.rounds.count
        self.loaded = Loaded(config)

    def at(self, number: int) -> Workspace:
        """The same run, with the same loaded data, seen from round `number`."""
        assert 0 <= number <= self.config.rounds.count
        seen = copy(self)
        seen.round = number
        return seen

    def alone(self) -> Workspace:
        """The same run, with the same loaded data, seen from one process that works without the others."""
        seen = copy(self)
        seen.loaded = copy(self.loaded)
        seen.loaded.fabric, seen.loaded.processes = fabric_alone(self.config.runtime, self.fabric), Processes()
        return seen

    def rounds(self) -> list[Workspace]:
        """The run seen from each of its rounds, 0 first."""
        return [self.at(number) for number in range(self.config.rounds.count + 1)]

    def previous(self) -> Workspace:
        """The run seen from the round before."""
        return self.at(self.round - 1)

    @property
    def renewed(self) -> tuple[str, ...]:
        """The datasets whose detectors are trained in this round: in further rounds those to which labels are transferred."""
        return self.config.target_names if self.round else self.names

    def _folder(self, dataset: str | None = None) -> Path:
        """Where this round's files lie; what comes from the detector of a `dataset` that is not renewed stays in round 0."""
        is_first = not self.round or dataset not in (None, *self.renewed)
        return self.root if is_first else self.root / "rounds" / str(self.round)

    def upstream_model(self, dataset: str) -> Path:
        return self._folder(dataset) / "upstream" / dataset / "model.pt"

    def upstream_metrics(self, dataset: str) -> Path:
        return self._folder(dataset) / "upstream" / dataset / "metrics.json"

    def pseudo_labels(self, source: str, space: str) -> Path:
        return self._folder(space) / "pseudo_labels" / f"{source}.{space}.json"

    @property
    def backbone_model(self) -> Path | None:
        """The detector that lends the label-transfer model its features, if one does."""
        return self.upstream_model(self.config.backbone_dataset) if self.config.lat.backbone == "upstream" else None

    def held_out_labels(self, target: str, space: str) -> Path:
        return self._folder(space) / "pseudo_labels" / "held_out" / f"{target}.{space}.json"

    @property
    def transfer_model(self) -> Path:
        return self._folder() / "lat" / "model.pt"

    @property
    def transfer_metrics(self) -> Path:
        return self._folder() / "lat" / "metrics.json"

    @property
    def class_shares(self) -> Path:
        return self._folder() / "lat" / "class_shares.json"

    def transferred(self, source: str, target: str) -> Path:
        """Labels of the last round, the run's result, lie in `output_dir` itself; those of earlier rounds in `rounds/r`."""
        is_last = self.round == self.config.rounds.count
        folder = self.root if is_last else self.root / "rounds" / str(self.round)
        return folder / "transferred" / f"{source}.{target}.json"

    def downstream(self, target: str) -> Path:
        """The folder of the target's downstream detector."""
        name = self.config.downstream.name
        return self.root / "downstream" / (f"{target}.{name}" if name else target)

    def downstream_model(self, target: str) -> Path:
        return self.downstream(target) / ("yolo.pt" if self.config.downstream.detector == "yolo" else "model.pt")

    def downstream_metrics(self, target: str) -> Path:
        return self.downstream(target) / "metrics.json"

    def downstream_labels(self, source: str, target: str) -> Path:
        """The labels of a source that the downstream detector trains on."""
        if self.config.downstream.method == "label_transfer":
            return self.transferred(source, target)
        return self.downstream(target) / "labels" / f"{source}.json"

    def found_downstream(self) -> tuple[Path, ...]:
        """The metrics of all downstream detectors that have been trained, under whatever name."""
        return tuple(sorted((self.root / "downstream").glob("*/metrics.json")))

    def relations(self, first: str, second: str) -> Path:
        return self.root / "relations" / f"{first}.{second}.json"

    def relations_of(self, one: str, other: str) -> Path:
        """The file of relations of two datasets, whichever is first."""
        return self.relations(*sorted((one, other), key=self.index))

    def found_relations(self) -> tuple[Path, ...]:
        """The files of relations that `lat relations` has written, if any."""
        paths = (self.relations(a, b) for a, b in combinations(self.names, 2))
        return tuple(path for path in paths if path.is_file())

    @property
    def relations_review(self) -> Path:
        return self.root / "relations" / "review.yaml"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation.json"

    def doubt(self, source: str, target: str) -> Path:
        return self.root / "doubt" / f"{source}.{target}.json"

    @property
    def report(self) -> Path:
        return self.root / "report" / "index.html"

    @property
    def resolved_config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def fabric(self) -> Fabric:
        return self.loaded.fabric

    @property
    def processes(self) -> Processes:
        """This process among those that torchrun or srun started."""
        return self.loaded.processes

    def settings_of(self, dataset: str) -> DatasetSettings:
        return self.config.datasets[self.index(dataset)]

    def train_part(self, dataset: str) -> DetectionDataset:
        """The images that carry labels from place to place: the training part of a dataset."""
        return self.loaded.parts[self.names[self.index(dataset)]][0]

    def validation_part(self, dataset: str) -> DetectionDataset | None:
        """Held-out images of a dataset, or None."""
        return self.loaded.parts[self.names[self.index(dataset)]][1]

    def held_out_part(self, dataset: str) -> DetectionDataset:
        """Images on which detectors and transferred labels are judged: the validation part, or else those of training."""
        return self.validation_part(dataset) or self.train_part(dataset)

    def index(self, dataset: str) -> int:
        """Position of a dataset.

        Raises:
            InputError: if the configuration has no dataset of that name.
        """
        if dataset not in self.names:
            raise InputError("datasets", f"there is no dataset '{dataset}'", f"choose among {', '.join(self.names)}")
        return self.names.index(dataset)

    @cached_property
    def label_sets(self) -> dict[str, LabelSet]:
        """The outside label sets by name, with all labels that their files hold."""
        return {
            one.name: load_label_set(
                one, {name: read_labels(Path(self.settings_of(name).annotations), name) for name in one.files}
            )
            for one in self.config.label_sets
        }

    def space(self, name: str) -> LabelSpace:
        """The label space of a dataset or of an outside label set."""
        return self.label_sets[name].space if name in self.label_sets else self.train_part(name).space

    @cached_property
    def joint(self) -> JointLabelSpace:
        """All label spaces: of the datasets, then of the outside label sets, in the order of the configuration."""
        return JointLabelSpace(tuple(self.space(name) for name in (*self.names, *self.label_sets)))

    def others(self, dataset: str) -> tuple[str, ...]:
        """All datasets but one, in the order of the configuration."""
        return tuple(name for name in self.names if name != dataset)

    def proposal_spaces(self, dataset: str) -> tuple[str, ...]:
        """The spaces in which the images of a dataset have pseudo-labels: all others, and the label sets that label it."""
        return (*self.others(dataset), *(name for name, labels in self.label_sets.items() if dataset in labels.tables))

    def transfers(self) -> list[tuple[str, str]]:
        """Every (source, target) that transfer writes."""
        return [(source, target) for target in self.config.target_names for source in self.others(target)]

    def read_pseudo_labels(self, source: str, space: str) -> LabelTable:
        """Pseudo-labels of the images of `source` in another space, checked against both.

        Those of an outside label set are its labels with a score of at least `pseudo_label.score_threshold`.
        """
        if space in self.label_sets:
            labels = self.label_sets[space].tables[source].at_least(self.config.pseudo_label.score_threshold)
            return labels.laid_over(self.train_part(source).labels)
        path = require(self.pseudo_labels(source, space), "lat pseudo-label")
        return _aligned(read_labels(path, space, expect=self.space(space)), self.train_part(source))

    def read_held_out_labels(self, target: str, space: str) -> LabelTable:
        """What the detector of `space` finds on the held-out images of `target`, checked against both."""
        path = require(self.held_out_labels(target, space), "lat pseudo-label")
        return _aligned(read_labels(path, space, expect=self.space(space)), self.held_out_part(target))

    def read_transferred(self, source: str, target: str) -> LabelTable:
        """Transferred labels of the images of `source` in the space of `target`, checked against both."""
        path = require(self.transferred(source, target), "lat transfer")
        return self._labels_of_source(path, source, target)

    def read_downstream_labels(self, source: str, target: str) -> LabelTable:
        """What the downstream detector of `target` trains on: labels of the images of `source`, checked against both."""
        path = require(self.downstream_labels(source, target), "lat train-downstream")
        return self._labels_of_source(path, source, target)

    def _labels_of_source(self, path: Path, source: str, target: str) -> LabelTable:
        return _aligned(read_labels(path, target, expect=self.space(target)), self.train_part(source))

    def counted(self, transferred: LabelTable) -> LabelTable:
        """The transferred labels that count in agreement figures and pictures: those of a high enough score."""
        return transferred.at_least(self.config.evaluation.score_threshold)

    def read_truth(self, source: str, target: str) -> LabelTable | None:
        """Known labels of the images of `source` in the space of `target`, where the configuration names any."""
        return load_truth(self.settings_of(source), self.train_part(source), self.space(target))

    def label_info(self, method: str, model: Path) -> dict[str, str]:
        """The `info` of a labels file: how it was made, from which model and settings."""
        return {"method": method, "model_sha256": sha256_of_file(model), "config_sha256": self.config_sha256}

    @property
    def config_sha256(self) -> str:
        """SHA-256 of the resolved settings, less where they are written, on what device they run, and later rounds."""
        settings = self.config.to_dict()
        left_out = ("output_dir", "data_root", "runtime", *(() if self.round else ("rounds",)))
        settings["rounds"]["count"] = self.round
        return sha256_of_json({key: settings[key] for key in settings if key not in left_out})


def _aligned(table: LabelTable, part: DetectionDataset) -> LabelTable:
    """The table itself.

    Raises:
        InputError: if its images are not those of the part.
    """
    if table.image_ids.tolist() != part.labels.image_ids.tolist():
        raise InputError(table.path, f"its images are not those of {part.labels.path}", "delete it and run its stage again")
    return table


def require(path: Path, command: str) -> Path:
    """The path of a file that an earlier stage has written.

    Raises:
        InputError: naming the command that writes it, if it is not there.
    """
    if not path.is_file():
        raise InputError(path, "is not there yet", f"run `{command}` first, or `lat run`, which does every stage")
    return path
