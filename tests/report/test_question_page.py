"""The page of questions: what it shows, and in a browser the file of answers that it gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import launched, needs_chromium
from factories import coco_dict, label_space, write_coco
from galleries import NASTY

from lat.data.dataset import DetectionDataset, load_dataset
from lat.labelling.answers import read_answers
from lat.labelling.questions import Question
from lat.report.question_page import AskedQuestions, render_questions
from lat.report.question_pictures import GAP, SIDE, question_picture

OURS, THEIRS = label_space("ours", ("car", NASTY)), label_space("theirs", ("lorry", "no", NASTY))
CHOICES = (("lorry", 0.1, 0.9), (NASTY, 0.2, 0.6), ("no", 0.0, 0.0))


@pytest.fixture
def ours(tmp_path: Path) -> DetectionDataset:
    """Two images with two cars."""
    document = coco_dict([[(2, 2, 10, 10)], [(20, 5, 12, 6)]], space=OURS)
    return load_dataset(write_coco(tmp_path / "ours", document, name="ours"))[0]


def page_of(ours: DetectionDataset) -> str:
    questions = [Question("ours", "theirs", name, 2, 1.0, CHOICES, 2).to_dict() for name in OURS.class_names]
    said = {"theirs": {"ours": {"lorry": {"car": 0.25}, "no": []}}}
    return render_questions(
        AskedQuestions(questions, said), {"ours": ours}, {"Report": "index.html", "Questions": "questions.html"}
    )


def test_a_picture_has_each_object_with_its_box(ours: DetectionDataset) -> None:
    import cv2

    picture = question_picture(ours, 0)
    assert picture is not None
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (SIDE, 2 * SIDE + GAP, 3)
    side = SIDE / 1.7  # of a square box, with 0.35 of it around
    edge = pixels[SIDE // 2, round((SIDE - side) / 2)].astype(int)  # blue, green, red: yellow has no blue
    assert edge[2] > edge[0] + 60
    assert edge[1] > edge[0] + 60
    assert question_picture(ours, 1) is None


def test_names_are_escaped_and_only_the_own_script_may_run(ours: DetectionDataset) -> None:
    page = page_of(ours)
    assert NASTY not in page
    assert page.count("<script>") == 1
    policy = re.search(r'Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "unsafe" not in policy[1]
    assert "default-src 'none'" in policy[1]
    assert page_of(ours) == page


@needs_chromium
@pytest.mark.parametrize("width", [390, 1366])
def test_keys_answer_and_the_download_is_a_file_that_a_run_takes(ours: DetectionDataset, tmp_path: Path, width: int) -> None:
    problems: list[str] = []
    (tmp_path / "questions.html").write_text(page_of(ours), encoding="utf-8")
    with launched() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.set_default_timeout(60_000)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto((tmp_path / "questions.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.get_by_role("button", name="Download answers.yaml").is_disabled()
        press(page, "1", "2", "n", "3", "0")  # nothing takes back the third
        assert page.locator("#answered").inner_text() == "2 of 2 answered"
        press(page, "s", "p", "1")
        assert page.locator("#answered").inner_text() == "1 of 2 answered"
        press(page, "1", "n", "0")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download answers.yaml").click()
        download.value.save_as(tmp_path / "answers.yaml")
    assert problems == []
    found = read_answers(tmp_path / "answers.yaml", {"ours": OURS, "theirs": THEIRS})
    assert found["ours", "theirs"].to_dict()["said"] == {"car": ["lorry", NASTY], NASTY: []}
    assert found["theirs", "ours"].rows.keys() == {0, 1}


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
