"""Where a run's folder lies on this machine: the `output_dir` itself, or a copy of the one at a URL.

Only the process that a person started works in the copy that `run_folder` names. Workers of Ray have copies of their own, of what
they need, so that nothing depends on whether they run on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from lat.core.file_cache import cache_folder
from lat.core.files import sha256_of_json
from lat.core.remote import as_path, is_remote, is_url
from lat.core.url_folder import UrlFolder
from lat.workspace.run_lock import locked
from lat.workspace.url_lock import locked_at


def run_folder(output_dir: str) -> Path:
    """The folder of a run on this machine."""
    folder = url_folder(output_dir)
    return as_path(output_dir) if folder is None else folder.folder


def shown_folder(output_dir: str) -> str:
    """The folder of a run as people name it: by its URL, or as `run_folder` does."""
    folder = url_folder(output_dir)
    return str(run_folder(output_dir)) if folder is None else folder.url


def url_folder(output_dir: str) -> UrlFolder | None:
    """The folder of a run at a URL, and its copy here; None where `output_dir` is a folder of this machine."""
    if not is_url(output_dir) or not is_remote(as_path(output_dir)):
        return None
    return _opened(output_dir.rstrip("/"), cache_folder(), "")


@cache
def _opened(url: str, cache_of_machine: Path, kind: str) -> UrlFolder:
    name = f"{url.rpartition('/')[2]}.{sha256_of_json(url)[:12]}{kind}"
    return UrlFolder(url, cache_of_machine / "runs" / name)


def workers_folder(output_dir: str) -> UrlFolder:
    """The same folder, and the copy that workers of Ray on this machine share."""
    return _opened(output_dir.rstrip("/"), cache_folder(), ".workers")


@contextmanager
def at_work_in(output_dir: str) -> Iterator[None]:
    """Hold the lock of a run's folder while the block runs. One at a URL is copied before, and what changed goes there after.

    Raises:
        InputError: if another command is at work there, or the folder cannot be written.
    """
    folder = url_folder(output_dir)
    with locked(run_folder(output_dir)):
        if folder is None:
            yield
            return
        with locked_at(folder):
            folder.pull()
            folder.push()  # what a run before it could not
            yield
            folder.push()
