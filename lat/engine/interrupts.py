"""Handle Ctrl-C and SIGTERM between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # from a person; from torchrun, SLURM and Kubernetes
ONE_PRESS = 1.0  # seconds; the terminal and torchrun both deliver the same Ctrl-C


class InterruptsBetweenSteps:
    """While this context is open, the first Ctrl-C or SIGTERM is noted in `asked`; a later one is raised at once.

    Does nothing outside the main thread, where Python allows no signal handlers.
    """

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def asked(self) -> bool:
        """True once a stop was requested."""
        return self._asked_at is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {one: signal.signal(one, self._note) for one in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for one, handler in self._previous.items():
            signal.signal(one, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked_at is not None and time.monotonic() - self._asked_at > ONE_PRESS:
            raise KeyboardInterrupt
        self._asked_at = self._asked_at or time.monotonic()


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """Let SIGTERM stop a command as Ctrl-C does while this context is open, unless somebody handles it already.

    Does nothing outside the main thread, where Python allows no signal handlers.
    """
    is_ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if is_ours:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
