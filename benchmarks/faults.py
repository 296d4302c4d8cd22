"""A whole run killed at random moments, and finished: whether every file has the same bytes as in a run that nobody disturbed.

    python benchmarks/faults.py [--kills 50] [--minutes 30] [--images 3] [--seed 0] [--json FILE]

The run is `lat run` of two datasets of so many drawn images each, with a further round and a downstream detector. Each
disturbed run begins from nothing, or from what the undisturbed one had written before a random group of steps, is killed by
SIGKILL up to three times, and then finished. Two kills in three come at a random call that changes a file (writing, syncing,
renaming, removing; a write is cut in half), one at a random time. "begun again" counts groups of steps that were under way
when a run was killed, "done again" steps that had been recorded as done, "torn" files that a reader would have found
half-written after a kill. What is not compared in the end is named by `all_content` in `tests/fault_reference.py`. Linux and a C
compiler are needed. It ends after `--kills` or after `--minutes`, whichever comes first.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from markdown import Row, print_rows

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from fault_reference import Reference, recorded_steps, torn_files, undisturbed
from fault_runs import Ended, Plan, Runs, command, opened_runs

BEGINNING = "before the first"  # a kill before any step has begun
COLUMNS = ("kills", "at a call", "begun again", "done again", "torn")
KILLED = -9


def main() -> None:
    """Print a row per stage in which runs were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--images", type=int, default=3, help="training images of each dataset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder, opened_runs(Path(folder)) as runs:
        whole = undisturbed(runs, Path(folder), options.images)
        hunt = Hunt(runs, whole, random.Random(options.seed))
        while hunt.kills < options.kills and time.monotonic() < deadline:
            hunt.disturb(options.kills - hunt.kills)
    print_rows("faults", hunt.rows(), options.json)
    print(f"\n{hunt.kills} kills in {hunt.runs_done} runs; other bytes in {len(hunt.other_bytes)} of them", *hunt.other_bytes)
    sys.exit(bool(hunt.other_bytes))


class Hunt:
    """Disturbs runs, and counts what became of them.

    Args:
        runs: starts them.
        whole: the undisturbed run.
        draw: decides when each is killed.
    """

    def __init__(self, runs: Runs, whole: Reference, draw: random.Random) -> None:
        self.runs, self.whole, self.draw = runs, whole, draw
        self.counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COLUMNS, 0))
        self.runs_done, self.other_bytes = 0, list[str]()

    @property
    def kills(self) -> int:
        return sum(counts["kills"] for counts in self.counts.values())

    def disturb(self, most: int) -> None:
        """Kill a run up to three times, or `most` times if that is less, and finish it."""
        run, groups = self.whole.config.parent / f"run-{self.runs_done}", self.whole.groups
        first = self.draw.randrange(-2, len(groups))  # below 0: from nothing
        if first >= 0:
            self.whole.begun_before(groups[first], run)
        recorded, under_way = recorded_steps(run), ""
        for _ in range(min(most, self.draw.randint(1, 3))):
            ended = self._run(run, self._plan(max(0, first)), recorded, under_way)
            if ended.status != KILLED:
                break
            recorded, under_way = recorded_steps(run), (ended.begun or [""])[-1]
            first = groups.index(under_way) if under_way else first
            counts = self.counts[_stage(under_way)]
            counts["kills"] += 1
            counts["at a call"] += self._is_at_a_call
            counts["torn"] += len(torn_files(run))
        ended = self._run(run, Plan(), recorded, under_way)
        if wrong := [f"exit status {ended.status}"] * (ended.status != 0) or self.whole.differences(run):
            self.other_bytes.append(f"{run.name}: {', '.join(wrong)}")
        shutil.rmtree(run)
        self.runs_done += 1

    def _run(self, run: Path, plan: Plan, recorded: set[str], under_way: str) -> Ended:
        """Go on with a run, and count what is begun or done again."""
        ended = self.runs.lat(*command(self.whole.config, run), run=run, plan=plan)
        self.counts[_stage(under_way)]["begun again"] += under_way in ended.begun
        self.counts[_stage(under_way)]["done again"] += len(ended.done_again(recorded))
        return ended

    def _plan(self, place: int) -> Plan:
        """A kill in this group of steps or one of the next, or some time after the beginning."""
        groups = self.whole.groups[place : place + 4]
        self._is_at_a_call = self.draw.random() < 2 / 3
        if self._is_at_a_call:
            group = self.draw.choice(groups)
            return Plan("kill", self.draw.randint(1, self.whole.events_of(group)), group=group)
        return Plan("kill after", round(1000 * self.draw.uniform(0, sum(map(self.whole.seconds_of, groups)))))

    def rows(self) -> list[Row]:
        """A row per stage, in the order of a run."""
        order = [BEGINNING, *dict.fromkeys(map(_stage, self.whole.groups))]
        return [{"stage": stage, **self.counts[stage]} for stage in order if self.counts[stage]["kills"]]


def _stage(group: str) -> str:
    return group.split()[0] if group else BEGINNING


if __name__ == "__main__":
    main()
