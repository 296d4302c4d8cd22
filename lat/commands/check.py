"""Check all files of a run and print what was found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lat.config.load import Config
from lat.core.errors import InputError, printable
from lat.core.remote import name_of
from lat.data.data_settings import DatasetSettings
from lat.data.dataset_check import DatasetCheck, check_datasets
from lat.data.label_sets import check_label_set
from lat.engine import announce
from lat.engine.progress import track
from lat.workspace.preflight import foreseen_problems


@dataclass(frozen=True)
class Checked:
    """What was found in the files of a run.

    Attributes:
        datasets: each dataset, then each outside label set.
        foreseen: what a run would refuse before its first step; looked for only where the datasets are sound.
    """

    datasets: tuple[DatasetCheck, ...]
    foreseen: tuple[InputError, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each problem."""
        found = (f"{name_of(one.file)}: {one}" for check in self.datasets for one in check.problems)
        return (*map(printable, found), *map(str, self.foreseen))

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each note."""
        return tuple(printable(note) for check in self.datasets for note in check.notes)


def find_problems(config: Config, *, write_manifests: bool = False) -> Checked:
    """Read all files of a run and look at every image; see `check_all`."""
    datasets = _check_datasets(config.datasets, write_manifests)
    label_sets = [check_label_set(settings, config.datasets) for settings in config.label_sets]
    every = (*datasets, *label_sets)
    is_sound = not any(check.problems for check in every)
    return Checked(every, tuple(foreseen_problems(config)) if is_sound else ())


def check_all(config: Config, *, write_manifests: bool = False) -> bool:
    """Print one table per dataset and label set, every repair, note and problem; True if there are no problems.

    Repairs are made in memory each time a file is read; files never change. `write_manifests` writes a manifest of its images
    beside each labels file. With --quiet, problems go to standard error; with --json-lines, each is an event.
    """
    found = find_problems(config, write_manifests=write_manifests)
    for check in found.datasets:
        if announce.to_programs():
            _tell_dataset(check)
        else:
            _print_dataset(check)
    for check in found.datasets[: len(config.datasets)]:
        for path in check.manifests:
            announce.say(f"wrote {name_of(path)}")
    _tell_foreseen(found.foreseen)
    total, label_sets = len(found.problems), len(config.label_sets)
    more = f" and {label_sets} label set{'s' * (label_sets != 1)}" if label_sets else ""
    announce.say(f"{total} problem{'s' * (total != 1)} in {len(config.datasets)} datasets{more}")
    return total == 0


def _check_datasets(datasets: Sequence[DatasetSettings], write_manifests: bool) -> tuple[DatasetCheck, ...]:
    with ExitStack() as shown:
        progress: list[track] = []

        def count(done: int, total: int) -> None:
            if not progress:
                progress.append(shown.enter_context(track(total, "check images")))
            elif done == 1:  # of another dataset
                progress[0].expect(total)
            progress[0].advance(1)

        return check_datasets(datasets, count, write_manifests=write_manifests)


def _tell_foreseen(problems: Sequence[InputError]) -> None:
    """Print what a run would refuse before its first step."""
    console = Console(highlight=False, soft_wrap=True, stderr=announce.is_quiet())
    for problem in problems:
        if announce.to_programs():
            announce.event("problem", dataset="", file=problem.where, text=str(problem))
        else:
            console.print(escape(printable(f"problem: {problem}")))


def _tell_dataset(check: DatasetCheck) -> None:
    for part in check.parts:
        announce.event("result", table="check", dataset=check.name, **asdict(part))
    for repair in check.repairs:
        announce.event("repair", dataset=check.name, file=name_of(repair.file), what=repair.what, count=repair.count)
    for kind, found in (("note", check.notes), ("problem", check.problems)):
        for one in found:
            announce.event(kind, dataset=check.name, file=name_of(one.file), text=str(one))


def _print_dataset(check: DatasetCheck) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(title=escape(check.name), title_justify="left", title_style="bold")
    for column in ("part", "images", "image size", "empty", "boxes", "crowd"):
        table.add_column(column, justify="left" if column in ("part", "image size") else "right")
    table.add_column("boxes per class", overflow="fold")
    for part in check.parts:
        classes = ", ".join(f"{printable(name)} {count}" for name, count in part.boxes_per_class.items())
        figures = (str(part.images), part.image_sizes, str(part.empty_images), str(part.boxes), str(part.crowd_boxes))
        table.add_row(part.part, *figures, escape(classes))
    if check.parts:
        console.print(table)
    for repair in check.repairs:
        console.print(escape(printable(f"repaired in memory: {name_of(repair.file)}: {repair.what}: {repair.count}")))
    for note in check.notes:
        console.print(escape(printable(f"note: {note}")))
    console = Console(highlight=False, soft_wrap=True, stderr=announce.is_quiet())
    for problem in check.problems:
        console.print(escape(printable(f"problem: {name_of(problem.file)}: {problem}")))
