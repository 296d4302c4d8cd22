"""Two commands in the folder of one run, which is real, stopped in the middle, and then killed."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from fault_reference import Reference, torn_files
from fault_runs import SETTINGS, Plan, Runs, command

pytestmark = pytest.mark.slow


def test_a_second_command_ends_at_once_and_goes_on_when_the_first_is_dead(runs: Runs, whole: Reference) -> None:
    group = "train-downstream city"
    run = whole.begun_before(group, whole.config.parent / "shared")
    first, log = runs.start(command(whole.config, run), run, Plan("signal", 40, signal.SIGSTOP, group))
    deadline = time.monotonic() + 120
    while not is_stopped(first) and time.monotonic() < deadline:
        time.sleep(0.05)
    owner = json.loads((run / ".state" / "lock.json").read_text())
    assert (owner["pid"], is_stopped(first)) == (first, True)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    for name in ("run", "report", "evaluate"):
        second = runs.lat(name, str(whole.config), *SETTINGS, f"output_dir={run}", run=run)
        assert second.status == 2
        begun = f"error: {run}: is in use by process {first} on {owner['host']} since {owner['since']} (lat run "
        assert second.line.startswith(begun)
        assert second.line.endswith(f"; wait until it ends; if it has ended, remove {run}/.state/lock.json")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    assert torn_files(run) == []
    os.kill(first, signal.SIGKILL)
    assert runs.wait(first, log).status == -signal.SIGKILL
    assert runs.lat(*command(whole.config, run), run=run).status == 0
    assert whole.differences(run) == []


def is_stopped(pid: int) -> bool:
    """True if a process does not run until it is told to."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] == b"T"
