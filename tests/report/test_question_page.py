"""The page of questions: what it shows, and in a browser the file of answers that it gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import needs_chromium
from factories import coco_dict, label_space, write_coco
from galleries import NASTY

from lat.data.dataset import DetectionDataset, load_dataset
from lat.labelling.answers import read_answers
from lat.labelling.questions import Question
from lat.report.question_page import AskedQuestions, render_questions
from lat.report.question_pictures import GAP, SIDE, question_picture

OURS, THEIRS = label_space("ours", ("car", NASTY)), label_space("theirs", ("lorry", "no", NASTY, "cart"))
CHOICES = (("lorry", 0.1, 0.9), (NASTY, 0.2, 0.6), ("no", 0.0, 0.0), ("cart", 0.0, 0.0))


@pytest.fixture
def ours(tmp_path: Path) -> DetectionDataset:
    """Two images with two cars."""
    document = coco_dict([[(2, 2, 10, 10)], [(20, 5, 12, 6)]], space=OURS)
    return load_dataset(write_coco(tmp_path / "ours", document, name="ours"))[0]


def page_of(ours: DetectionDataset, run: str = "run", choices: tuple[tuple[str, float, float], ...] = CHOICES) -> str:
    questions = [Question("ours", "theirs", name, 2, 1.0, choices, 2).to_dict() for name in OURS.class_names]
    said = {"theirs": {"ours": {"lorry": {"car": 0.25}, "no": []}}}
    return render_questions(
        AskedQuestions(questions, said, run), {"ours": ours}, {"Report": "index.html", "Questions": "questions.html"}
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
def test_keys_answer_and_the_download_is_a_file_that_a_run_takes(
    ours: DetectionDataset, tmp_path: Path, browser: Any, width: int
) -> None:
    (tmp_path / "questions.html").write_text(page_of(ours), encoding="utf-8")
    page = opened(browser.new_context(viewport={"width": width, "height": 800}), tmp_path / "questions.html")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.get_by_role("button", name="Download answers.yaml").is_disabled()
    press(page, "1", "2", "n", "3", "0")  # nothing takes back the third
    assert answered(page) == "2 of 2 answered"
    press(page, "s", "p", "1")
    assert answered(page) == "1 of 2 answered"
    press(page, "1", "n", "0")
    download(page, tmp_path / "answers.yaml")
    assert page.problems == []
    found = read_answers(tmp_path / "answers.yaml", {"ours": OURS, "theirs": THEIRS})
    assert found["ours", "theirs"].to_dict()["said"] == {"car": ["lorry", NASTY], NASTY: []}
    assert found["theirs", "ours"].rows.keys() == {0, 1}


@needs_chromium
def test_answers_outlive_the_page_and_are_those_of_its_run(ours: DetectionDataset, tmp_path: Path, browser: Any) -> None:
    context, file = browser.new_context(viewport={"width": 1366, "height": 800}), tmp_path / "questions.html"

    def reopened(*given: Any) -> Any:
        file.write_text(page_of(ours, *given), encoding="utf-8")
        return opened(context, file)

    page = reopened()
    page.evaluate("localStorage.clear()")
    page.reload()
    press(page, "1", "n", "0")
    page.locator("summary").first.click()
    page.get_by_role("checkbox", name="cart 0 to 0 %").first.check()  # a choice that is folded away
    page.reload()
    assert answered(page) == "2 of 2 answered"
    assert page.locator("details[open]").count() == 1
    download(page, tmp_path / "answers.yaml")
    found = read_answers(tmp_path / "answers.yaml", {"ours": OURS, "theirs": THEIRS})
    assert found["ours", "theirs"].to_dict()["said"] == {"car": ["lorry", "cart"], NASTY: []}
    assert answered(reopened("another run")) == "0 of 2 answered"
    (tmp_path / "elsewhere.html").write_text(page_of(ours), encoding="utf-8")
    assert answered(opened(context, tmp_path / "elsewhere.html")) == "0 of 2 answered"
    assert answered(reopened("run", CHOICES[1:])) == "1 of 2 answered"  # a lorry is no choice there
    page = reopened()
    press(page, "s", "s")
    page.reload()
    assert answered(page) == "0 of 2 answered"
    assert page.evaluate("Object.keys(localStorage)").count(f"lat answers {file} run") == 1
    page.evaluate(f"localStorage.setItem('lat answers {file} run', '[7')")
    page.reload()
    press(page, "1")
    assert answered(page) == "1 of 2 answered"
    assert page.problems == []


def opened(context: Any, file: Path) -> Any:
    """A page without problems on its console."""
    page = context.new_page()
    page.problems = []
    page.set_default_timeout(60_000)
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(file.as_uri())
    return page


def answered(page: Any) -> str:
    text: str = page.locator("#answered").inner_text()
    return text


def download(page: Any, path: Path) -> None:
    with page.expect_download() as found:
        page.get_by_role("button", name="Download answers.yaml").click()
    found.value.save_as(path)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
