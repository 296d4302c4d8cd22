"""One run: its settings, files, data and devices, seen from one of its rounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lat.config.load import Config
from lat.engine.jobs import Executor
from lat.engine.processes import Processes
from lat.labels.reviewed import reviewed_path
from lat.workspace.devices import Devices, DevicesAlone
from lat.workspace.loaded import LoadedData
from lat.workspace.paths import RunPaths

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Workspace:
    """A run seen from one of its rounds: by default the last, whose labels are the run's result; `at` gives another.

    Args:
        config: the settings.
        round: the round; None for the last.
        data: data already loaded.
        devices: the device and processes.

    Attributes:
        files_read: the run's files that the steps which are done with it read; see `reading`.
    """

    files_read: tuple[Path, ...] = ()

    def __init__(
        self, config: Config, round: int | None = None, data: LoadedData | None = None, devices: Devices | None = None
    ) -> None:
        self.config = config
        self.names = config.dataset_names
        self.round = config.rounds.count if round is None else round
        self.data = data or LoadedData(config)
        self.devices = devices or Devices(config)

    def at(self, number: int) -> Workspace:
        """The same run, with the same loaded data, seen from round `number`."""
        assert 0 <= number <= self.config.rounds.count
        return Workspace(self.config, number, self.data, self.devices)

    def alone(self) -> Workspace:
        """The same run, with the same loaded data, for one process that works without the others."""
        return Workspace(self.config, self.round, self.data, DevicesAlone(self.devices))

    def reading(self, inputs: Iterable[Path]) -> Workspace:
        """The same run, with the same loaded data, for steps that read these files; those that any may look for are added."""
        run = Workspace(self.config, self.round, self.data, self.devices)
        run.files_read = (*inputs, self.paths.class_shares, *self.paths.all_relations(), *self._reviews())
        return run

    def _reviews(self) -> Iterator[Path]:
        """The reviews of all transferred labels, whether they exist or not, and the labels of those that do."""
        for pair in self.transfers():
            labels = [of_round.paths.transferred(*pair) for of_round in self.rounds()]
            reviews = list(map(reviewed_path, labels))
            yield from reviews
            if any(path.is_file() for path in reviews):
                yield from labels

    def rounds(self) -> list[Workspace]:
        """The run seen from each of its rounds, 0 first."""
        return [self.at(number) for number in range(self.config.rounds.count + 1)]

    def previous(self) -> Workspace:
        """The run seen from the previous round."""
        return self.at(self.round - 1)

    @cached_property
    def paths(self) -> RunPaths:
        """Where the files of this round are."""
        return RunPaths(self.config, self.round, self.renewed)

    @property
    def renewed(self) -> tuple[str, ...]:
        """The datasets whose detectors this round trains: all in round 0, the targets in later rounds."""
        return self.config.target_names if self.round else self.names

    @property
    def fabric(self) -> Fabric:
        return self.devices.fabric

    @property
    def processes(self) -> Processes:
        """This process among those that torchrun or srun started."""
        return self.devices.processes

    @property
    def executor(self) -> Executor:
        """Who does the shards of this run's jobs."""
        return self.devices.executor

    def others(self, dataset: str) -> tuple[str, ...]:
        """All datasets but one, in configuration order."""
        return tuple(name for name in self.names if name != dataset)

    def transfers(self) -> list[tuple[str, str]]:
        """Every (source, target) that transfer writes."""
        return [(source, target) for target in self.config.target_names for source in self.others(target)]
