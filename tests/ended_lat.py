"""`lat` in a process that sends a signal at a certain moment, however busy the machine is: MOMENT WHOM, and the words of `lat`.

MOMENT is `a line of the log`, or the end of the path of a file, which has just been written. WHOM is `self`, or `sibling` for the
other process of torchrun, for SIGKILL, or `torchrun` for SIGTERM, whose arrival here is then waited for.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lat.cli import main
from lat.engine.training_log import TrainingLog


def sibling() -> int:
    """The process id of the other child of this process's parent that has a rank."""
    parent = os.getppid()
    children = map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    ranked = [one for one in children if b"\0LOCAL_RANK=" in Path(f"/proc/{one}/environ").read_bytes()]
    return next(one for one in ranked if one != os.getpid())


def stop_torchrun() -> None:
    """Ask it to end, and wait until it has asked this process."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    os.kill(os.getppid(), signal.SIGTERM)
    select.select([reader], [], [], 120)
    signal.set_wakeup_fd(-1)


def then(function: Callable[..., Any], is_time: Callable[..., bool], act: Callable[[], object]) -> Callable[..., Any]:
    """The function, after whose first call for which it is time something is done."""
    left = [act]

    def called(*arguments: Any) -> None:
        function(*arguments)
        if left and is_time(*arguments):
            left.pop()()

    return called


if __name__ == "__main__":
    moment, whom = sys.argv[1:3]
    del sys.argv[1:3]
    act: Callable[[], object] = {
        "self": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "sibling": lambda: os.kill(sibling(), signal.SIGKILL),
        "torchrun": stop_torchrun,
    }[whom]
    if moment == "a line of the log":
        TrainingLog.write_line = then(TrainingLog.write_line, lambda log, *_: log._out_dir, act)  # type: ignore[method-assign]
    else:
        os.replace = then(os.replace, lambda _, target: str(target).endswith(moment), act)
    main()
