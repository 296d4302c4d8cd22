"""In as many processes as torchrun starts: train the line, and share a job; write into the folder that is the first argument."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from counted_job import CountedJob, until
from regression import Line, Points, settings, train_line

from lat.core.errors import InputError
from lat.engine import processes as module
from lat.engine.executors import InProcesses
from lat.engine.jobs import Advance, missing_shards, uncounted
from lat.engine.processes import Processes, started_processes, together
from lat.engine.runtime import build_fabric, processes_of
from lat.engine.training_settings import RuntimeSettings

ITEMS = [f"item {i}" for i in range(21)]


class FirstEndsLast(CountedJob):
    """Its first shard waits for all others."""

    def run(self, shard: int, advance: Advance = uncounted) -> Sequence[Path]:
        if shard == 0:
            until(lambda: missing_shards(self) == [0])
        return super().run(shard, advance)


def word(item: str) -> str:
    if item == "bad":
        raise InputError("item", "is bad", "mend it")
    return item.upper()


def share_a_job(folder: Path) -> None:
    processes = processes_of(build_fabric(RuntimeSettings(accelerator="cpu"), seed=0))
    mine = processes.share(ITEMS)
    written = folder / f"file.{processes.rank}"
    written.write_text("written")
    processes.settle([written])
    found = {
        "mine": mine,
        "first": list(processes.in_order(map(word, mine), len(ITEMS))),
        "all": list(processes.in_order(map(word, mine), len(ITEMS), everywhere=True)),
        "decided": processes.from_first(lambda: processes.rank),
        "seen": sorted(path.name for path in folder.glob("file.*")),
        "machines": started_processes(),
    }
    errors = {"shared": lambda: list(processes.in_order(map(word, processes.share(["good", "bad"])), 2))}
    errors |= {"of the first": lambda: processes.from_first(word, "bad")}
    elsewhere = folder / str(processes.rank)  # as if each process saw a disk of its own
    elsewhere.mkdir()
    os.chdir(elsewhere)
    Path("own").write_text("not shared" * (1 + processes.rank))
    module.SECONDS_TO_SEE = 0.3
    errors |= {"unseen": lambda: processes.settle([Path("own")] if processes.is_first else [])}
    for name, act in errors.items():
        try:
            act()
        except InputError as error:
            found[name] = str(error)
    os.chdir(folder)
    found["shards"] = share_shards(folder, processes)
    (folder / f"shared.{processes.rank}.json").write_text(json.dumps(found))


def share_shards(folder: Path, processes: Processes) -> dict[str, Any]:
    """The processes claim shards: of a job whose first shard ends last, and of one with a bad shard."""
    module.SECONDS_TO_SEE = 60.0
    slow = FirstEndsLast(folder / "slow", [1] * 9)
    bad = CountedJob(folder / "bad", [1] * 9, bad=frozenset({4}), seconds={4: 0.2})
    for job in (slow, bad):
        job.folder.mkdir(exist_ok=True)
    executor = InProcesses(processes)
    executor.run(slow, lambda: slow)
    mine = [shard for shard, process in slow.done_by() if process == os.getpid()]
    try:
        executor.run(bad, lambda: bad)
    except InputError as error:
        return {"mine": mine, "seen": missing_shards(slow), "error": str(error)}
    raise AssertionError("the bad shard was done")


def do_both(say: Callable[[str], None]) -> int:
    train_line(Path(sys.argv[1]) / "two", Line(), Points(0.1), settings(ema_decay=0.5))
    share_a_job(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(together(do_both))
