"""What a function in another process came to, as that process tells it.

Imports no torch: workers set their number of threads first.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lat.core.errors import InputError
from lat.core.files import OF_DISKS, refused


class WorkerError(RuntimeError):
    """A worker failed for a reason that is no fault of the user's input; the text is its traceback."""


class WorkerEndedError(WorkerError):
    """A worker has ended, killed or not, before it was done; the text is one line."""


@dataclass(frozen=True)
class Outcome:
    """What a function in a worker came to: its value, an `InputError`, or the traceback of any other error."""

    value: Any = None
    error: InputError | None = None
    trace: str = ""

    @staticmethod
    def of(function: Callable[..., Any], *arguments: Any) -> Outcome:
        try:
            return Outcome(function(*arguments))
        except InputError as error:
            return Outcome(error=error)
        except OSError as error:
            is_full = error.errno in OF_DISKS
            return Outcome(error=refused(error, "the disk")) if is_full else Outcome(trace=traceback.format_exc())
        except Exception:
            return Outcome(trace=traceback.format_exc())

    def unwrap(self) -> Any:
        """The value.

        Raises:
            InputError: the one that the function raised.
            WorkerError: if it raised any other error.
        """
        if self.error is not None:
            raise self.error
        if self.trace:
            raise WorkerError(f"a worker failed:\n{self.trace.rstrip()}")
        return self.value
