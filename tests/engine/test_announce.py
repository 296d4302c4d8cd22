"""What is said to people, to nobody, and to programs."""

from __future__ import annotations

import io
import json

import pytest

from lat.engine import announce
from lat.engine.progress import Screen, track


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_people_get_text_and_no_events(capsys: pytest.CaptureFixture[str]) -> None:
    announce.say("hello")
    announce.event("stage_begun", stage="check")
    assert capsys.readouterr() == ("hello\n", "")


def test_quiet_says_nothing_but_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with announce.speaking(quiet=True), track(2, "work") as progress:
        announce.say("hello")
        print("a library talks")
        progress.advance(2)
    assert capsys.readouterr() == ("", "")


def test_programs_get_one_object_a_line_and_what_libraries_print_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with announce.speaking(json_lines=True):
        announce.say("hello")
        with announce.work("stage", stage="transfer", members=["ours"]):
            print("a library talks")
    out, err = capsys.readouterr()
    said, begun, done = events(out)
    assert said == {"event": "message", "text": "hello"}
    assert begun == {"event": "stage_begun", "stage": "transfer", "members": ["ours"]}
    assert done.pop("seconds") >= 0  # type: ignore[operator]
    assert done == {**begun, "event": "stage_done"}
    assert err == "a library talks\n"


def test_programs_are_told_of_progress_every_second_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with announce.speaking(json_lines=True), track(10, "work", screen=Screen(clock=clock)) as progress:
        for _ in range(10):
            clock.now += 0.25
            progress.advance(loss=float("nan"))
    rows = events(capsys.readouterr().out)
    assert [(row["done"], row["rate"], row["seconds_left"]) for row in rows] == [(4, 4.0, 1.5), (8, 4.0, 0.5), (10, 4.0, 0.0)]
    assert rows[0] == {
        **{"event": "progress", "title": "work", "total": 10, "done": 4},
        **{"rate": 4.0, "seconds_left": 1.5, "loss": None},
    }


def test_rows_may_have_columns_of_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    with announce.speaking(json_lines=True):
        announce.event("result", table="downstream", **{"name": "rtdetr", "ap": None})
    assert events(capsys.readouterr().out) == [{"event": "result", "table": "downstream", "name": "rtdetr", "ap": None}]


def test_after_a_failure_people_are_spoken_to_again(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), announce.speaking(json_lines=True):
        raise ZeroDivisionError
    assert not announce.to_programs()
    announce.say("hello")
    assert capsys.readouterr().out == "hello\n"


def test_work_that_is_over_at_once_is_not_shown() -> None:
    for seconds, shown in ((0.4, ""), (0.6, "read: 5/5 · 100 % · 1.67/s · 0:03\n")):
        clock, out = Clock(), io.StringIO()
        with track(5, "read", after_seconds=2.5, screen=Screen(file=out, clock=clock)) as progress:
            for _ in range(5):
                clock.now += seconds
                progress.advance()
        assert out.getvalue() == shown


def test_work_that_grows(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    with track(0, "check", screen=Screen(file=out, clock=Clock())) as progress:
        progress.expect(3)
        progress.advance(2)
    assert out.getvalue() == "check: 2/3 · 67 %\n"


def test_batches_are_counted_as_they_pass() -> None:
    out = io.StringIO()
    with track(5, "decode", screen=Screen(file=out, clock=Clock())) as progress:
        assert list(progress.count(iter([[1, 2], [3, 4], [5]]))) == [[1, 2], [3, 4], [5]]
    assert out.getvalue() == "decode: 5/5 · 100 %\n"
