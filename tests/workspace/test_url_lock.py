"""The lock of a run's folder at a URL."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from remote_files import cache, put

from lat.core.errors import InputError
from lat.core.url_folder import UrlFolder
from lat.workspace import run_lock, url_lock
from lat.workspace.run_folder import at_work_in, run_folder, url_folder, workers_folder
from lat.workspace.run_lock import Owner
from lat.workspace.url_lock import locked_at

__all__ = ["cache"]

pytestmark = pytest.mark.usefixtures("cache")
URL = "memory://bucket/run"
LOCK = f"{URL}/.state/lock.json"


@pytest.fixture
def folder(tmp_path: Path) -> UrlFolder:
    return UrlFolder(URL, tmp_path / "copy")


def exists() -> bool:
    return fsspec.filesystem("memory").exists("/bucket/run/.state/lock.json")


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_second_run_ends_with_one_line_that_names_the_first(folder: UrlFolder) -> None:
    with locked_at(folder):
        assert exists()
        with pytest.raises(InputError, match=rf"^{URL}: is in use by process \d+ on .+ since .+; .* remove {LOCK}$"):
            locked_at(UrlFolder(URL, folder.folder)).__enter__()
        assert exists()
    assert not exists()
    with locked_at(folder):
        pass


def test_the_lock_of_a_process_that_has_ended_is_taken_over(folder: UrlFolder) -> None:
    put(LOCK, replace(Owner.this_process(), pid=ended_process()).to_bytes())
    with locked_at(folder):
        folder.push()


def test_a_lock_of_another_machine_counts_until_it_is_silent(folder: UrlFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    put(LOCK, replace(Owner.this_process(), machine="another", host="there").to_bytes())
    with pytest.raises(InputError, match=r"on there since"):
        locked_at(folder).__enter__()
    monkeypatch.setattr(run_lock, "STALE_SECONDS", -1.0)
    with locked_at(folder):
        pass


def test_a_lock_that_makes_no_sense_is_nobodys(folder: UrlFolder) -> None:
    put(LOCK, b"{")
    with locked_at(folder):
        pass


def test_nothing_is_written_after_another_has_taken_over(folder: UrlFolder) -> None:
    (folder.folder).mkdir()
    (folder.folder / "result").write_text("1")
    with locked_at(folder):
        put(LOCK, replace(Owner.this_process(), host="there", since="now").to_bytes())
        with pytest.raises(InputError, match=r"is in use by process \d+ on there since now"):
            folder.push()
    assert exists(), "it is the other's"
    assert not fsspec.filesystem("memory").exists("/bucket/run/result")


def test_who_holds_it_says_now_and_then_that_it_lives(folder: UrlFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_lock, "BEAT_SECONDS", 0.01)
    with locked_at(folder):
        first = folder.read(".state/lock.json")
        while folder.read(".state/lock.json") == first:
            pass


def test_a_run_at_a_url_works_in_a_copy_that_is_renewed_before_and_written_after() -> None:
    folder = url_folder(URL)
    assert folder is not None
    assert workers_folder(URL).folder != folder.folder == run_folder(f"{URL}/")
    put(f"{URL}/before", b"1")
    with at_work_in(URL):
        assert (folder.folder / "before").read_bytes() == b"1"
        (folder.folder / "after").write_bytes(b"2")
    assert fsspec.filesystem("memory").cat_file("/bucket/run/after") == b"2"
    assert not exists()


@pytest.mark.parametrize("place", ["runs/lat", "/runs/lat", "file:///runs/lat"])
def test_a_folder_of_this_machine_is_no_url(place: str) -> None:
    assert url_folder(place) is None
    assert run_folder(place) == Path(place.removeprefix("file://"))
