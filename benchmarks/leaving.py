"""Two processes that train and share work together, and leave: how often each pair ends as it should, over and over.

    python benchmarks/leaving.py [--times 100] [--json FILE]

Each pair does what `tests/engine/two_processes.py` does, as two tasks of srun: it meets, trains with gradients averaged over
both, claims shards, raises errors in one for all, and ends with its interpreter, which takes down threads and sockets. A pair is
forked from a process that has imported everything, so that a start costs nothing. "aborted" counts pairs of which a process
ended by a signal, "failed" those with another status than 0; what those wrote on standard error is shown.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from markdown import print_rows

sys.path.append(str(Path(__file__).parents[1] / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "tests" / "engine"))

from slurm_tasks import RANKS, rank_of_task, two_tasks

MODULES = ("lightning_fabric", "lat.engine.joined_group", "two_processes", "torch._dynamo")


def main() -> None:
    """Print a row with how many pairs ended how."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    for name in MODULES:
        importlib.import_module(name)
    folder, ends, began = Path(tempfile.mkdtemp()), Counter[str](), time.monotonic()
    for number in range(options.times):
        ends[leave_together(folder / str(number))] += 1
        shutil.rmtree(folder / str(number))
    shutil.rmtree(folder)
    row = {"pairs": options.times, **{name: ends[name] for name in ("sound", "aborted", "failed")}}
    print_rows("leaving", [{**row, "seconds": round(time.monotonic() - began)}], options.json)
    sys.exit(ends["sound"] != options.times)


def leave_together(folder: Path) -> str:
    """Let a pair work and end; returns what became of it."""
    folder.mkdir()
    tasks = {**two_tasks(), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    pids = [fork_task({**tasks, **rank_of_task(rank)}, folder, folder / f"said.{rank}") for rank in RANKS]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if any(statuses):
        print(statuses, *((folder / f"said.{rank}").read_text() for rank in RANKS), file=sys.stderr)
    return "aborted" if min(statuses) < 0 else "failed" if max(statuses) > 0 else "sound"


def fork_task(environment: dict[str, str], folder: Path, said: Path) -> int:
    """Fork a process that does its part of the work and then ends as any program does; returns its id."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    os.environ |= environment
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    sys.argv[1:] = [str(folder)]
    two_processes = importlib.import_module("two_processes")
    sys.exit(two_processes.together(two_processes.do_both))


if __name__ == "__main__":
    main()
