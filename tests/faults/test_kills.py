"""Runs that are killed or stopped at any moment: what is done stays done, nothing is torn, and the end has the same bytes."""

from __future__ import annotations

import fcntl
import random
import signal
from pathlib import Path

import pytest
from fault_reference import Reference, recorded_steps, torn_files
from fault_runs import Plan, Runs, command

from lat.core.files import open_atomically, remove_leftovers, write_atomically

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]  # the undisturbed run is made once


def test_a_run_killed_in_every_group_of_steps(runs: Runs, whole: Reference) -> None:
    run, draw, recorded = whole.config.parent / "killed", random.Random(0), set[str]()
    for group in whole.groups:
        plan = Plan("kill", draw.randint(1, whole.events_of(group)), group=group)
        killed = runs.lat(*command(whole.config, run), run=run, plan=plan)
        assert killed.status == -signal.SIGKILL
        assert killed.begun[-1] == group
        assert killed.done_again(recorded) == set()
        assert torn_files(run) == []
        recorded = recorded_steps(run)
    ended = runs.lat(*command(whole.config, run), run=run)
    assert (ended.status, ended.errors) == (0, "")
    assert whole.differences(run) == []


@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_up_to_three_times_at_any_moment(seed: int, runs: Runs, whole: Reference) -> None:
    draw = random.Random(seed)
    first = draw.choice(whole.groups[-6:])
    run = whole.begun_before(first, whole.config.parent / f"killed-{seed}")
    for _ in range(draw.randint(1, 3)):
        milliseconds = round(1000 * draw.uniform(0, 0.5 + whole.seconds_of(first)))
        killed = runs.lat(*command(whole.config, run), run=run, plan=Plan("kill after", milliseconds))
        assert killed.status in (0, -signal.SIGKILL)
        assert torn_files(run) == []
    assert runs.lat(*command(whole.config, run), run=run).status == 0
    assert whole.differences(run) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("group", ["train-downstream city", "report"])
def test_a_stop_is_one_line_and_the_next_run_goes_on(number: int, group: str, runs: Runs, whole: Reference) -> None:
    """Asked three times, at once: also while it tidies up."""
    run = whole.begun_before(group, whole.config.parent / f"stopped-{number}-{group.split()[0]}")
    plan = Plan("signal", whole.events_of(group) // 2, number, group)
    stopped = runs.lat(*command(whole.config, run), run=run, plan=plan)
    assert stopped.status == 1
    assert stopped.line.startswith("stopped; the same command resumes from here: lat run ")
    assert torn_files(run) == []
    assert runs.lat(*command(whole.config, run), run=run).status == 0
    assert whole.differences(run) == []


def test_only_what_the_dead_have_left_half_written_is_removed(tmp_path: Path) -> None:
    mine, elsewhere, left = tmp_path / ".notes.txt.tmp", tmp_path / "other", tmp_path / "lat"
    mine.write_text("not ours")
    for folder in (tmp_path, elsewhere, left / "deep"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".labels.json.abcd1234.tmp").write_text("half")
    with open_atomically(tmp_path / "labels.json") as file:
        file.write(b"whole")
        remove_leftovers(tmp_path, ["lat"])
    assert {path.name for path in tmp_path.iterdir()} == {"labels.json", mine.name, "other", "lat"}
    assert list((left / "deep").iterdir()) == []
    assert len(list(elsewhere.iterdir())) == 1


def test_a_file_taken_for_a_leftover_before_it_was_locked_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, taken = fcntl.flock, list[Path]()

    def take_first(descriptor: int, how: int) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", take_first)
    write_atomically(tmp_path / "labels.json", "whole")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]
