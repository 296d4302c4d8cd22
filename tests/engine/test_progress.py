import io

import pytest

from lat.engine.progress import News, Screen, duration, reporting, track


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_come_every_ten_seconds_and_at_the_end():
    clock, out = Clock(), io.StringIO()
    with track(120, "upstream city", screen=Screen(file=out, clock=clock)) as progress:
        for _ in range(120):
            clock.now += 0.25
            progress.advance(loss=0.51234)
    assert out.getvalue().splitlines() == [
        "upstream city: 40/120 · 33 % · 4/s · 0:20 left · loss 0.5123",
        "upstream city: 80/120 · 67 % · 4/s · 0:10 left · loss 0.5123",
        "upstream city: 120/120 · 100 % · 4/s · 0:30 · loss 0.5123",
    ]


def test_the_rate_counts_only_what_this_run_did():
    clock, out = Clock(), io.StringIO()
    with track(100, "a", done=80, screen=Screen(file=out, clock=clock)) as progress:
        clock.now += 5
        progress.advance(10, split="val")
    assert out.getvalue() == "a: 90/100 · 90 % · 2/s · 0:05 left · split val\n"


def fail_in_second_step(out):
    with track(4, "a", screen=Screen(file=out, clock=Clock())) as progress:
        progress.advance()
        raise ZeroDivisionError


def test_a_failure_shows_how_far_it_came():
    out = io.StringIO()
    with pytest.raises(ZeroDivisionError):
        fail_in_second_step(out)
    assert out.getvalue() == "a: 1/4 · 25 %\n"


def test_a_terminal_gets_a_bar_and_a_quiet_one_nothing(capfd, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    out = Terminal()
    with track(3, "work", screen=Screen(file=out)) as progress:
        progress.advance(3, loss=2.0)
    assert "work" in out.getvalue()
    assert "3/3" in out.getvalue()
    assert "loss 2" in out.getvalue()
    with track(3, "work", quiet=True) as progress:
        progress.advance(3)
    assert capfd.readouterr() == ("", "")


def test_no_work_is_legal_and_leaves_no_line():
    out = io.StringIO()
    with track(0, "nothing", screen=Screen(file=out, clock=Clock())):
        pass
    assert out.getvalue() == ""


def test_durations():
    assert [duration(seconds) for seconds in (0, 59.6, 61, 3599, 3661)] == ["0:00", "1:00", "1:01", "59:59", "1:01:01"]


def test_work_that_fails_before_its_first_unit_leaves_no_line() -> None:
    file = io.StringIO()
    with pytest.raises(ValueError, match="wrong input"), track(3, "draw", screen=Screen(file=file)):
        raise ValueError("wrong input")
    assert file.getvalue() == ""


def test_a_listener_hears_of_a_loop_at_its_beginning_every_second_and_at_its_end_and_nothing_is_shown() -> None:
    clock, out, heard = Clock(), io.StringIO(), list[News]()
    screen = Screen(file=out, clock=clock)
    with reporting(heard.append), track(10, "upstream city", done=2, screen=screen) as progress:
        for _ in range(8):
            clock.now += 0.4
            progress.advance(loss=0.5)
    assert [(news.title, news.done, news.total) for news in heard] == [("upstream city", done, 10) for done in (2, 5, 8, 10)]
    assert heard[-1].figures == {"loss": 0.5}
    assert out.getvalue() == ""
    with track(1, "here", screen=screen) as progress:
        progress.advance()
    assert len(heard) == 4
    assert out.getvalue() == "here: 1/1 · 100 %\n"


def test_a_loop_within_another_is_a_bar_below_it_that_goes_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    out = Terminal()
    with track(3, "all", screen=Screen(file=out)) as of_all:
        assert of_all._bar is not None
        for _ in range(2):
            with track(9, "one", screen=Screen(file=out, within=of_all)) as one:
                one.advance(4)
                shown = [(task.description, task.completed, task.total) for task in of_all._bar.tasks]
                assert shown == [("all", 0, 3), ("one", 4, 9)]
        assert [task.description for task in of_all._bar.tasks] == ["all"]
