"""A folder at a URL and its copies: what one machine changes reaches the others, whole, and nothing twice."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from remote_files import cache, s3_server

from lat.core.errors import InputError
from lat.core.url_folder import UrlFolder

__all__ = ["cache"]

pytestmark = pytest.mark.usefixtures("cache")
URL = "memory://bucket/run"


def copy_of(folder: Path, url: str = URL) -> UrlFolder:
    return UrlFolder(url, folder)


def write(copy: UrlFolder, **files: str) -> None:
    """Write files, whose names have `__` for `/`."""
    for name, text in files.items():
        path = copy.folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are written to the store, as it happens."""
    written: list[str] = []
    put = MemoryFileSystem.put_file

    def noted(self: Any, path: str, key: str, **options: Any) -> None:
        put(self, path, key, **options)
        written.append(key.removeprefix("/bucket/run/"))

    monkeypatch.setattr(MemoryFileSystem, "put_file", noted)
    return written


def test_what_one_machine_has_made_another_goes_on_with(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as bucket:
        one, other = copy_of(tmp_path / "one", f"{bucket}/run"), copy_of(tmp_path / "other", f"{bucket}/run/")
        one.pull()
        write(one, config="a", upstream__city__model="weights", empty="")
        one.push()
        other.pull()
        assert contents(other.folder) == contents(one.folder) == {"config": "a", "empty": "", "upstream/city/model": "weights"}
        assert other.stamps([other.folder / "config"]) == one.stamps([one.folder / "config"])
        write(other, upstream__city__model="better")
        (other.folder / "empty").unlink()
        other.push()
        one.pull()
        assert contents(one.folder) == {"config": "a", "upstream/city/model": "better"}


def test_only_what_changed_is_written_and_records_go_last(tmp_path: Path, uploads: list[str]) -> None:
    copy = copy_of(tmp_path)
    write(copy, **{".state__step": "s", "b": "b", "a": "a"})
    copy.push()
    assert sorted(uploads[:2]) == ["a", "b"]
    assert uploads[2:] == [".state/step"]
    copy.pull()
    copy.push()
    write(copy, a="c")
    copy.push()
    assert uploads[3:] == ["a"]


def test_what_belongs_to_one_machine_stays_there(tmp_path: Path) -> None:
    copy = copy_of(tmp_path)
    write(copy, cache__features="f", **{".state__lock.json": "l", ".work__ray__x": "r", ".work__part": "p", ".yolo__image": "i"})
    write(copy, **{".half.123.tmp": "h"})
    os.symlink(copy.folder / ".work" / "part", copy.folder / "link")
    copy.push()
    assert fsspec.filesystem("memory").find("/bucket/run") == ["/bucket/run/.work/part"]


def test_a_part_of_a_folder_is_carried_alone(tmp_path: Path) -> None:
    one, other = copy_of(tmp_path / "one"), copy_of(tmp_path / "other")
    write(one, lat__model="m", lattice="l", lat__deep__log="d")
    one.push("lat")
    write(one, lat2__model="n")
    one.push()
    other.pull("lat")
    assert contents(other.folder) == {"lat/model": "m", "lat/deep/log": "d"}


def test_what_changed_on_both_sides_is_taken_from_where_it_is_newer(tmp_path: Path) -> None:
    one, other = copy_of(tmp_path / "one"), copy_of(tmp_path / "other")
    write(one, first="1", second="1")
    one.push()
    other.pull()
    write(one, first="older", second="newer")
    write(other, first="newer", second="older")
    other.push()
    for name, seconds in (("first", -10), ("second", 10)):
        os.utime(one.folder / name, (time.time() + seconds,) * 2)
    one.pull()
    assert contents(one.folder) == {"first": "newer", "second": "newer"}
    one.push()
    other.pull()
    assert contents(other.folder) == contents(one.folder)


def test_what_was_never_written_there_is_kept_when_the_copy_is_renewed(tmp_path: Path) -> None:
    copy = copy_of(tmp_path)
    write(copy, there="1")
    copy.push()
    write(copy, new="2")
    fsspec.filesystem("memory").rm("/bucket/run", recursive=True)
    copy.pull()
    assert contents(copy.folder) == {"new": "2"}


def test_a_store_that_refuses_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = copy_of(tmp_path)
    write(copy, a="a", b="b")
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "put_file", refused)
        with pytest.raises(InputError, match=r"^memory://bucket/run/[ab]: cannot be written \(out of order\); check the address"):
            copy.push()
    assert contents(copy.folder) == {"a": "a", "b": "b"}
    copy.push()
    copy_of(tmp_path / "other").pull()
    assert contents(tmp_path / "other") == {"a": "a", "b": "b"}


def refused(*arguments: Any, **options: Any) -> None:
    raise OSError("out of order")


def test_an_object_of_another_size_is_not_taken_for_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = copy_of(tmp_path)
    write(copy, a="long")
    monkeypatch.setattr(MemoryFileSystem, "put_file", lambda self, path, key, **options: self.pipe_file(key, b"cut"))
    with pytest.raises(InputError, match=r"^memory://bucket/run/a: has 3 bytes where 4 were written; check the storage"):
        copy.push()


def test_a_file_that_changes_while_it_is_written_there_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, put = copy_of(tmp_path), MemoryFileSystem.put_file

    def growing(self: Any, path: str, key: str, **options: Any) -> None:
        put(self, path, key, **options)
        if Path(path).read_text() == "one":
            Path(path).unlink()
            Path(path).write_text("two")  # as long, as checkpoints are

    monkeypatch.setattr(MemoryFileSystem, "put_file", growing)
    write(copy, log="one")
    copy.push()
    copy.push()
    assert fsspec.filesystem("memory").cat_file("/bucket/run/log") == b"two"


def test_files_are_fetched_by_their_stamps_and_gathered_by_name(tmp_path: Path) -> None:
    head, worker = copy_of(tmp_path / "head"), copy_of(tmp_path / "worker")
    write(head, model="weights")
    head.push()
    write(worker, old="of another time")
    wanted = head.stamps([head.folder / "model", head.folder / "old", tmp_path / "elsewhere"])
    assert list(wanted) == ["model", "old"]
    worker.fetch(wanted)
    assert contents(worker.folder) == {"model": "weights"}
    write(worker, **{".work__part-0": "rows"})
    assert head.gather(worker.store([worker.folder / ".work" / "part-0"])) == [head.folder / ".work" / "part-0"]
    assert contents(head.folder) == {"model": "weights", ".work/part-0": "rows"}
    with pytest.raises(InputError, match=r"^memory://bucket/run/\.work/other: no such object"):
        head.gather([Path(".work/other")])


def test_workers_of_one_machine_bring_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head, read, get = copy_of(tmp_path / "head"), list[str](), MemoryFileSystem.get_file
    write(head, model="weights")
    head.push()
    wanted = head.stamps([head.folder / "model"])

    def slowly(self: Any, key: str, path: str, **options: Any) -> None:
        read.append(key)
        time.sleep(0.1)
        get(self, key, path, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", slowly)
    with ThreadPoolExecutor(4) as workers:
        for done in [workers.submit(copy_of(tmp_path / "machine").fetch, wanted) for _ in range(4)]:
            done.result()
    assert read == ["/bucket/run/model"]


def test_names_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    for name in ("sound", "../outside", "a/../../outside", "/tmp/outside", "a//b"):
        store.store[f"/bucket/run/{name}"] = store.store.get("x") or _memory_file(b"x")
    copy = copy_of(tmp_path / "copy")
    copy.pull()
    assert contents(tmp_path) == {"copy/sound": "x"}


def _memory_file(content: bytes) -> Any:
    from fsspec.implementations.memory import MemoryFile

    return MemoryFile(data=content)
