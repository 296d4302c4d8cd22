"""Progress of a long loop: a bar on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lat.engine.processes import is_first_process


class track:  # noqa: N801 - used like a function: `with track(100, "title") as progress:`
    """Show how far a loop is, with its rate, the time left and the latest figures.

    Args:
        total: number of units of work.
        title: what the work is.
        done: units that an earlier run has done; the rate counts only what this one does.
        quiet: show nothing; of the processes of a distributed run, all but the first always are.
        file: where to write; standard error by default.
        every_seconds: on anything but a terminal, the time between two lines. One more line comes at the end.
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        total: int,
        title: str,
        *,
        done: int = 0,
        quiet: bool = False,
        file: TextIO | None = None,
        every_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.title, self.done = total, title, done
        self._start_done, self._every, self._clock = done, every_seconds, clock
        self._shown = -1
        self._figures: dict[str, float | str] = {}
        self._console = None if quiet or not is_first_process() else Console(file=file or sys.stderr)
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        self._start = self._last_line = self._clock()
        if self._console is not None and self._console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}")
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.done, status="")
            self._bar.start()
        return self

    def advance(self, n: int = 1, **figures: float | str) -> None:
        """Count `n` more units as done, and show these figures until the next ones (numbers to four digits)."""
        self.done += n
        self._figures = figures or self._figures
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, status=self.status())
        elif self._console is not None and self._clock() - self._last_line >= self._every:
            self._print_line()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._console is not None and self._shown != self.done and (error is None or self.done > self._start_done):
            self._print_line()

    def status(self) -> str:
        """Rate, time left and figures, as in `3.1/s · 2:02 left · loss 0.512`."""
        seconds = self._clock() - self._start
        here = self.done - self._start_done
        parts = []
        if here and seconds > 0:
            parts.append(f"{here / seconds:.3g}/s")
            parts.append(
                f"{duration((self.total - self.done) * seconds / here)} left" if self.done < self.total else duration(seconds)
            )
        parts += [f"{name} {value if isinstance(value, str) else format(value, '.4g')}" for name, value in self._figures.items()]
        return " · ".join(parts)

    def _print_line(self) -> None:
        assert self._console is not None
        self._last_line, self._shown = self._clock(), self.done
        share = f"{100 * self.done / self.total:.0f} %" if self.total else ""
        line = " · ".join(part for part in (f"{self.title}: {self.done}/{self.total}", share, self.status()) if part)
        self._console.file.write(line + "\n")
        self._console.file.flush()


def duration(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
