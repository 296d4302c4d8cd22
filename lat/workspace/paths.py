"""Where a run keeps its files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from lat.config.load import MADE_WITH, Config
from lat.core.errors import InputError
from lat.workspace.run_folder import run_folder

FOLDERS = (
    *(".state", ".work", "cache", "rounds", "upstream", "pseudo_labels", "lat", "transferred", "downstream"),
    *("relations", "doubt", "report", "label_sets", "questions"),
)
"""The folders in its `output_dir` that a run writes to; there may be others."""


@dataclass(frozen=True)
class RunPaths:
    """The files of one round of a run, under its `output_dir`, or under the copy of it if that is a URL.

    Round 0 uses `output_dir` itself, round r uses `rounds/r`, except that the last round's transferred labels go to
    `output_dir`. A round reuses the files of an earlier one for whatever it does not produce again.

    Attributes:
        config: the settings of the run.
        round: the round.
        renewed: the datasets whose detectors are trained in this round.
    """

    config: Config
    round: int
    renewed: tuple[str, ...]

    @property
    def root(self) -> Path:
        return run_folder(self.config.output_dir)

    def _folder(self, dataset: str | None = None) -> Path:
        """The folder of this round; files from the detector of a `dataset` that is not renewed stay in round 0."""
        is_first = not self.round or dataset not in (None, *self.renewed)
        return self.root if is_first else self.root / "rounds" / str(self.round)

    def upstream_model(self, dataset: str, member: int = 0) -> Path:
        return self._upstream(dataset, member) / "model.pt"

    def upstream_models(self, dataset: str) -> tuple[Path, ...]:
        """The models of all members of a dataset's detector."""
        return tuple(self.upstream_model(dataset, member) for member in range(self.config.num_members(dataset)))

    def upstream_metrics(self, dataset: str, member: int = 0) -> Path:
        return self._upstream(dataset, member) / "metrics.json"

    def _upstream(self, dataset: str, member: int) -> Path:
        folder = self._folder(dataset) / "upstream" / dataset
        return folder / "members" / str(member) if member else folder

    def pseudo_labels(self, source: str, space: str) -> Path:
        return self._folder(space) / "pseudo_labels" / f"{source}.{space}.json"

    def all_pseudo_labels(self) -> tuple[Path, ...]:
        """The pseudo-labels of every dataset in the space of every other."""
        names = self.config.dataset_names
        return tuple(self.pseudo_labels(source, space) for source in names for space in names if space != source)

    def detections(self, source: str, space: str) -> Path:
        """All that the detector of a space finds, unsure or not; the pseudo-labels where a filter chooses these."""
        if not self.config.pseudo_label.filter.keeps_all:
            return self.pseudo_labels(source, space)
        return self._folder(space) / "pseudo_labels" / "detections" / f"{source}.{space}.json"

    def held_out_labels(self, target: str, space: str) -> Path:
        return self._folder(space) / "pseudo_labels" / "held_out" / f"{target}.{space}.json"

    @property
    def backbone_model(self) -> Path | None:
        """The detector whose features the label-transfer model uses, if any."""
        return self.upstream_model(self.config.backbone_dataset) if self.config.lat.backbone.name == "upstream" else None

    @property
    def features(self) -> Path:
        """The folder of cached features; it may be deleted at any time."""
        return self.root / "cache"

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
        """The last round's labels, the result of the run, are in `output_dir`; those of earlier rounds in `rounds/r`."""
        is_last = self.round == self.config.rounds.count
        folder = self.root if is_last else self.root / "rounds" / str(self.round)
        return folder / "transferred" / f"{source}.{target}.json"

    def downstream(self, target: str) -> Path:
        """The folder of the target's downstream detector."""
        name = self.config.downstream.name
        return self.root / "downstream" / (f"{target}.{name}" if name else target)

    def downstream_model(self, target: str) -> Path:
        return self.downstream(target) / ("yolo.pt" if self.config.downstream.model.detector == "yolo" else "model.pt")

    def downstream_metrics(self, target: str) -> Path:
        return self.downstream(target) / "metrics.json"

    def downstream_labels(self, source: str, target: str) -> Path:
        """The labels of a source that the downstream detector trains on, by any method but label transfer."""
        return self.downstream(target) / "labels" / f"{source}.json"

    def found_downstream(self) -> tuple[Path, ...]:
        """The metrics of all trained downstream detectors, whatever their names."""
        return tuple(sorted((self.root / "downstream").glob("*/metrics.json")))

    def relations(self, one: str, other: str) -> Path:
        """The relations of two datasets, given in either order."""
        first, second = sorted((one, other), key=self.config.dataset_names.index)
        return self.root / "relations" / f"{first}.{second}.json"

    def all_relations(self) -> tuple[Path, ...]:
        """The relation files of all pairs of datasets, whether they exist or not."""
        return tuple(self.relations(a, b) for a, b in combinations(self.config.dataset_names, 2))

    def found_relations(self) -> tuple[Path, ...]:
        """The relation files that `lat relations` wrote, if any."""
        return tuple(path for path in self.all_relations() if path.is_file())

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
        return self.root / MADE_WITH


def require(path: Path, command: str) -> Path:
    """The path of a file that an earlier stage wrote.

    Raises:
        InputError: naming the command that writes it, if it does not exist.
    """
    if not path.is_file():
        raise InputError(path, "does not exist yet", f"run `{command}` first, or `lat run`, which runs every stage")
    return path
