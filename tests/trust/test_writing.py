"""What the system refuses to write is one line, whatever is written and wherever; names cannot forge messages."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories import coco_dict, draw_images, label_space, write_json
from trust.one_line import refused, run

from lat.core.errors import InputError, printable
from lat.core.files import open_atomically, write_atomically


def dataset(folder: Path, name: str = "car") -> Path:
    """A COCO dataset in the layout of `lat import coco --split train`."""
    value = coco_dict(space=label_space("cells", [name, "truck"]))
    draw_images(folder / "train", value)
    write_json(folder / "train" / "_annotations.coco.json", value)
    return folder


def unwritable(folder: Path, kind: str) -> Path:
    (folder / "file").write_text("mine")
    return {
        "a file": folder / "file",
        "below a file": folder / "file" / "below",
        "too long": folder / ("n" * 5000),
        "a path too long": folder.joinpath(*["n" * 200] * 30),
        "a device": Path("/dev/full") / "below",
    }[kind]


@pytest.mark.parametrize("kind", ["a file", "below a file", "too long", "a path too long", "a device"])
def test_an_output_that_cannot_be_written_is_one_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = unwritable(tmp_path, kind)
    line = refused(capsys, "import", "coco", "--root", dataset(tmp_path / "data"), "--out", out, "--split", "train")
    assert str(out)[:60] in line
    assert "; " in line
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_refuses_names_the_file_and_leaves_nothing(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InputError, match=rf"labels\.json: cannot be read or written \({os.strerror(code).lower()}\); "):
        write_atomically(tmp_path / "labels.json", "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no name of a file"):
        write_atomically(tmp_path / name / "labels.json", "new")


def test_a_file_that_is_read_meanwhile_is_the_one_that_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"elsewhere/none: cannot be read"), open_atomically(tmp_path / "a" / "new"):
        (tmp_path / "elsewhere" / "none").read_bytes()


def test_standard_output_that_is_full_is_one_line() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "lat", "schema"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output: cannot be read or written (no space left on device); ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nerror: b", r"a\nerror: b"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("nul\0", r"nul\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("left\u202eright", r"left\u202eright"),
        ("half \ud800", r"half \ud800"),
        ("no character \u05c8", r"no character \u05c8"),
        ("turned \u061c", r"turned \u061c"),
        ("café 车", "café 车"),
    ],
)
def test_names_cannot_speak_to_a_terminal(name: str, shown: str) -> None:
    assert printable(name) == shown
    error = InputError(name, f"'{name}' is wrong", name, (name, name))
    assert str(error) == f"{shown}: '{shown}' is wrong; {shown}\n  {shown}\n  {shown}"
    assert (error.where, error.remedy) == (name, name)


def test_a_class_name_cannot_forge_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = dataset(tmp_path / "data", "\x1b[2Jcar\nerror: everything is lost")
    status, output, errors = run(capsys, "import", "coco", "--root", root, "--out", tmp_path / "out", "--split", "train")
    assert status == 0, errors
    assert r"\x1b[2Jcar\nerror: everything is lost" in output
    assert "\x1b" not in output
    assert "\nerror" not in output


def test_a_name_on_the_command_line_cannot_forge_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "run", "none\nerror: all is lost.yaml").startswith(r"none\nerror: all is lost.yaml: ")
    assert refused(capsys, "run\x1b[31m").startswith(r"No such command 'run\x1b[31m'")
