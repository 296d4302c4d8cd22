"""XML that grows or reaches outside, and damaged archives: one line that names the file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from factories import coco_dict, write_coco
from trust.one_line import bounded, refused

from lat.commands.export import ExportOptions, export_files
from lat.commands.found_dataset import found_dataset
from lat.core.errors import InputError

LAUGHS = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "ha"}">' for i in range(12))
ENTITIES = {
    "a bomb": (LAUGHS, "&a11;"),
    "a bomb of one level": (f'<!ENTITY a "{"ha" * 100_000}">', "&a;" * 1000),
    "a file": ('<!ENTITY a SYSTEM "file:///etc/passwd">', "&a;"),
    "a parameter": ('<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;', "&b;"),
}


@pytest.mark.parametrize("kind", ENTITIES)
@pytest.mark.parametrize(("form", "name"), [("voc", "Annotations/001.xml"), ("cvat", "train.xml")])
def test_entities(form: str, name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = write_coco(tmp_path / "labels", coco_dict())
    export_files(Path(made.annotations), Path(made.images), form, tmp_path / "out", ExportOptions(copy=True))
    path = tmp_path / "out" / name
    declared, used = ENTITIES[kind]
    body = path.read_text().removeprefix("<?xml version='1.0' encoding='utf-8'?>").replace("car", used, 1)
    path.write_text(f"<!DOCTYPE x [{declared}]>{body}")
    root = path if form == "cvat" else tmp_path / "out"
    more = ("--labels", made.annotations) if form == "cvat" else ()
    assert path.name in refused(capsys, "import", form, "--root", root, "--out", tmp_path / "found.json", *more)
    assert "root:" not in "".join(one.read_text() for one in tmp_path.rglob("found*") if one.is_file())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_of_a_dataset_with_a_damaged_byte(method: int, tmp_path: Path) -> None:
    path = tmp_path / "ours.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("data.yaml", "names: [car]\n" * 50)
    data = path.read_bytes()
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :])
        with bounded(), pytest.raises(InputError, match=r"ours"):
            found_dataset("ours", path)
        assert not (tmp_path / ".ours.part").exists()
        for made in tmp_path.glob("ours/**/*"):
            made.unlink()
        for folder in tmp_path.glob("ours"):
            folder.rmdir()
