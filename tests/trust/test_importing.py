"""What an import or an export cannot hold is refused before anything is written."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import coco_dict, draw_images, label_space, write_coco, write_json
from trust.one_line import refused, run

from lat.formats.corrections.cvat import MOST_XML_BYTES

Change = Callable[[dict[str, Any]], object]


def image(**values: Any) -> Change:
    return lambda document: document["images"][0].update(values)


def annotation(**values: Any) -> Change:
    return lambda document: document["annotations"][0].update(values)


def category(**values: Any) -> Change:
    return lambda document: document["categories"][0].update(values)


WRONG_COCO: dict[str, Change] = {
    "an image id twice": lambda document: document["images"][1].update(id=1),
    "a file name twice": lambda document: document["images"][1].update(file_name="001.png"),
    "bbox of texts": annotation(bbox=["5", "6", "20", "15"]),
    "bbox a text": annotation(bbox="5678"),
    "bbox not finite": annotation(bbox=[0, 0, float("inf"), 5]),
    "bbox of 400 digits": annotation(bbox=[0, 0, 10**400, 5]),
    "width negative": image(width=-64),
    "width a text": image(width="64"),
    "width a fraction": image(width=64.5),
    "width a thousand millions": image(width=10**9),
    "width null": image(width=None),
    "width 2^70": image(width=2**70),
    "category a number": category(name=5),
    "category id a list": category(id=[1]),
    "image_id a list": annotation(image_id=[1]),
    "image_id 2^70": annotation(image_id=2**70),
    "file name a number": image(file_name=5),
    "file name with NUL": image(file_name="a\0.png"),
    "file name too long": image(file_name="n" * 5000),
    "image an int": lambda document: document["images"].insert(0, 5),
    "bbox missing": lambda document: document["annotations"][0].pop("bbox"),
}

HALVES = {  # of a character, which the importer reads as a question mark
    "file name half a character": image(file_name="\ud800.png"),
    "category half a character": category(name="\ud800"),
}


def coco_folder(folder: Path, change: Change = lambda document: None) -> Path:
    value = coco_dict(space=label_space("cells", ["car", "truck"]))
    draw_images(folder / "train", value)
    change(value)
    (folder / "train" / "_annotations.coco.json").write_text(json.dumps(value).replace("Infinity", "1e400"))
    return folder


@pytest.mark.parametrize("kind", WRONG_COCO)
def test_an_import_writes_nothing_that_check_would_refuse(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = coco_folder(tmp_path / "data", WRONG_COCO[kind])
    out = tmp_path / "out"
    line = refused(capsys, "import", "coco", "--root", root, "--out", out, "--split", "train")
    assert "data" in line or "n" * 100 in line
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize("text", ["[" * 200_000, '{"images": ' + "[" * 200_000, '{"images": [1' + "1" * 5000, "{", "\xff"])
def test_json_without_end_is_not_imported(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = coco_folder(tmp_path / "data")
    (root / "train" / "_annotations.coco.json").write_bytes(text.encode("latin-1"))
    line = refused(capsys, "import", "coco", "--root", root, "--out", tmp_path / "out", "--split", "train")
    assert "_annotations.coco.json" in line


@pytest.mark.parametrize("kind", ["a file name twice", "file name half a character", "category half a character"])
def test_check_tells_of_it_as_well(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = coco_folder(tmp_path / "data", (WRONG_COCO | HALVES)[kind])
    entry = {"images": str(folder / "train"), "annotations": str(folder / "train" / "_annotations.coco.json")}
    config = write_json(tmp_path / "mine.yaml", {"datasets": [{"name": name, **entry} for name in ("one", "two")]})
    status, output, _ = run(capsys, "check", config)
    assert status == 2
    assert "stands in the training part 2 times" in output or "has half a character" in output


TEXT_FILES = [
    ("voc", "ImageSets/Main/train.txt"),
    ("voc", "labelmap.txt"),
    ("voc", "Annotations/*.xml"),
    ("yolo", "data.yaml"),
    ("yolo", "**/labels/**/*.txt"),
    ("kitti", "**/*.txt"),
]


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("kind", ["not UTF-8", "fifo", "device"])
@pytest.mark.parametrize(("form", "pattern"), TEXT_FILES)
def test_text_files_of_other_formats(
    form: str, pattern: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = write_coco(tmp_path / "made", coco_dict(), name="city")
    if form == "kitti":
        draw_images(tmp_path / "data" / "training" / "image_2", coco_dict())
        write_text(tmp_path / "data" / "training" / "label_2" / "001.txt", "Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0\n")
    else:
        made = (settings.annotations, "--images", settings.images, "--to", form, "--out", tmp_path / "data", "--copy")
        assert run(capsys, "export", *made)[0] == 0
    path = next(iter(sorted((tmp_path / "data").glob(pattern))), tmp_path / "data" / pattern)
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(b"\xff\xfe\xff 1 2 3")
    status, _, errors = run(capsys, "import", form, "--root", tmp_path / "data", "--out", tmp_path / "out")
    if path.name != "labelmap.txt" or kind == "not UTF-8":  # what is no file is no list of classes
        assert status == 2
        assert path.name in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize("name", ["#x", "a:b", " car", "car ", "background"])
def test_voc_refuses_classes_that_would_not_come_back(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = write_coco(tmp_path / "data", coco_dict(space=label_space("city", [name, "truck"])))
    arguments = ("export", settings.annotations, "--images", settings.images, "--to", "voc", "--out", tmp_path / "out")
    assert "cannot stand in labelmap.txt" in refused(capsys, *arguments)
    assert not (tmp_path / "out").exists()


def test_cvat_refuses_file_names_that_xml_cannot_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = coco_dict()
    value["images"][0]["file_name"] = "a\x01b.png"
    settings = write_coco(tmp_path / "data", value)
    arguments = ("export", settings.annotations, "--images", settings.images, "--to", "cvat", "--out", tmp_path / "out")
    assert "has characters that XML cannot hold" in refused(capsys, *arguments)
    assert not (tmp_path / "out").exists()


def archive(path: Path, content: bytes, **options: Any) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("annotations.xml", content, **options)
    return path.read_bytes()


def bomb(path: Path) -> bytes:
    """A quarter of a megabyte of archive that holds a little more than is read."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("annotations.xml", "w", force_zip64=True) as content:
        for _ in range(MOST_XML_BYTES // 1_000_000 + 1):
            content.write(b" " * 1_000_000)
    return path.read_bytes()


def changed_headers(data: bytes, place: int, value: int) -> bytes:
    """The archive with another byte at a place of its item's header, which it has twice."""
    there = bytearray(data)
    there[place] = there[data.rindex(b"PK\x01\x02") + place + 2] = value
    return bytes(there)


ARCHIVES: dict[str, Callable[[Path], bytes]] = {
    "a bomb": bomb,
    "damaged": lambda path: archive(path, b"<annotations/>" * 9)[:40] + b"\xff" * 9 + archive(path, b"<annotations/>" * 9)[49:],
    "encrypted": lambda path: changed_headers(archive(path, b"<annotations/>"), 6, 1),
    "no such encoding": lambda path: archive(path, b'<?xml version="1.0" encoding="none"?><annotations/>'),
    "an encoding without end": lambda path: b'<?xml version="1.0" encoding="idna"?><annotations/>',
    "a method of nobody": lambda path: changed_headers(archive(path, b"<annotations/>"), 8, 99),
    "cut": lambda path: archive(path, b"<annotations/>")[:-30],
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_of_cvat(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = write_coco(tmp_path / "data", coco_dict())
    path = tmp_path / "task.zip"
    path.write_bytes(ARCHIVES[kind](tmp_path / "made.zip"))
    out = tmp_path / "out.json"
    line = refused(capsys, "import", "cvat", "--root", path, "--labels", settings.annotations, "--out", out)
    assert line.startswith(str(path))
    assert not out.exists()


@pytest.mark.parametrize("tool", ["cvat", "label-studio", "fiftyone"])
@pytest.mark.parametrize("what", ["corrections", "labels"])
@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_is_no_file_is_not_waited_for(
    tool: str, what: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = write_coco(tmp_path / "data", coco_dict())
    special, sound = tmp_path / "special", Path(settings.annotations)
    os.mkfifo(special) if kind == "fifo" else special.symlink_to("/dev/zero")
    back, labels = (special, sound) if what == "corrections" else (sound, special)
    arguments = ("import", tool, "--root", back, "--labels", labels, "--out", tmp_path / "out.json")
    assert "special: " in refused(capsys, *arguments)


@pytest.mark.parametrize("name", ["train-annotations-bbox.csv", "class-descriptions-boxable.csv"])
def test_a_quote_that_is_never_closed_in_a_long_table(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_images(tmp_path / "data" / "train", coco_dict())
    write_text(tmp_path / "data" / "train-annotations-bbox.csv", "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n")
    write_text(tmp_path / "data" / "class-descriptions-boxable.csv", "/m/01g,Car\n")
    with (tmp_path / "data" / name).open("a") as file:
        file.write('"' + "a1,/m/01g,0,1,0,1,0\n" * 10_000)
    assert name in refused(capsys, "import", "open-images", "--root", tmp_path / "data", "--out", tmp_path / "out")


def test_a_byte_order_mark_hides_no_box(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = write_coco(tmp_path / "made", coco_dict(), name="city")
    made = (settings.annotations, "--images", settings.images, "--to", "yolo", "--out", tmp_path / "data", "--copy")
    assert run(capsys, "export", *made)[0] == 0
    path = tmp_path / "data" / "labels" / "train" / "001.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert run(capsys, "import", "yolo", "--root", tmp_path / "data", "--out", tmp_path / "out")[0] == 0
    assert len(json.loads((tmp_path / "out" / "train.json").read_text())["annotations"]) == 3
