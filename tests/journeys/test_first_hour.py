"""The first hour with one's own data: from two downloads to a detector that has learnt from a person's corrections.

Every command is typed as the one before it says, on files in the layouts of Roboflow and Ultralytics.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from tiny import FEW_STEPS

from lat.cli import main
from lat.labels.coco.read import read_labels
from lat.street_scenes import SceneSettings, draw_street_scenes

QUICK = [*FEW_STEPS, "upstream.model={backbone: small, weights: none, image_size: 0}", "upstream.members=[]", "rounds.count=0"]
QUICK += ["downstream.training.steps=2", "downstream.training.batch_size=2", "downstream.in_run=false"]

LABELS = "runs/mine/transferred/theirs.ours.json"
REVIEWED = "runs/mine/transferred/theirs.ours.reviewed.json"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with spaces in its name that holds `ours.coco.zip` from Roboflow and `theirs/`, a YOLO folder."""
    folder = tmp_path_factory.mktemp("my own data")
    draw_street_scenes(folder / "drawn", SceneSettings(train_images={"city": 6, "nu": 6}, val_images=2, annotators="exact"))
    for part, name in (("train", "train"), ("valid", "val")):
        labels = folder / "drawn" / "city" / f"{name}.json"
        (folder / "made" / part).mkdir(parents=True)
        shutil.copy(labels, folder / "made" / part / "_annotations.coco.json")
        for file_name in read_labels(labels, "city").file_names:
            shutil.copy(folder / "drawn" / "city" / "images" / file_name, folder / "made" / part / file_name)
    shutil.make_archive(str(folder / "ours.coco"), "zip", folder / "made")
    own = folder / "drawn" / "nu"
    line = ["export", own / "train.json", "--to", "yolo", "--images", own / "images", "--out", folder / "theirs", "--copy"]
    assert status(line) == 0
    return folder


def status(words: list[object]) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return int(caught.value.code or 0)


def typed(command: list[str], answers: list[str], folder: Path) -> str:
    """What a command says on a terminal on which these lines are typed, each when something has been asked."""
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(command, cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True)
    os.close(terminal)
    said, deadline = "", time.monotonic() + 120
    while time.monotonic() < deadline:
        if not select.select([keyboard], [], [], 0.3)[0]:
            if answers and said.rstrip().endswith(":"):
                os.write(keyboard, f"{answers.pop(0)}\n".encode())
                said += " "
                time.sleep(0.1)
            continue
        try:
            piece = os.read(keyboard, 65536)
        except OSError:  # the terminal is closed: the command has ended
            break
        if not piece:
            break
        said += piece.decode()
    assert process.wait(60) == 0, said
    return said.replace("\r\n", "\n")


def test_from_downloads_to_a_detector_that_knows_what_a_person_corrected(
    downloads: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(downloads)

    def lat(*words: object) -> list[str]:
        """Run a command; what it prints is short and free of wrong ends."""
        capsys.readouterr()
        assert status(list(words)) == 0, capsys.readouterr().err
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) < 60
        assert lines[-1].startswith("next: ") or "then: lat " in lines[-1] or "from_studio.json" in words
        return lines

    answers = ["ours", "y", "nowhere.zip", "ours.coco.zip", "theirs", "y", "theirs/data.yaml", "", "ours", ""]
    said = typed([sys.executable, "-m", "lat", "init"], answers, downloads)
    assert "nowhere.zip: there is no such file" in said, "asked again, and nothing typed is lost"
    assert said.rstrip().endswith("next: lat check mine.yaml")
    options = ["--dataset", "ours=ours.coco.zip", "--dataset", "theirs=theirs/data.yaml", "--target", "ours"]
    assert lat("init", *options, "--out", "again.yaml")[-1] == "next: lat check again.yaml"
    assert settings_in(Path("again.yaml")) == settings_in(Path("mine.yaml")), "asked, or told by options"

    assert lat("check", "mine.yaml")[-1] == "next: lat run mine.yaml"
    lines = lat("run", "mine.yaml", *QUICK)
    assert lines[-1].startswith("next: lat train-downstream mine.yaml ")
    assert Path("runs/mine/report/index.html").is_file()
    assert lat("report", "runs/mine")[-1] == "next: lat export runs/mine --to yolo --out exports/ours"
    assert lat("export", "runs/mine", "--to", "yolo", "--out", "exports/ours", "--min-score", "0")[0].startswith(
        "wrote exports/ours: "
    )

    decisions = reviewed_in_browser(Path("runs/mine/report/index.html"), Path("decisions.json"))
    if decisions:
        lines = lat("review", "apply", decisions)
        assert re.fullmatch(rf"wrote .*{REVIEWED}: boxes: [1-9]\d* accepted, 0 left out", lines[0])
        assert lines[-1].startswith("next: lat train-downstream ")

    lines = lat("export", LABELS, "--to", "label-studio", "--images", "theirs", "--out", "exports/studio", "--copy")
    back = lines[-1].partition("then: lat ")[2].replace("project.json", "submitted.json")
    submit(Path("exports/studio/tasks_train.json"), Path("submitted.json"))
    lines = lat(*shlex.split(back), "--out", "from_studio.json")
    before = read_labels(Path(LABELS), "ours")
    assert lines[0].startswith(f"wrote from_studio.json: {before.num_boxes} boxes, {before.num_boxes} accepted, 0 changed")

    lines = lat("export", LABELS, "--to", "cvat", "--images", "theirs", "--out", "exports/cvat")
    back = re.sub(r"task\.zip", "corrected.xml", lines[-1].partition("then: lat ")[2])
    corrected = correct(Path("exports/cvat/train.xml"), Path("corrected.xml"))
    lines = lat(*shlex.split(back))
    assert lines[0].startswith(f"wrote {REVIEWED}: {before.num_boxes} boxes, {before.num_boxes - 1} accepted, 1 changed")
    assert any("another review of these labels was there" in line for line in lines) == bool(decisions)
    assert lines[-1] == "next: lat train-downstream runs/mine"

    monkeypatch.chdir("/")
    assert "everything is up to date" in lat("run", downloads / "runs" / "mine")
    monkeypatch.chdir(downloads)
    lines = lat("train-downstream", "runs/mine")
    assert any(line.startswith(f"{REVIEWED}: theirs is trained on with the labels of its review, 6 images") for line in lines)
    assert lines[-1] == "next: lat evaluate runs/mine"
    after = read_labels(Path(REVIEWED), "ours")
    assert set(after.scores.tolist()) == {1.0}
    assert after.space.class_names[after.labels[after.annotation_ids == after.annotation_ids.max()][0]] == corrected


def settings_in(path: Path) -> dict[str, Any]:
    """The settings of a file but the run's folder, which has its name."""
    return {key: value for key, value in yaml.safe_load(path.read_text()).items() if key != "output_dir"}


def reviewed_in_browser(page: Path, out: Path) -> Path | None:
    """Accept the most doubtful image in a browser and download the decisions; None where there is no browser."""
    chromium = shutil.which("chromium")
    if chromium is None or not importlib.util.find_spec("playwright"):
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": 1400, "height": 900})
        opened.goto(page.resolve().as_uri())
        opened.wait_for_selector("#cards svg .box")
        opened.evaluate("() => new Promise((done) => setTimeout(done, 200))")  # the gallery draws its cards again after 150 ms
        opened.locator(".card-button").first.click()
        opened.wait_for_selector("#viewer[open]")
        opened.keyboard.press("Shift+A")
        opened.keyboard.press("Escape")
        with opened.expect_download() as download:
            opened.get_by_role("button", name="Download decisions").click()
        download.value.save_as(out)
        browser.close()
    return out


def submit(exported: Path, out: Path) -> None:
    """A person's work in Label Studio: every prediction is submitted as it is."""
    tasks = json.loads(exported.read_text())
    for number, task in enumerate(tasks, start=1):
        task |= {"id": number, "annotations": [{"result": task["predictions"][0]["result"]}]}
    out.write_text(json.dumps(tasks))


def correct(exported: Path, out: Path) -> str:
    """A person's work in CVAT: the first box gets another class; returns that."""
    tree = ElementTree.parse(exported)
    names = [label.findtext("name") or "" for label in tree.getroot().iter("label")]
    box = next(tree.getroot().iter("box"))
    chosen = next(name for name in names if name != box.get("label"))
    box.set("label", chosen)
    tree.write(out)
    return chosen
