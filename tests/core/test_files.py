from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from lat.core.files import open_atomically, sha256_of_file, sha256_of_json, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_bytes_and_text_into_new_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    write_atomically(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    write_atomically(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    assert names(path.parent) == ["c.bin"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "labels.json"
    write_atomically(path, "old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["labels.json"]


def test_content_is_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append(Path(a).read_text()), replace(a, b))[1])
    write_atomically(tmp_path / "a", "whole")
    assert seen[:2] == ["fsync", "whole"]


def test_the_file_can_be_read_by_whoever_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_sha256_of_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_sha256_of_json_ignores_the_order_of_keys_only() -> None:
    assert sha256_of_json({"a": 1, "b": [1, 2]}) == sha256_of_json({"b": [1, 2], "a": 1})
    assert sha256_of_json({"a": 1, "b": [1, 2]}) == hashlib.sha256(b'{"a":1,"b":[1,2]}').hexdigest()
    assert sha256_of_json([1, 2]) != sha256_of_json([2, 1])
    assert sha256_of_json(1) != sha256_of_json("1")
    with pytest.raises(ValueError, match="JSON"):
        sha256_of_json({"a": float("nan")})


def test_a_file_that_is_written_in_parts_appears_when_all_are_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with open_atomically(path) as file:
        file.write(b"one")
        assert not path.exists()
        file.write(b" two")
    assert path.read_bytes() == b"one two"
    with pytest.raises(TypeError), open_atomically(path) as file:
        file.writelines([b"half", "text"])
    assert [(p.name, p.read_bytes()) for p in path.parent.iterdir()] == [("a.txt", b"one two")]
