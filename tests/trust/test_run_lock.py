"""Two commands in one folder: the second ends at once, and says who is at work there; what the dead have locked is free."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tiny import draw_tiny
from trust.one_line import refused

from lat.core.errors import InputError
from lat.workspace import run_lock
from lat.workspace.run_lock import LOCK, STALE_SECONDS, Owner, locked

HOLD = "import sys; from pathlib import Path; from lat.workspace.run_lock import locked\n"
HOLD += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def leave(folder: Path, silent_seconds: float = 0.0, **changes: Any) -> Path:
    """The lock of an owner that is like this process but for some changes."""
    path = folder / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(replace(Owner.this_process(), **changes))))
    os.utime(path, (time.time() - silent_seconds,) * 2)
    return path


def take(folder: Path) -> None:
    with locked(folder):
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()
    assert not (folder / LOCK).exists()


@pytest.mark.parametrize("command", ["run", "report", "evaluate", "transfer", "relations"])
def test_the_second_command_ends_at_once_and_names_the_first(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = draw_tiny(tmp_path, images=1), tmp_path / "run"
    monkeypatch.setattr(run_lock, "_is_silent", None)  # whoever is here is not watched
    with held(run) as first:
        line = refused(capsys, command, config)
        owner = json.loads((run / LOCK).read_text())
        assert line.startswith(f"{run}: is in use by process {first.pid} on {owner['host']} since {owner['since']} (-c ")
        assert first.poll() is None
    assert [path.name for path in run.rglob("*") if path.is_file()] == ["lock.json"]  # nothing was written beside it
    take(run)  # the first was killed


def test_a_killed_owner_and_a_reused_process_id_hold_nothing(tmp_path: Path) -> None:
    with held(tmp_path) as first:
        with pytest.raises(InputError, match="is in use by process"):
            take(tmp_path)
        first.kill()
        first.wait()
        take(tmp_path)
    leave(tmp_path, started=Owner.this_process().started + 1)
    take(tmp_path)


def test_an_owner_elsewhere_is_gone_once_it_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "WATCH_SECONDS", 0.3)
    leave(tmp_path, silent_seconds=STALE_SECONDS - 30, machine="another", host="far")
    with pytest.raises(InputError, match="on far since"):
        take(tmp_path)
    for silent in (STALE_SECONDS + 30, -1e6):  # or its clock was ahead of this one
        leave(tmp_path, silent_seconds=silent, machine="another", host="far")
        take(tmp_path)


@pytest.mark.parametrize("ahead", [1e5, -1e5])
def test_a_clock_that_jumps_takes_no_lock_of_the_living(ahead: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "WATCH_SECONDS", 0.5)
    path = leave(tmp_path, silent_seconds=ahead, machine="another", host="far")
    sleep, shown = time.sleep, list[float]()

    def sleep_while_it_lives(seconds: float) -> None:
        sleep(seconds)
        shown.append(seconds)
        os.utime(path, (time.time() - ahead + len(shown),) * 2)

    monkeypatch.setattr(time, "sleep", sleep_while_it_lives)
    with pytest.raises(InputError, match="on far since"):
        take(tmp_path)
    assert shown


@pytest.mark.parametrize("content", ["", "{", "[]", "5", '{"pid": 1}', "[" * 200_000, json.dumps({"pid": [1]})])
def test_a_lock_that_names_nobody_is_free(content: str, tmp_path: Path) -> None:
    leave(tmp_path).write_text(content)
    take(tmp_path)


def test_of_many_that_find_a_dead_lock_one_takes_it(tmp_path: Path) -> None:
    leave(tmp_path, pid=2**30)
    begin, end = threading.Barrier(8), threading.Event()
    outcomes: list[str] = []

    def compete() -> None:
        begin.wait()
        try:
            with locked(tmp_path):
                outcomes.append("held")
                end.wait(60)
        except InputError:
            outcomes.append("refused")

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(outcomes) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    end.set()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held"] + ["refused"] * 7


def test_the_lock_goes_with_an_error_and_another_owners_lock_stays(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    assert not (tmp_path / LOCK).exists()
    with locked(tmp_path):
        leave(tmp_path, host="far", machine="another")
    assert (tmp_path / LOCK).exists()


def test_shares_of_a_run_take_no_lock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trust.one_line import run as run_lat

    config, run = draw_tiny(tmp_path, images=1), tmp_path / "run"
    with held(run):
        status, _, errors = run_lat(capsys, "work", config, "--shard", "0/2")
    assert (status, errors) == (0, "")


def test_a_command_that_cannot_begin_leaves_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, written = draw_tiny(tmp_path, images=1), tmp_path / "run" / "config.yaml"
    written.parent.mkdir()
    written.write_text("of the run before")
    assert "does not exist yet" in refused(capsys, "transfer", config, "seed=5")
    assert written.read_text() == "of the run before"
