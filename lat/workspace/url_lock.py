"""The lock of a run's folder at a URL: an object that names the process that works there, as `run_lock` has a file.

A store has no lock that holds for certain. Whoever finds the object of another that may live ends; whoever has written one looks
whether it is still there, at once and before anything is written. Of two that begin in the same moment, one ends at the latest
when its first step is done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lat.core.errors import InputError
from lat.core.url_folder import UrlFolder
from lat.workspace.run_lock import BEAT_SECONDS, LOCK, Owner

_NAME = LOCK.as_posix()


@contextmanager
def locked_at(folder: UrlFolder) -> Iterator[None]:
    """Hold the lock of a run's folder at its URL while the block runs.

    Raises:
        InputError: naming process, host and start of the one that holds it, at once; or if nothing can be written there.
    """
    owner = Owner.this_process()
    found = folder.read(_NAME)
    if found is not None:
        other = Owner.of_bytes(found[0])
        if other is not None and not other.is_gone(time.time() - found[1]):
            raise _refusal(folder, other)
    folder.write(_NAME, owner.to_bytes())
    _require_ours(folder, owner)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(folder, owner, ended), name="lock of the run's URL", daemon=True)
    beat.start()
    folder.before_push = lambda: _require_ours(folder, owner)
    try:
        yield
    finally:
        folder.before_push = lambda: None
        ended.set()
        beat.join()
        with suppress(InputError):  # one that stays behind is seen to be of a process that has ended
            if _is_ours(folder, owner):
                folder.remove(_NAME)


def _require_ours(folder: UrlFolder, owner: Owner) -> None:
    found = folder.read(_NAME)
    other = None if found is None else Owner.of_bytes(found[0])
    if other is None:
        raise InputError(f"{folder.url}/{_NAME}", "is gone while a run is at work", "start it again")
    if other != owner:
        raise _refusal(folder, other)


def _is_ours(folder: UrlFolder, owner: Owner) -> bool:
    found = folder.read(_NAME)
    return found is not None and Owner.of_bytes(found[0]) == owner


def _refusal(folder: UrlFolder, other: Owner) -> InputError:
    return other.refusal(folder.url, f"{folder.url}/{_NAME}")


def _beat(folder: UrlFolder, owner: Owner, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        with suppress(InputError):
            if _is_ours(folder, owner):
                folder.write(_NAME, owner.to_bytes())
