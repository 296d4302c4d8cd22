"""`lat conventions` on a run whose detectors are known: what it prints, writes and refuses, and the page that it makes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from factories import coco_dict, draw_images, label_space, write_json

from lat.cli import main

NASTY = "<b>&bus"
OURS, THEIRS = label_space("ours", ("truck", NASTY)), label_space("theirs", ("lorry", "coach"))
SPACES = {"ours": OURS, "theirs": THEIRS}
IMAGES, SIZE_HW = 20, (200, 200)
TALL, SHORT = [50, 50, 60, 100], [50, 50, 60, 88]  # the same object: ours reaches 12 % of its height further down
ALONE = [130, 20, 40, 30]


def write_labels(path: Path, space: str, boxes: Sequence[Sequence[Sequence[float]]]) -> Path:
    """COCO boxes of the first class of a space, one entry per image; those of detectors have a score of 1."""
    return write_json(path, coco_dict(boxes, space=SPACES[space], size_hw=SIZE_HW))


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """20 images each with one object. Ours draws it down to 12 % below theirs; detectors draw it as their own people do.

    On 5 of their images our detector is sure of one more truck, on which they have no box.
    """
    drawn, found = {"ours": TALL, "theirs": SHORT}, {"ours": TALL, "theirs": SHORT}
    datasets = []
    for name, box in drawn.items():
        boxes = [[box]] * IMAGES
        draw_images(tmp_path / name / "images", coco_dict(boxes, space=SPACES[name], size_hw=SIZE_HW))
        for part in ("train", "val"):
            content = coco_dict(boxes, space=SPACES[name], size_hw=SIZE_HW)
            for image in content["images"]:
                image["id"] += 100 * (part == "val")
                image["file_name"] = f"{part}/{image['file_name']}"
            for annotation in content["annotations"]:
                annotation["image_id"] += 100 * (part == "val")
            draw_images(tmp_path / name / "images", content)
            write_json(tmp_path / name / f"{part}.json", content)
        files = {key: str(tmp_path / name / f"{part}.json") for key, part in (("annotations", "train"), ("validation", "val"))}
        datasets.append({"name": name, "images": str(tmp_path / name / "images"), **files})
    config = {"datasets": datasets, "output_dir": str(tmp_path / "run"), "rounds": {"count": 0}}
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for source, space in (("ours", "theirs"), ("theirs", "ours")):
        more = [[found[space], ALONE] if i < 5 and space == "ours" else [found[space]] for i in range(IMAGES)]
        write_detections(run / "pseudo_labels" / f"{source}.{space}.json", tmp_path / source / "train.json", space, more)
        for seen in (source, space):
            held_out = run / "pseudo_labels" / "held_out" / f"{source}.{seen}.json"
            write_detections(held_out, tmp_path / source / "val.json", seen, [[found[seen]]] * IMAGES)
    return run


def write_detections(path: Path, of: Path, space: str, boxes: Sequence[Sequence[Sequence[float]]]) -> None:
    content, images = coco_dict(boxes, space=SPACES[space], size_hw=SIZE_HW), json.loads(of.read_text())["images"]
    for annotation in content["annotations"]:
        annotation["image_id"] = images[annotation["image_id"] - 1]["id"]
        annotation["score"] = 0.9
    write_json(path, {**content, "images": images})


def lat(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["conventions", *map(str, arguments)])
    return int(caught.value.code or 0)


def figures_of(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["source"], one["target"]): one for one in json.loads((out / "conventions.json").read_text())["pairs"]}


def test_a_known_shift_is_found_from_both_sides_in_percent_of_the_sources_box(run_folder: Path, tmp_path: Path) -> None:
    assert lat(run_folder, "--out", tmp_path / "out", "-q") == 0
    found = figures_of(tmp_path / "out")
    (ours,), (theirs,) = (found[pair]["conventions"] for pair in (("ours", "theirs"), ("theirs", "ours")))
    assert (ours["source_class"], ours["target_class"], ours["pairs"]) == ("truck", "lorry", 20)
    assert ours["sides"]["bottom"]["median"] == pytest.approx(12.0, abs=1e-3)
    assert theirs["sides"]["bottom"]["median"] == pytest.approx(-100 * 12 / 88, abs=1e-3)
    for side in ("left", "top", "right"):
        assert ours["sides"][side]["median"] == pytest.approx(0.0, abs=1e-3)
    # nothing contradicts the expected bias of 3 %: of 4 sides measured twice and 20 that are expected, 20 / 24 of its square
    bottom = ours["sides"]["bottom"]
    assert bottom["high"] - bottom["median"] == pytest.approx(1.96 * 3 * (20 / 24) ** 0.5, rel=0.02)


def test_what_people_read(run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert lat(run_folder, "--source", "ours", "--target", "theirs") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert rows[0][:3] == ["truck", "lorry 80 %", "20"]
    assert rows[0][6] == "+12.0±5"
    assert rows[1][0] == NASTY
    (moves,) = (line for line in lines if "reach" in line)
    assert moves.startswith(
        "- boxes of `truck` in `ours` reach 12.0 ± 5.4 % further down than those of `lorry` in `theirs`; single"
    )
    share = "20 % (0 % in images of `ours` itself) of what the detector of `ours` is sure is `truck`"
    assert f"- `theirs` has no box on {share}: missed, or not of its protocol" in lines
    assert lines[-1] == f"next: lat report {run_folder}"


def test_what_programs_read_is_what_the_file_has(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lat(run_folder, "--out", tmp_path / "out", "--json-lines") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    *results, page, following = [one for one in events if one["event"] != "progress"]
    assert [(one.pop("event"), one.pop("table")) for one in results] == [("result", "conventions")] * 2
    assert results == list(figures_of(tmp_path / "out").values())
    assert (page["path"], following["event"]) == (str(tmp_path / "out" / "index.html"), "next")


def write_shares(run: Path, learnt: Sequence[float]) -> None:
    """Class shares of a run in which one estimate for our trucks differs from the others."""
    usual = [[0.8, 0.0, 0.2], [0.0, 1.0, 0.0]]
    ways = {"counted": usual, "learnt": [list(learnt), usual[1]], "consistent": usual, "scored": usual}
    back = dict.fromkeys(ways, usual)
    pairs = [{"source": "ours", "target": "theirs", **ways}, {"source": "theirs", "target": "ours", **back}]
    write_json(run / "lat" / "class_shares.json", {"pairs": pairs})


@pytest.mark.parametrize(("learnt", "is_undecided"), [([0.4, 0.4, 0.2], True), ([0.4, 0.0, 0.6], False)])
def test_classes_that_estimates_contradict_are_marked(
    run_folder: Path, tmp_path: Path, learnt: list[float], is_undecided: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shares(run_folder, learnt)
    assert lat(run_folder, "--source", "ours", "--out", tmp_path / "out") == 0
    truck, bus = figures_of(tmp_path / "out")["ours", "theirs"]["classes"]
    assert (truck["undecided"], bus["undecided"]) == (is_undecided, False)
    assert truck["contradiction"] == pytest.approx(0.5 * 0.8 if is_undecided else 0.0)  # half of those that are not "none"
    assert ("truck ?" in capsys.readouterr().out) == is_undecided
    assert ("undecided: detectors confuse it" in (tmp_path / "out" / "index.html").read_text()) == is_undecided


def test_the_page_has_a_picture_per_class_no_script_and_escapes_all_names(run_folder: Path, tmp_path: Path) -> None:
    assert lat(run_folder, "--out", tmp_path / "out", "-q") == 0
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert NASTY not in page
    assert "&lt;b&gt;&amp;bus" in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src 'self' file: data:; style-src 'sha256-")
    assert not re.search(r"\sstyle=|\son\w+=|https?://", page)
    assert page.count('<image href="data:image/jpeg;base64,') == 2
    before = page
    assert lat(run_folder, "--out", tmp_path / "out", "-q") == 0
    assert (tmp_path / "out" / "index.html").read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--source", "mine"), "datasets: there is no dataset 'mine'; known here: ours, theirs"),
        (("--source", "ours", "--target", "ours"), "--source and --target: name no transfer of this run; check `target`"),
        (("--out", "full"), "full: is not empty, and has no conventions.json of an earlier call; name a new or empty folder"),
        (("--out", "full/a.txt"), "full/a.txt: is not a folder; name a new or empty one"),
    ],
)
def test_errors_of_one_line(
    run_folder: Path, options: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run_folder.parent)
    (run_folder.parent / "full").mkdir()
    (run_folder.parent / "full" / "a.txt").write_text("")
    assert lat(run_folder, *options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {message}")


def test_before_there_are_pseudo_labels_it_names_the_command(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_folder / "pseudo_labels" / "ours.theirs.json").unlink()
    assert lat(run_folder) == 2
    assert "does not exist yet; run `lat pseudo-label` first" in capsys.readouterr().err
