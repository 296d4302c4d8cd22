"""Files by URL: `s3://`, `gs://`, `https://` and whatever else fsspec reads.

Every file has a path, also one that is not on this machine: it is where the copy lies in the cache (`file_cache`), and tells the
URL. So paths are joined and compared as ever; `open_file` and `fetched` bring a copy when it is needed.

A process lists a remote folder once, and asks once about a remote file, until `forget`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from lat.core import file_cache
from lat.core.errors import InputError
from lat.core.file_cache import Stamp
from lat.core.regular_files import open_regular

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
_EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")}
_VERSIONS = (
    *("ETag", "etag", "md5Hash"),
    *("LastModified", "Last-Modified", "last_modified", "mtime", "updated", "modified", "created"),
)
_NO_ACCESS, _GONE = (401, 403), (404, 410)  # the status of a web server's answer
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_TRIES = 5

_stamps: dict[str, Stamp | None] = {}  # by path; None for a file that is not there
_listed: set[str] = set()  # the paths of the folders that were listed


def is_url(place: str) -> bool:
    """True for `s3://bucket/key` and the like; false for a path."""
    return _URL.match(place) is not None


def as_path(place: str) -> Path:
    """The path of a file or folder that a setting names by path or URL. Nothing is opened.

    Raises:
        InputError: if a URL has no host, a part `..`, or is one inside another.
    """
    match = _URL.fullmatch(place)
    if match is None:
        if "::" in place and "://" in place:
            raise InputError(place, "is a URL inside another", "unpack the archive, and name its folder")
        return Path(place)
    scheme, rest = match.groups()
    if scheme == "file":
        return Path(rest)
    parts = [part for part in rest.split("/") if part]
    if not parts or {".", ".."} & set(parts):
        raise InputError(place, "is not a URL that names a file or folder", "write, for example, s3://bucket/folder")
    return file_cache.copies_folder().joinpath(scheme, *parts)


def is_remote(path: Path) -> bool:
    """True for a path that `as_path` made of a URL, or one below it."""
    return os.fspath(path).startswith(f"{file_cache.copies_folder()}{os.sep}")


def name_of(path: Path | str) -> str:
    """The URL of a remote file, and else its path, for messages."""
    if isinstance(path, str) or not is_remote(path):
        return str(path)
    scheme, *parts = path.relative_to(file_cache.copies_folder()).parts
    return f"{scheme}://{'/'.join(parts)}"


def forget() -> None:
    """Look up all remote files anew when they are needed next."""
    _stamps.clear()
    _listed.clear()


def open_file(path: Path, *, renew: bool = False) -> BufferedReader:
    """Open a file for reading, after fetching it if it is remote (see `fetched`).

    Raises:
        InputError: if a remote file cannot be fetched, or the path is not that of a regular file.
        OSError: if a file on this machine cannot be opened.
    """
    for _ in range(_TRIES):
        try:
            return open_regular(fetched(path, renew=renew))
        except FileNotFoundError:  # another process needed its room in between
            if not is_remote(path):
                raise
    raise InputError(name_of(path), "its copy is removed before it is read", f"give the cache more room with {file_cache.SIZE}")


def read_bytes(path: Path, *, renew: bool = False) -> bytes:
    """The content of a file; see `open_file`."""
    with open_file(path, renew=renew) as file:
        return file.read()


def fetched(path: Path, *, renew: bool = False) -> Path:
    """Return the path unchanged, after a remote file was copied to it unless an unchanged copy is there.

    Args:
        path: the file.
        renew: ask whether a copy is still that of the remote file, unless this process knows; a copy is trusted otherwise.

    Raises:
        InputError: naming the URL, if there is no such file, no access, no package for the protocol, or no room.
    """
    if not is_remote(path):
        return path
    wanted = stamp_of(path) if renew or str(path) in _stamps else None
    copy = file_cache.use(path)
    if copy is not None and (wanted is None or _agree(copy, wanted)):
        return path
    wanted = wanted or stamp_of(path)
    url = name_of(path)
    if wanted is None:
        raise _missing(url)

    def fetch(name: str) -> None:
        with explaining(url):
            system, key = open_system(url)
            system.get_file(key, name)

    found = file_cache.add(path, wanted.mtime_ns, fetch)
    if not _agree(found, wanted):
        path.unlink(missing_ok=True)
        _stamps.pop(str(path), None)
        raise InputError(url, f"has {found.size} bytes where {wanted.size} were promised", "start again; it has just changed")
    return path


def _agree(one: Stamp, other: Stamp) -> bool:
    """True if two stamps are of the same content; a size below 0 is one that the server does not tell."""
    return one.mtime_ns == other.mtime_ns and (one.size == other.size or min(one.size, other.size) < 0)


def stamp_of(path: Path) -> Stamp | None:
    """Size and modification time of a file, which is not fetched, or None if there is none.

    A remote file has a number made of its ETag, or else of its modification time, for the latter.

    Raises:
        InputError: if a remote file cannot be asked about.
    """
    if not is_remote(path):
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stamp(status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
    key = str(path)
    if key not in _stamps and not any(str(parent) in _listed for parent in path.parents):
        _stamps[key] = _ask(name_of(path))
    return _stamps.get(key)


def is_file(path: Path) -> bool:
    """True if there is such a file, here or at the URL.

    Raises:
        InputError: if a remote file cannot be asked about.
    """
    return stamp_of(path) is not None if is_remote(path) else path.is_file()


def _ask(url: str) -> Stamp | None:
    with explaining(url):
        system, key = open_system(url)
        system.invalidate_cache()
        try:
            return stamp_of_entry(system.info(key))
        except FileNotFoundError as error:
            if _is_web(url) and getattr(error.__cause__, "status", 0) not in _GONE and error.__cause__ is not None:
                raise error.__cause__ from None  # fsspec calls any failure of the web a missing file
            return None


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def stamp_of_entry(entry: Mapping[str, Any]) -> Stamp:
    """The stamp of a file as a file system of fsspec describes it; a size that is not told is -1."""
    version = next((str(entry[key]) for key in _VERSIONS if entry.get(key)), "")
    seconds = int.from_bytes(hashlib.sha256(version.encode()).digest()[:4]) >> 1
    return Stamp(-1 if entry.get("size") is None else int(entry["size"]), seconds * 10**9)


def is_folder(path: Path) -> bool:
    """True if there is such a folder. A remote one is listed, which tells the stamps of all its files.

    Web servers list no folders in a way to rely on: any folder of theirs counts as there.

    Raises:
        InputError: if a remote folder cannot be listed.
    """
    if not is_remote(path):
        return path.is_dir()
    url, key = name_of(path), str(path)
    if _is_web(url):
        return True
    if key not in _listed:
        with explaining(url):
            system, root = open_system(url)
            system.invalidate_cache()
            try:
                entries = system.find(root, detail=True)
            except FileNotFoundError:
                entries = {}
        below = f"{root.rstrip('/')}/"
        found = {f"{key}/{name.removeprefix(below)}": one for name, one in entries.items() if name.startswith(below)}
        _stamps.update({name: stamp_of_entry(entry) for name, entry in found.items()})
        if found:
            _listed.add(key)
    return key in _listed


def upload(path: Path, content: bytes) -> None:
    """Write a remote file, whole.

    Raises:
        InputError: if that is refused.
    """
    url = name_of(path)
    with explaining(url, "written"):
        system, key = open_system(url)
        system.pipe_file(key, content)
        system.invalidate_cache()
    _stamps[str(path)] = _ask(url)


def open_system(url: str) -> tuple[Any, str]:
    """The file system of fsspec for a URL, and the file's name in it. Asked for anew each time: none survives a fork."""
    from fsspec.core import url_to_fs

    system, key = url_to_fs(url)
    return system, key


@contextmanager
def explaining(url: str, done: str = "read") -> Iterator[None]:
    """Turn whatever a file system raises into an `InputError` that names the URL and the remedy."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each package has its own kinds
        raise _explained(url, error, done) from None


def _explained(url: str, error: Exception, done: str) -> InputError:
    scheme = url.partition(":")[0]
    if isinstance(error, ImportError):
        package, extra = _EXTRAS.get(scheme, ("", ""))
        if package:
            return InputError(url, f"{scheme}:// needs the package {package}", f"pip install 'lat-detection[{extra}]'")
        return InputError(url, f"{scheme}:// needs another package ({_first_line(error)})", "install it")
    if isinstance(error, ValueError) and "rotocol" in str(error):
        return InputError(url, f"the protocol {scheme}:// is not known", "use a path, s3://, gs:// or https://")
    if isinstance(error, FileNotFoundError):
        return _missing(url)
    if getattr(error, "errno", None) in _NO_ROOM:
        remedy = f"give it another disk with {file_cache.FOLDER}, or a lower bound with {file_cache.SIZE}"
        return InputError(url, f"its copy has no room in {file_cache.cache_folder()}", remedy)
    is_refused = isinstance(error, PermissionError) or getattr(error, "status", None) in _NO_ACCESS
    if is_refused or "Credentials" in type(error).__name__:
        remedy = "correct the path, or set the credentials of the storage (docs/scaling_out.md)"
        return InputError(url, f"no access ({_first_line(error)})", remedy)
    return InputError(url, f"cannot be {done} ({_first_line(error)})", "check the address and the connection, and start again")


def _missing(url: str) -> InputError:
    return InputError(url, "no such object", "correct the path, or upload it")


def _first_line(error: Exception) -> str:
    return " ".join(str(error).splitlines()[:1]) or type(error).__name__
