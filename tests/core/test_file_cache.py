"""The cache of remote files: bounded, shared by processes, never half a file."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest
from remote_files import cache, put

from lat.core import file_cache, remote
from lat.core.errors import InputError

__all__ = ["cache"]
MB = 10**6


def add(name: str, size: int, used: int) -> Path:
    """Put `size` bytes into the cache that were last used at second `used`."""
    path = file_cache.copies_folder() / name
    file_cache.add(path, 7 * 10**9, lambda temporary: Path(temporary).write_bytes(b"x" * size) and None)
    os.utime(path, ns=(used * 10**9, 7 * 10**9))
    return path


def test_the_least_recently_used_go_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAT_CACHE_GB", "0.001")  # 1 MB
    a, b, c = add("a", 300_000, 100), add("x/b", 300_000, 200), add("x/c", 300_000, 300)
    assert file_cache.use(a) == (300_000, 7 * 10**9)  # now the latest
    d = add("d", 300_000, 400)  # 1.2 MB: b goes, and 0.9 MB are left
    assert [path.exists() for path in (a, b, c, d)] == [True, False, True, True]
    e = add("e", 2 * MB, 500)  # larger than the bound: all others go, and it stays
    assert [path.exists() for path in (a, c, d, e)] == [False, False, False, True]
    assert (cache / "bytes").read_text() == str(2 * MB)


def test_a_replaced_copy_counts_once_and_a_damaged_count_is_made_anew(cache: Path) -> None:
    add("a", 1000, 1)
    add("a", 400, 2)
    assert (cache / "bytes").read_text() == "400"
    (cache / "bytes").write_text("what?")
    add("b", 5, 3)
    assert (cache / "bytes").read_text() == "405"


def test_a_file_that_goes_while_it_is_read_stays_readable(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAT_CACHE_GB", "0.000001")  # 1000 bytes
    put("memory://d/a", b"a" * 800)
    put("memory://d/b", b"b" * 800)
    with remote.open_file(remote.as_path("memory://d/a")) as first:
        assert first.read(400) == b"a" * 400
        assert remote.read_bytes(remote.as_path("memory://d/b")) == b"b" * 800
        assert not remote.as_path("memory://d/a").exists()
        assert first.read() == b"a" * 400
    assert remote.read_bytes(remote.as_path("memory://d/a")) == b"a" * 800, "and is fetched again"


def test_a_fetch_that_fails_leaves_nothing_and_keeps_the_old_copy(cache: Path) -> None:
    path = add("a", 10, 1)

    def half(temporary: str) -> None:
        Path(temporary).write_bytes(b"half")
        raise InterruptedError

    with pytest.raises(InterruptedError):
        file_cache.add(path, 0, half)
    assert path.read_bytes() == b"x" * 10
    assert not list((cache / "partial").iterdir())


def test_what_killed_processes_left_goes_after_a_day(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAT_CACHE_GB", "0.000001")
    add("a", 900, 1)
    old, new = cache / "partial" / "old", cache / "partial" / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    add("b", 900, 2)
    assert (old.exists(), new.exists()) == (False, True)


def _fill(first: int) -> None:
    """Add and read files whose bytes all are their own number."""
    for turn in range(60):
        number = (first + turn) % 10
        path = file_cache.copies_folder() / str(number)

        def write(temporary: str, number: int = number) -> None:
            with open(temporary, "wb") as file:
                for _ in range(10):
                    file.write(bytes([number]) * 1000)
                    file.flush()

        file_cache.add(path, 0, write)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # another process needed its room
        assert content == bytes([number]) * 10_000


def test_processes_that_share_a_cache_see_whole_files_and_keep_the_bound(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAT_CACHE_GB", "0.00005")  # 50,000 bytes: five of the ten files
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_fill, args=(3 * k,), daemon=True) for k in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    sizes = [path.stat().st_size for path in file_cache.copies_folder().iterdir()]
    assert sum(sizes) == int((cache / "bytes").read_text()) <= 50_000
    assert not list((cache / "partial").iterdir())


@pytest.mark.parametrize("text", ["much", "0", "-3", "nan", "inf"])
def test_the_bound_is_a_positive_number(text: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAT_CACHE_GB", text)
    with pytest.raises(InputError, match=f"LAT_CACHE_GB: is '{text}'; give the bound of the cache in GB"):
        file_cache.bound_bytes()
    monkeypatch.setenv("LAT_CACHE_GB", "2.5")
    assert file_cache.bound_bytes() == 2_500_000_000
