"""Progress of a long loop: a bar on a terminal, a plain line now and then in a log file, events for programs, or news for the
process that started this one."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lat.engine.announce import event, is_quiet, to_programs

Items = TypeVar("Items", bound=Sized)


@dataclass(frozen=True)
class Screen:
    """Where progress is shown.

    Attributes:
        file: where to write; None for standard error.
        every_seconds: time between two lines when not on a terminal; one more line comes at the end. Programs get an event
            every second.
        clock: a monotonic clock, in seconds.
        within: the progress of other work, below which to show it.
    """

    file: TextIO | None = None
    every_seconds: float = 10.0
    clock: Callable[[], float] = time.monotonic
    within: track | None = None


@dataclass(frozen=True)
class News:
    """How far a loop is; see `track`."""

    title: str
    done: int
    total: int
    figures: Mapping[str, float | str]


_listener: Callable[[News], None] | None = None


@contextmanager
def reporting(listener: Callable[[News], None]) -> Iterator[None]:
    """Tell a listener of every loop that begins in this context, at its beginning, every second and at its end; show nothing."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


class track:  # noqa: N801 - used like a function: `with track(100, "title") as progress:`
    """Show the progress of a loop, with its rate, the time left and the latest figures.

    Args:
        total: number of units of work.
        title: what the work is.
        done: units that an earlier run has done; the rate counts only what this one does.
        quiet: show nothing; of the processes of a distributed run, all but the first always are.
        after_seconds: show nothing before then; for work that is usually over at once.
        screen: where to show it, and how often.
    """

    def __init__(
        self,
        total: int,
        title: str,
        *,
        done: int = 0,
        quiet: bool = False,
        after_seconds: float = 0.0,
        screen: Screen | None = None,
    ) -> None:
        screen = screen or Screen()
        self.total, self.title, self.done = total, title, done
        self._start_done, self._clock, self._after = done, screen.clock, after_seconds
        self._shown = -1
        self._figures: dict[str, float | str] = {}
        self._is_silent = quiet or is_quiet() or not _is_first_process()
        self._listener = None if self._is_silent else _listener
        self._tells_programs = not self._is_silent and to_programs()
        tells = self._tells_programs or self._listener is not None
        self._console = None if self._is_silent or tells else Console(file=screen.file or sys.stderr)
        self._every = 1.0 if tells else screen.every_seconds
        self._within = screen.within
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        self._start = self._last_line = self._clock()
        if not self._after:
            self._show_bar()
            if self._listener is not None:
                self._tell()
        return self

    def _show_bar(self) -> None:
        """Draw the bar if on a terminal."""
        if self._within is not None:
            self._bar = self._within._bar
        elif self._console is not None and self._console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}")
            self._bar = Progress(*columns, console=self._console)
            self._bar.start()
        if self._bar is not None:
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.done, status="")

    def expect(self, n: int) -> None:
        """Add `n` units to the total."""
        self.total += n
        if self._bar is not None:
            self._bar.update(self._task, total=self.total)

    def advance(self, n: int = 1, **figures: float | str) -> None:
        """Count `n` more units as done, and show these figures until the next ones (numbers to four digits)."""
        self.done += n
        self._figures = figures or self._figures
        if self._bar is None and self._after and self._is_long():
            self._after = 0.0
            self._show_bar()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, status=self.status())
        elif not self._is_silent and self._clock() - self._last_line >= self._every:
            self._tell()

    def count(self, batches: Iterable[Items]) -> Iterator[Items]:
        """Yield the batches, counting the units of each as done."""
        for batch in batches:
            yield batch
            self.advance(len(batch))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            if self._within is None:
                self._bar.stop()
            else:
                self._bar.remove_task(self._task)
            return
        is_news = self._shown != self.done and (error is None or self.done > self._start_done) and bool(self.total or self.done)
        if is_news and self._is_long() and not self._is_silent:
            self._tell()

    def _is_long(self) -> bool:
        return self._clock() - self._start >= self._after

    def status(self) -> str:
        """Rate, time left and figures, as in `3.1/s · 2:02 left · loss 0.512`."""
        parts = []
        if (rate := self._rate()) is not None:
            parts.append(f"{rate:.3g}/s")
            left = self.total - self.done
            parts.append(f"{duration(left / rate)} left" if left > 0 else duration(self._clock() - self._start))
        parts += [f"{name} {value if isinstance(value, str) else format(value, '.4g')}" for name, value in self._figures.items()]
        return " · ".join(parts)

    def _rate(self) -> float | None:
        """Units per second in this run; None before the first."""
        seconds, here = self._clock() - self._start, self.done - self._start_done
        return here / seconds if here and seconds > 0 else None

    def _tell(self) -> None:
        self._last_line, self._shown = self._clock(), self.done
        if self._listener is not None:
            self._listener(News(self.title, self.done, self.total, self._figures))
        elif self._tells_programs:
            rate = self._rate()
            left = None if rate is None else round(max(0, self.total - self.done) / rate, 1)
            figures = {"rate": rate and float(f"{rate:.4g}"), "seconds_left": left, **self._finite_figures()}
            event("progress", title=self.title, done=self.done, total=self.total, **figures)
        elif self._console is not None:
            share = f"{100 * self.done / self.total:.0f} %" if self.total else ""
            line = " · ".join(part for part in (f"{self.title}: {self.done}/{self.total}", share, self.status()) if part)
            self._console.file.write(line + "\n")
            self._console.file.flush()

    def _finite_figures(self) -> dict[str, float | str | None]:
        """The latest figures for JSON, with None for NaN and infinity."""
        return {name: value if isinstance(value, str) or math.isfinite(value) else None for name, value in self._figures.items()}


def _is_first_process() -> bool:
    """True in the one process that shows progress; asks torch only if it is imported: without it no processes can have met."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is None or not distributed.is_initialized() or distributed.get_rank() == 0


def duration(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
