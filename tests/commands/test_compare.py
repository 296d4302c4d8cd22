"""`lat compare` on files: what it prints, writes and refuses, and the page that it makes."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from factories import coco_dict, draw_images, label_space, write_json

from lat.cli import main

NASTY = "<script>alert('&\"')</script>"
FIRST, SECOND = label_space("first", ("car", NASTY)), label_space("second", ("vehicle", "person"))
LEFT, RIGHT, BELOW = [2, 2, 10, 10], [30, 2, 10, 10], [2, 18, 10, 10]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two images of 48 x 32 pixels: on the first both box the same, on the second A and B have a box of their own each."""
    first = coco_dict([[LEFT, RIGHT], [LEFT, BELOW]], space=FIRST)
    second = coco_dict([[LEFT, RIGHT], [LEFT, RIGHT]], space=SECOND)
    for image in second["images"]:
        image["id"] += 100
    for annotation in second["annotations"]:
        annotation["image_id"] += 100
    first["images"][1]["file_name"] = second["images"][1]["file_name"] = "<b>&1#.png"
    draw_images(tmp_path / "images", first)
    write_json(tmp_path / "a.json", first)
    write_json(tmp_path / "b.json", second)
    return tmp_path


def run(folder: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["compare", str(folder / "a.json"), str(folder / "b.json"), *options])
    return int(caught.value.code or 0)


def with_page(folder: Path) -> tuple[str, ...]:
    return "--images", str(folder / "images"), "--out", str(folder / "out")


class Tags(HTMLParser):
    """All tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_what_people_read(files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run(files) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        f"A: {files}/a.json: 4 boxes in 2 images",
        f"B: {files}/b.json: 4 boxes in 2 images",
        "images matched by file name; left out: 0 of A, 0 of B",
    ]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert rows[0][:5] == ["car", "4", "1, 25 %", "0", "1.000"]
    assert [row[-1] for row in rows[:2]] == ["vehicle 75 %", "nothing 25 %"]
    assert lines[-1] == f"next: lat compare {files}/a.json {files}/b.json --images IMAGES --out compared"


def test_what_programs_read_is_what_the_file_has(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "--out", str(files / "out"), "--json-lines") == 0
    result, following = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (result.pop("event"), result.pop("table"), following["event"]) == ("result", "compare", "next")
    assert result == json.loads((files / "out" / "compare.json").read_text())
    assert (result["matched"], result["images_left_out"]) == (3, {"A": 0, "B": 0})
    assert [path.name for path in (files / "out").iterdir()] == ["compare.json"]


def test_quiet_prints_nothing(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, *with_page(files), "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_the_page_shows_the_image_with_disagreements_and_escapes_all_names(files: Path) -> None:
    assert run(files, *with_page(files)) == 0
    page = (files / "out" / "index.html").read_text(encoding="utf-8")
    tags = Tags(page)
    assert tags.all("script") == []
    assert "<b>&1" not in page
    assert NASTY not in page
    (image,) = tags.all("img")
    assert image["alt"] == "<b>&1#.png"
    assert (files / "out" / image["src"]).is_file()
    assert "../images/%3Cb%3E%261%23.png" in [attributes["href"] for attributes in tags.all("a")]
    boxes = [attributes["class"] for attributes in tags.all("g") if "of-" in attributes.get("class", "")]
    assert boxes[-4:] == ["box of-a", "box of-b", "box of-a is-alone", "box of-b is-alone"]
    assert "1 missed by B, 1 missed by A" in page
    policy = tags.all("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; img-src 'self' file: data:; style-src 'sha256-")
    assert not re.search(r"\sstyle=|\son\w+=|https?://", page)


def test_pairs_of_classes_that_are_no_counterparts_are_named(files: Path) -> None:
    for name, boxes_of_second_class in (("a", (2, 3)), ("b", (1, 2, 3))):
        content = json.loads((files / f"{name}.json").read_text())
        content["annotations"][3]["bbox"] = RIGHT
        for i in boxes_of_second_class:
            content["annotations"][i]["category_id"] = content["categories"][1]["id"]
        write_json(files / f"{name}.json", content)
    assert run(files, *with_page(files)) == 0
    page = (files / "out" / "index.html").read_text(encoding="utf-8")
    assert page.count("of-a is-different") == page.count("of-b is-different") == 1
    assert "car / person</text>" in page
    assert "0 missed by B, 0 missed by A, 1 of another class" in page


def test_without_any_disagreement_there_is_no_picture(files: Path) -> None:
    shutil.copy(files / "a.json", files / "b.json")
    assert run(files, *with_page(files)) == 0
    assert "The two disagree on no box." in (files / "out" / "index.html").read_text(encoding="utf-8")


def test_the_same_input_gives_the_same_page_in_the_same_folder(files: Path) -> None:
    assert run(files, *with_page(files)) == 0
    before = {path: path.read_bytes() for path in (files / "out").rglob("*") if path.is_file()}
    assert run(files, *with_page(files)) == 0
    assert {path: path.read_bytes() for path in (files / "out").rglob("*") if path.is_file()} == before


def test_boxes_below_a_score_are_left_out(files: Path) -> None:
    content = json.loads((files / "b.json").read_text())
    for annotation, score in zip(content["annotations"], (0.9, 0.2, 0.9, 0.9), strict=True):
        annotation["score"] = score
    write_json(files / "b.json", content)
    assert run(files, "--min-score", "0.5", "--out", str(files / "out")) == 0
    figures = json.loads((files / "out" / "compare.json").read_text())
    assert (figures["boxes"], figures["matched"], figures["min_score"]) == ({"A": 4, "B": 3}, 2, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--images", "images"), "--images: is given without --out; name a folder for the page with --out"),
        (("--images", "none", "--out", "out"), "none: no such images folder; correct --images"),
        (
            ("--out", "images"),
            "images: is not empty, and has no compare.json of an earlier comparison; name a new or empty folder",
        ),
        (("--out", "a.json"), "a.json: is not a folder; name a new or empty one"),
        (("--min-score", "2"), "--min-score: is 2.0; choose a number from 0 to 1"),
    ],
)
def test_errors_of_one_line(
    files: Path, options: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    assert run(files, *options) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (files / "out").exists()


def test_evaluate_points_to_compare(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(files / "a.json", files / "a b.json")
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", "--truth", str(files / "a b.json"), "--labels", str(files / "b.json")])
    assert caught.value.code == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first.endswith(f"or run `lat compare '{files}/a b.json' {files}/b.json`")
