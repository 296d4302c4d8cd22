"""The report in a browser at three widths, light, dark and on paper, by keyboard alone, and as axe-core sees it.

`AXE_CORE` names a copy of axe.min.js (`npm pack axe-core`); without it what it looks for is not looked for.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import needs_chromium
from factories import labeled_boxes
from galleries import WAY, content_of, make_gallery

from lat.labelling.questions import Question
from lat.report.build import write_report
from lat.report.question_page import AskedQuestions
from lat.report.report_settings import ReportSettings

pytestmark = needs_chromium
PAGES = ("index.html", "conventions.html", "questions.html")
VIEWS = [(390, "light"), (390, "dark"), (1366, "light"), (1366, "dark"), (2200, "light"), (2200, "dark")]


def conventions_of(source: str, target: str) -> dict[str, Any]:
    shift = {"median": 12.0, "low": 10.0, "high": 14.0, "spread": 3.0}
    sides = dict.fromkeys(("left", "top", "right", "bottom"), shift)
    hidden = dict.fromkeys(sides, 0.0)
    row = {"source_class": "car", "target_class": "vehicle", "pairs": 9, "sides": sides, "scatter": 3.0, "hidden": hidden}
    car = {"class": "car", "shares": {"vehicle": 0.9}, "nothing": 0.1, "undecided": True, "contradiction": 0.3}
    car |= {"without_box": 0.2, "without_box_at_home": 0.1}
    return {"source": source, "target": target, "conventions": [row], "classes": [car], "sentences": ["boxes reach further"]}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all its pages and two directions."""
    folder = tmp_path_factory.mktemp("front")
    boxes = [labeled_boxes(WAY, [(2, 2, 12, 12), (20, 2, 29, 12)], [0, 1], [0.95, 0.95])]
    first = make_gallery(folder, boxes, pseudo=boxes)
    second = replace(first, target="street")
    question = Question("city", "way", "car", 3, 1.0, (("vehicle", 0.1, 0.9), ("pedestrian", 0.0, 0.4)), 2).to_dict()
    content = replace(
        content_of(first, second, report=folder / "report"),
        examples={"city": first.dataset},
        conventions=[conventions_of("city", "way")],
        asked=AskedQuestions([question], {}, "run"),
    )
    write_report(folder / "report", content, ReportSettings())
    return folder / "report"


def opened(browser: Any, page: Path, width: int = 1366, scheme: str = "light") -> Any:
    """A page without problems on its console."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = context.new_page()
    found.problems = []
    found.on("console", lambda message: found.problems.append(message.text))
    found.on("pageerror", lambda error: found.problems.append(str(error)))
    found.goto(page.as_uri())
    return found


def shown_figures(page: Any) -> list[bool]:
    return [one.is_visible() for one in page.locator(".sights > figure").all()]


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_nothing_is_wider_than_the_window_and_the_picture_is_at_the_top(
    browser: Any, report: Path, width: int, scheme: str
) -> None:
    for name in PAGES:
        page = opened(browser, report / name, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
        if name == "index.html":
            first = page.locator(".sights figure img").first
            assert first.bounding_box()["y"] < 900
            page.wait_for_function("() => document.querySelector('.sights img').naturalWidth > 0")
        assert page.problems == []
        page.context.close()


def test_every_page_links_all_pages_at_its_top(browser: Any, report: Path) -> None:
    for name in PAGES:
        page = opened(browser, report / name)
        links = page.locator("nav .pages a")
        assert [one.get_attribute("href") for one in links.all()] == list(PAGES)
        assert page.locator("nav .pages [aria-current=page]").get_attribute("href") == name
        assert links.first.bounding_box()["y"] < 200
        page.context.close()


def test_the_keyboard_alone_reaches_the_content_and_chooses_a_direction(browser: Any, report: Path) -> None:
    page = opened(browser, report / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "sight"
    assert shown_figures(page) == [True, False]
    outline = page.locator(".sights > label").first.evaluate("one => getComputedStyle(one).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("ArrowRight")
    assert shown_figures(page) == [False, True]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Look at 001.png"
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[open]")
    assert page.url.endswith("#city.street/001.png")
    page.context.close()


def test_on_paper_there_is_one_column_without_buttons_and_no_table_is_cut(browser: Any, report: Path) -> None:
    for name in PAGES:
        page = opened(browser, report / name, 720, "dark")
        page.emulate_media(media="print")
        assert page.locator("nav").is_visible() is False
        assert [one.inner_text() for one in page.locator("button:not(.card-button), .button").all() if one.is_visible()] == []
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        wide = (
            "[...document.querySelectorAll('table')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1).length"
        )
        assert page.evaluate(wide) == 0, name
        if name == "index.html":
            assert page.get_by_role("table").count() >= 5
            assert page.locator("details table").first.is_visible()
        page.context.close()


@pytest.mark.skipif(not os.environ.get("AXE_CORE"), reason="AXE_CORE names no copy of axe.min.js")
@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_axe_finds_nothing(browser: Any, report: Path, width: int, scheme: str) -> None:
    for name in PAGES:
        page = opened(browser, report / name, width, scheme)
        page.evaluate(Path(os.environ["AXE_CORE"]).read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        problems = [(one["id"], [node["target"] for node in one["nodes"]]) for one in found["violations"]]
        assert problems == [], name
        page.context.close()
