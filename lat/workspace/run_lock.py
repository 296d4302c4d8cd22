"""One command at a time in a run's folder: the lock that `lat run` and the commands of its stages hold while they work.

`.state/lock.json` says which process holds it, and its modification time that the process still lives. Processes that torchrun or
srun started together hold one lock, the first of them; workers of Ray and `lat work`, which write shards alone, hold none.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

from lat.core.errors import InputError
from lat.core.files import writing

LOCK = Path(".state") / "lock.json"
BEAT_SECONDS = 20.0
"""How often the one who holds the lock says that it lives."""
STALE_SECONDS = 300.0
"""How long one on another machine must seem to be silent, by clocks that may differ, for its lock to be watched."""
WATCH_SECONDS = 2.5 * BEAT_SECONDS
"""How long a watched lock must then not change for its owner to count as gone."""


@dataclass(frozen=True)
class Owner:
    """Who holds the lock.

    Attributes:
        host: name of the machine.
        machine: what tells whether process ids of two processes are of one system: its boot and its namespace of processes.
        pid: the process.
        started: when the process began, in clock ticks of the system, since ids are used again.
        since: when it took the lock, for people.
        command: what it runs.
    """

    host: str
    machine: str
    pid: int
    started: int
    since: str
    command: str

    @classmethod
    def this_process(cls) -> Owner:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        return cls(socket.gethostname(), _machine(), os.getpid(), _started(os.getpid()), since, command)

    @property
    def is_here(self) -> bool:
        """True if its process id means something to this process."""
        return self.machine == _machine()

    def is_gone(self, silent_seconds: float) -> bool:
        """True if the process has ended, or has been silent for too long to tell from here."""
        return _started(self.pid) != self.started if self.is_here else silent_seconds > STALE_SECONDS

    def refusal(self, folder: Path | str, lock: Path | str) -> InputError:
        """What another is told that wants to work in the folder."""
        what = f"is in use by process {self.pid} on {self.host} since {self.since} ({self.command[:200]})"
        return InputError(folder, what, f"wait until it ends; if it has ended, remove {lock}")

    def to_bytes(self) -> bytes:
        """The content of the lock."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @staticmethod
    def of_bytes(content: bytes) -> Owner | None:
        """Who holds a lock of this content; None if nobody does, or nobody can be made out."""
        try:
            owner = Owner(**json.loads(content))
        except (TypeError, ValueError, RecursionError):
            return None
        are_sound = all(type(getattr(owner, one.name)).__name__ == one.type for one in fields(Owner))
        return owner if are_sound else None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder while the block runs.

    Raises:
        InputError: naming process, host and start of the one that holds it, at once, unless it is on another machine and seems to
            be gone, which takes `WATCH_SECONDS` to tell; or if the folder cannot be written.
    """
    path, owner = folder / LOCK, Owner.this_process()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    _take(path, owner)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, ended), name="lock of the run", daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        _release(path, owner)


def _take(path: Path, owner: Owner) -> None:
    gone_at: int | None = None  # the time, in ns, of the last sign of life of an owner that was watched in vain
    while True:
        with writing(path), path.open("a+b") as file:
            _hold(file)
            if not _is_at(file, path):  # whoever had it has removed it in between
                continue
            found, seen = _read(file), os.fstat(file.fileno()).st_mtime_ns
            if found is None or (found.is_here and found.is_gone(0.0)) or seen == gone_at:
                _write(file, owner)
                return
        seems_gone = not found.is_here and abs(time.time() - seen / 1e9) > STALE_SECONDS
        if seems_gone and _is_silent(path, seen):
            gone_at = seen
            continue
        raise found.refusal(path.parent.parent, path)


def _is_silent(path: Path, seen: int) -> bool:
    """Watch a lock whose last sign of life is of the time `seen` in ns; True if there is none. It asks no clock of the day."""
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, WATCH_SECONDS))
        with suppress(FileNotFoundError):
            if path.stat().st_mtime_ns != seen:
                return False
    return True


def _hold(file: BinaryIO) -> None:
    """Let nobody else look at the file until it is closed, if its file system can do that."""
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file.fileno()), there)


def _read(file: BinaryIO) -> Owner | None:
    file.seek(0)
    return Owner.of_bytes(file.read(1 << 16))


def _write(file: BinaryIO, owner: Owner) -> None:
    file.truncate(0)
    file.write(owner.to_bytes())
    file.flush()


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        with suppress(OSError):
            os.utime(path)


def _release(path: Path, owner: Owner) -> None:
    """Remove the lock, unless another has it by now."""
    with suppress(OSError), path.open("r+b") as file:
        _hold(file)
        if _is_at(file, path) and _read(file) == owner:
            path.unlink()


def _machine() -> str:
    """What two processes share that see each other's process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return socket.gethostname()


def _started(pid: int) -> int:
    """When a process began, in clock ticks; 0 if the system does not tell, and -1 if there is no such process."""
    try:
        state, *others = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return -1 if state == b"Z" else int(others[18])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, IndexError):
        return 0
    if Path("/proc/self/stat").exists():
        return -1
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return -1
    except OSError:
        pass
    return 0
