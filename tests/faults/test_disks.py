"""Disks that are full, broken or read-only at every stage: one line that names the file, and afterwards the same bytes."""

from __future__ import annotations

import errno
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_reference import Reference, torn_files
from fault_runs import Ended, Plan, Runs, command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]  # the undisturbed run is made once
REASONS = {
    errno.ENOSPC: "no space left on device); free some of the disk, or write elsewhere",
    errno.EROFS: "read-only file system); write elsewhere",
    errno.EIO: "input/output error); check the path, its permissions and the disk",
}


def check_line(ended: Ended, run: Path, number: int) -> None:
    assert ended.status == 2, ended.errors
    assert ended.line.startswith(f"error: {run}/"), ended.line
    assert ended.line.endswith(f": cannot be read or written ({REASONS[number]}"), ended.line
    assert ended.told[-1] == {"event": "error", "message": ended.line.removeprefix("error: ")}
    assert torn_files(run) == []


def test_a_disk_that_refuses_in_every_group_of_steps(runs: Runs, whole: Reference) -> None:
    run, draw = whole.config.parent / "refused", random.Random(0)
    for group in whole.groups:
        number = draw.choice(list(REASONS))
        plan = Plan("fail", draw.randint(1, whole.events_of(group) // 2), number, group)
        refused = runs.lat(*command(whole.config, run), run=run, plan=plan)
        assert refused.begun[-1] == group
        check_line(refused, run, number)
    ended = runs.lat(*command(whole.config, run), run=run)
    assert (ended.status, ended.errors) == (0, "")
    assert whole.differences(run) == []


def test_short_writes_are_finished(runs: Runs, whole: Reference) -> None:
    run = whole.begun_before("train-downstream city", whole.config.parent / "short")
    ended = runs.lat(*command(whole.config, run), run=run, plan=Plan("short"))
    assert (ended.status, ended.errors) == (0, "")
    assert whole.differences(run) == []


def test_a_disk_that_cannot_be_read_is_named_with_the_image(runs: Runs, whole: Reference) -> None:
    run, images = whole.begun_before("report", whole.config.parent / "unread"), whole.config.parent / "data" / "nu" / "images"
    ended = runs.lat(*command(whole.config, run), run=images, plan=Plan("fail reads", number=errno.EIO))
    assert ended.status == 2, ended.errors
    assert ended.line.startswith(f"error: {images}/"), ended.line
    assert ended.line.endswith(f": cannot be read or written ({REASONS[errno.EIO]}"), ended.line
    assert runs.lat(*command(whole.config, run), run=run).status == 0
    assert whole.differences(run) == []


@pytest.fixture
def small_disk(whole: Reference) -> Iterator[Path]:
    folder = whole.config.parent / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a disk of its own is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def test_a_small_disk_that_is_made_larger_and_then_read_only(small_disk: Path, runs: Runs, whole: Reference) -> None:
    megabytes, run = 4, small_disk
    while (ended := runs.lat(*command(whole.config, run), run=run)).status:
        check_line(ended, run, errno.ENOSPC)
        megabytes += 4
        assert megabytes < 60
        remount(small_disk, f"size={megabytes}m")
    assert megabytes > 10
    assert whole.differences(run) == []
    remount(small_disk, "ro")
    for force in ([], ["--force"]):
        check_line(runs.lat(*command(whole.config, run), *force, run=run), run, errno.EROFS)
    assert whole.differences(run) == []
    assert os.statvfs(run).f_flag & os.ST_RDONLY
