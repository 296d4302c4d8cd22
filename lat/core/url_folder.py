"""A folder at a URL and its copy on this machine: files are carried from one to the other, each whole.

A file that is as its object is has a modification time made of the object's ETag, so that a look at it tells whether either has
changed since. What changed on both sides is taken from where it is newer.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from lat.core.errors import InputError
from lat.core.file_cache import Stamp
from lat.core.files import writing
from lat.core.remote import explaining, open_system, stamp_of_entry

_LEFT_OUT = (".state/lock.json", ".work/ray", "cache")  # who works in a run's folder, Ray Train's own files, and features
_HIDDEN = (".state", ".work")  # the hidden folders that are carried
_LAST = ".state"  # goes up after all else: what it tells of is there by then
_MARK_NS = 271_828_000  # the fraction of a second in the modification time of a file that is as its object is
_SECOND = 10**9
_AT_ONCE = 8
_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


Stamps = Mapping[str, Stamp | None]
"""Files by name, and their stamps; None for one that is not there."""


class Found(NamedTuple):
    """An object: its stamp, and when it was written, in seconds since 1970."""

    stamp: Stamp
    modified: float


class Opened(NamedTuple):
    """A file system of fsspec, and the folder's name in it."""

    system: Any
    root: str

    def key(self, name: str) -> str:
        return f"{self.root}/{name}"


class UrlFolder:
    """A folder at a URL, and its copy on this machine.

    Args:
        url: of the folder.
        folder: of the copy; it need not exist. One process changes it, or each a part of its own.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url.rstrip("/"), folder
        self.before_push: Callable[[], None] = lambda: None  # raises an `InputError` if another has the folder by now
        self._there: dict[str, Stamp] = {}  # the objects that this process knows

    def stamps(self, paths: Iterable[Path]) -> Stamps:
        """Name and stamp of those of these files that belong to the folder, for `fetch` on another machine."""
        return {path.relative_to(self.folder).as_posix(): _stamp_of(path) for path in paths if path.is_relative_to(self.folder)}

    def fetch(self, wanted: Stamps) -> None:
        """Bring the files with these stamps that the copy lacks, and delete those that are not to be there.

        Raises:
            InputError: if one cannot be read, as for everything here: it names the URL.
        """
        if self._lacking(wanted):
            with _alone(self.folder):  # whoever waits finds what another has brought
                self._each(self._bring, self._lacking(wanted))

    def gather(self, paths: Collection[Path]) -> list[Path]:
        """Bring files that another machine has just stored, named relative to the folder; returns where they are now."""
        opened = self._opened()
        self.fetch({path.as_posix(): self._ask(opened, path.as_posix()) for path in paths})
        return [self.folder / path for path in paths]

    def pull(self, below: str = "") -> None:
        """Make the copy what the folder at the URL is, apart from files that were changed here after they were changed there.

        Args:
            below: only this part of the folder.
        """
        objects = self._list(below)
        self._there = {name: stamp for name, stamp in self._there.items() if not _is_below(name, below)}
        self._there |= {name: found.stamp for name, found in objects.items()}
        self._each(self._bring, {name: one.stamp for name, one in objects.items() if self._is_wanted(name, one)})
        for name in self._files(below):
            if name not in objects and _is_marked(_stamp_of(self.folder / name)):  # it was there once
                (self.folder / name).unlink()

    def push(self, below: str = "") -> None:
        """Make the folder at the URL what the copy is, as far as this process knows it; records go up last.

        After an error all files are still here, and the next call goes on with those that are missing there.

        Args:
            below: only this part of the folder.
        """
        self.before_push()
        changed = [name for name in self._files(below) if _stamp_of(self.folder / name) != self._there.get(name)]
        for is_last in (False, True):
            self._each(self._store, dict.fromkeys(name for name in changed if name.startswith(_LAST) == is_last))
        gone = [name for name in self._there if _is_below(name, below) and not (self.folder / name).exists()]
        self._each(self._remove, dict.fromkeys(gone))

    def store(self, paths: Iterable[Path]) -> list[Path]:
        """Write these files of the copy to the URL; returns them relative to the folder."""
        names = [path.relative_to(self.folder) for path in paths]
        self._each(self._store, dict.fromkeys(name.as_posix() for name in names))
        return names

    def read(self, name: str) -> tuple[bytes, float] | None:
        """The content of an object that is in no copy, and when it was written, in seconds since 1970; None if there is none."""
        opened = self._opened()
        with explaining(self._url_of(name)):
            opened.system.invalidate_cache()
            try:
                return opened.system.cat_file(opened.key(name)), _modified(opened.system.info(opened.key(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write such an object."""
        opened = self._opened()
        with explaining(self._url_of(name), "written"):
            opened.system.pipe_file(opened.key(name), content)

    def remove(self, name: str) -> None:
        """Delete such an object, if it is there."""
        self._remove(self._opened(), name, None)

    def _lacking(self, wanted: Stamps) -> Stamps:
        return {name: stamp for name, stamp in wanted.items() if _stamp_of(self.folder / name) != stamp}

    def _opened(self) -> Opened:
        with explaining(self.url):
            system, root = open_system(self.url)
        return Opened(system, root.rstrip("/"))

    def _url_of(self, name: str) -> str:
        return f"{self.url}/{name}"

    def _list(self, below: str) -> dict[str, Found]:
        """All objects below a part of the folder, by name."""
        opened = self._opened()
        with explaining(self.url):
            opened.system.invalidate_cache()
            try:
                entries = opened.system.find(opened.key(below).rstrip("/"), detail=True)
            except FileNotFoundError:
                entries = {}
        start = opened.key("")
        named = {key.removeprefix(start): entry for key, entry in entries.items() if key.startswith(start)}
        return {
            name: Found(_marked(stamp_of_entry(entry)), _modified(entry))
            for name, entry in named.items()
            if _is_name(name) and not _is_left_out(name)
        }

    def _files(self, below: str) -> Iterator[str]:
        """The names of the files of the copy: no links, and none that is being written."""
        for folder, folders, files in os.walk(self.folder / below):
            start = "" if Path(folder) == self.folder else f"{Path(folder).relative_to(self.folder).as_posix()}/"
            folders[:] = [one for one in folders if (one[0] != "." or start + one in _HIDDEN) and not _is_left_out(start + one)]
            for name in files:
                is_partial = name.startswith(".") and name.endswith(".tmp")
                if not is_partial and not _is_left_out(start + name) and not os.path.islink(os.path.join(folder, name)):
                    yield start + name

    def _is_wanted(self, name: str, found: Found) -> bool:
        """True if an object is to replace what the copy has under its name."""
        here = _stamp_of(self.folder / name)
        if here is None or _is_marked(here):
            return here != found.stamp
        return found.modified * _SECOND > here.mtime_ns

    def _each(self, do: Callable[[Opened, str, Any], None], wanted: Mapping[str, Any]) -> None:
        """Do something with objects, several at a time."""
        if not wanted:
            return
        opened = self._opened()
        if len(wanted) == 1:
            for name, argument in wanted.items():
                do(opened, name, argument)
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for done in [pool.submit(do, opened, name, argument) for name, argument in wanted.items()]:
                done.result()

    def _bring(self, opened: Opened, name: str, stamp: Stamp | None) -> None:
        """Read an object, whose stamp is known, into the copy; without a stamp, there is to be none."""
        path, url = self.folder / name, self._url_of(name)
        if stamp is None:
            path.unlink(missing_ok=True)
            return
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
            os.close(handle)
        try:
            with explaining(url):
                opened.system.get_file(opened.key(name), temporary)
            size = os.stat(temporary).st_size
            if stamp.size not in (size, -1):
                raise InputError(url, f"has {size} bytes where {stamp.size} were promised", "start again; it has just changed")
            with writing(path):
                os.utime(temporary, ns=(stamp.mtime_ns, stamp.mtime_ns))
                os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._there[name] = stamp

    def _store(self, opened: Opened, name: str, _: None) -> None:
        """Write a file of the copy to the URL and mark it as being there, unless it changes meanwhile."""
        path, url = self.folder / name, self._url_of(name)
        with writing(path), path.open("rb") as file:
            status = os.fstat(file.fileno())
            with explaining(url, "written"):
                opened.system.put_file(str(path), opened.key(name))
            stamp = self._ask(opened, name)
            if stamp.size in (status.st_size, -1):
                os.utime(file.fileno(), ns=(stamp.mtime_ns, stamp.mtime_ns))  # not by name: another may have it by now
            elif _stamp_of(path) == Stamp(status.st_size, status.st_mtime_ns):
                what = f"has {stamp.size} bytes where {status.st_size} were written"
                raise InputError(url, what, "check the storage, and start again")
        self._there[name] = stamp

    def _remove(self, opened: Opened, name: str, _: None) -> None:
        with explaining(self._url_of(name), "deleted"), suppress(FileNotFoundError):
            opened.system.rm_file(opened.key(name))
        self._there.pop(name, None)

    def _ask(self, opened: Opened, name: str) -> Stamp:
        """The stamp of an object, which exists."""
        with explaining(self._url_of(name)):
            opened.system.invalidate_cache()
            return _marked(stamp_of_entry(opened.system.info(opened.key(name))))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep all others on this machine from bringing files into a copy while this context is open."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("ab") as lock:
        with suppress(OSError):  # a file system without locks: files are brought twice, and each is whole
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _stamp_of(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def _marked(stamp: Stamp) -> Stamp:
    """The stamp of a file that is as its object is."""
    return Stamp(stamp.size, stamp.mtime_ns // _SECOND * _SECOND + _MARK_NS)


def _is_marked(stamp: Stamp | None) -> bool:
    return stamp is not None and stamp.mtime_ns % _SECOND == _MARK_NS


def _is_below(name: str, below: str) -> bool:
    return not below or name.startswith(f"{below}/")


def _is_name(key: str) -> bool:
    """True for the name of a file below the folder: a store may have others."""
    return not {"", ".", ".."} & set(key.split("/"))


def _is_left_out(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}/") for one in _LEFT_OUT)


def _modified(entry: Mapping[str, Any]) -> float:
    """When an object was written, in seconds since 1970; 0 if the file system does not tell."""
    value = next((entry[key] for key in _MODIFIED if entry.get(key)), 0.0)
    with suppress(ValueError):
        value = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, int | float) else 0.0
