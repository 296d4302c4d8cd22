"""The page in a browser: looked through, filtered, zoomed and reviewed, with the keyboard too; nothing fetched from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import needs_chromium
from factories import label_space, labeled_boxes
from galleries import NASTY, content_of, make_gallery

from lat.commands.apply_review import apply_decisions
from lat.labels.coco.read import read_labels
from lat.report.build import write_report
from lat.report.report_settings import ReportSettings

pytestmark = needs_chromium
SPACES = label_space("city", ("car", NASTY)), label_space("way", ("vehicle", NASTY))
FILE = "<b>\u202e&\"' 1#.png"
IMAGES = 60  # three pages of cards, two files of boxes
FIRST = (2.0, 2.0, 12.0, 12.0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 60 images with two labels each: one is added, the other moved; in the first 5 images both have low scores."""
    folder = tmp_path_factory.mktemp("site")
    boxes = []
    for i in range(IMAGES):
        scores = [0.55, 0.6] if i < 5 else [0.95, 0.9]
        boxes.append(labeled_boxes(SPACES[1], [(2, 2, 10, 12), (30, 15, 40, 30)], [0, int(i == 0)], scores))
    truth = [labeled_boxes(SPACES[1], [FIRST]) for _ in range(IMAGES)]
    pseudo = [labeled_boxes(SPACES[1], [FIRST], [0], [0.7]) for _ in range(IMAGES)]
    own = [[(2, 2, 10, 10), (20, 2, 8, 8)] if i == 1 else [(2, 2, 10, 10)] for i in range(IMAGES)]
    gallery = make_gallery(folder, boxes, boxes_xywh=own, pseudo=pseudo, truth=truth, spaces=SPACES, file_name=FILE)
    write_report(folder / "report", content_of(gallery, report=folder / "report"), ReportSettings())
    return folder


@pytest.fixture
def page(browser: Any, site: Path) -> Iterator[Any]:
    """The open page; fails at the end if anything was printed to the console or asked of any host."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(60_000)
    problems: list[str] = []

    def watch(route: Any) -> None:
        if not route.request.url.startswith(site.as_uri()):
            problems.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    context.route("**/*", watch)
    opened = context.new_page()
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("requestfailed", lambda request: problems.append(f"{request.failure}: {request.url}"))
    opened.on("dialog", lambda dialog: dialog.accept())
    opened.goto((site / "report" / "index.html").as_uri())
    opened.wait_for_selector("#cards svg .box")
    yield opened
    context.close()
    assert [problem for problem in problems if not problem.startswith("net::ERR_ABORTED")] == []  # which leaving a page gives


def text(page: Any, selector: str) -> str:
    return page.locator(selector).inner_text()


def open_viewer(page: Any, card: int = 0) -> None:
    page.evaluate(
        "() => new Promise((done) => setTimeout(done, 200))"
    )  # the gallery draws its cards again after 150 ms of the page
    page.locator(".card-button").nth(card).click()
    page.wait_for_selector("#panels svg .box")


def images_found(page: Any, expected: str) -> None:
    page.wait_for_function("text => document.getElementById('gallery-count').textContent === text", arg=expected)


def test_the_most_doubtful_images_come_first_a_page_at_a_time(page: Any) -> None:
    assert text(page, "#gallery-count") == "60 images"
    assert page.locator(".card-button").count() == 24
    names = [text(page, f".cards li:nth-child({i}) .file") for i in range(1, 6)]
    assert sorted(names) == ["002.png", "003.png", "004.png", "005.png", FILE]
    page.get_by_role("button", name="Next page").click()
    page.get_by_role("button", name="Next page").click()
    assert text(page, "#pager span") == "page 3 of 3"
    assert page.locator(".card-button").count() == 12
    page.wait_for_function(
        "() => [...document.querySelectorAll('#cards img')].every((one) => one.naturalWidth > 0 || !one.complete)"
    )


def test_one_image_has_an_address(page: Any, site: Path) -> None:
    open_viewer(page, 3)
    address, title = page.url, text(page, "#viewer-title")
    page.keyboard.press("Escape")
    page.wait_for_function("() => location.hash === '#city.way'")
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("#panels svg .box")
    assert text(page, "#viewer-title") == title
    page.goto("about:blank")
    page.goto((site / "report" / "index.html").as_uri() + "#city.way/042.png")
    page.wait_for_selector("#panels svg .box")
    assert text(page, "#viewer-title") == "042.png"
    assert page.url.endswith("#city.way/042.png")


def test_filters_look_at_single_boxes(page: Any) -> None:
    page.get_by_label("low confidence").check()
    images_found(page, "5 of 60 images")
    page.get_by_label("low confidence").uncheck()
    page.get_by_label("dropped").check()
    images_found(page, "1 of 60 images")
    assert text(page, ".cards .marks") == "1 added, 1 moved, 1 dropped"
    page.get_by_role("button", name="Reset").click()
    images_found(page, "60 images")
    page.locator("#filter-class").select_option("target 1")
    images_found(page, "1 of 60 images")
    page.get_by_label("moved").check()  # the box of that class was added: no box is both
    images_found(page, "0 of 60 images")
    assert "No image has such a box" in text(page, "#cards")
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Score from").fill("0.96")
    images_found(page, "0 of 60 images")
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("File name").fill("00")
    images_found(page, "8 of 60 images")
    page.get_by_label("Order").select_option("file")
    page.wait_for_function("() => document.querySelector('.cards .file').textContent === '002.png'")


def test_names_with_html_in_them_show_as_text(page: Any) -> None:
    page.locator("#filter-class").select_option("target 1")
    images_found(page, "1 of 60 images")
    assert text(page, ".cards .file") == FILE
    open_viewer(page)
    assert text(page, "#viewer-title") == FILE
    assert NASTY in text(page, "#box-list")
    page.wait_for_selector("#panels image.full")
    assert page.locator("#panels image.full").count() == 4  # the image itself is reached in spite of its name
    assert page.evaluate("document.querySelectorAll('#viewer script, #viewer b, #cards script, #cards b').length") == 0


def test_no_script_runs_but_the_pages_own(browser: Any, site: Path) -> None:
    page = browser.new_page()
    page.goto((site / "report" / "index.html").as_uri())
    page.evaluate(
        """() => {
            window.refused = [];
            document.addEventListener("securitypolicyviolation", event => window.refused.push(event.effectiveDirective));
            const made = document.createElement("div");
            made.innerHTML = "<p onclick='window.ran = 1'></p>";
            document.body.append(made);
            made.firstChild.click();
            const script = document.createElement("script");
            script.textContent = "window.ran = 2";
            document.body.append(script);
        }"""
    )
    page.wait_for_function("() => window.refused.length >= 2")
    assert page.evaluate("window.ran") is None
    assert set(page.evaluate("window.refused")) == {"script-src-attr", "script-src-elem"}
    page.close()


def test_zoom_and_pan_move_all_panels(page: Any) -> None:
    open_viewer(page)
    views = "[...document.querySelectorAll('#panels svg')].map((one) => one.getAttribute('viewBox'))"
    assert page.evaluate(views) == ["0 0 48 32"] * 4
    page.keyboard.press("+")
    zoomed = page.evaluate(views)
    assert len(set(zoomed)) == 1
    assert [float(number) for number in zoomed[0].split()] == pytest.approx([8, 5.333, 32, 21.333], abs=0.01)
    area = page.locator("#panels svg").nth(2).bounding_box()
    page.mouse.move(area["x"] + 100, area["y"] + 100)
    page.mouse.down()
    page.mouse.move(area["x"] + 160, area["y"] + 100, steps=4)
    page.mouse.up()
    panned = page.evaluate(views)
    assert len(set(panned)) == 1
    assert float(panned[0].split()[0]) < 7
    page.mouse.wheel(0, -300)
    page.wait_for_function("() => document.getElementById('zoom-level').textContent > '150 %'")
    page.keyboard.press("0")
    assert page.evaluate(views) == ["0 0 48 32"] * 4


def test_layers_come_and_go(page: Any) -> None:
    open_viewer(page)
    assert page.locator("#panels figure").count() == 4
    page.keyboard.press("1")
    page.get_by_role("checkbox", name="Truth", exact=True).uncheck()
    assert page.locator("#panels figcaption").all_inner_texts()[0].startswith("Pseudo-labels in way")
    assert page.locator("#panels figure").count() == 2
    page.keyboard.press("o")
    assert page.locator("#panels figure").count() == 1
    assert page.locator("#panels .layer-pseudo, #panels .layer-transferred").count() == 3
    page.keyboard.press("t")
    assert page.locator("#panels .tag").count() == 0


def test_the_keyboard_alone_goes_through_images_and_decides(page: Any) -> None:
    page.locator(".card-button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#panels svg .box")
    assert text(page, "#viewer-place").startswith("1 of 60")
    page.keyboard.press("n")
    page.wait_for_function("() => document.getElementById('viewer-place').textContent.startsWith('2 of 60')")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => document.getElementById('viewer-place').textContent.startsWith('1 of 60')")
    page.keyboard.press("j")
    assert page.locator("#panels .chosen").count() == 1
    assert "came from\nground truth in city, annotation 1" in text(page, "#box-details")
    page.keyboard.press("a")
    page.keyboard.press("r")
    assert page.locator("#box-list li").evaluate_all("rows => rows.map((row) => row.className)") == ["is-accepted", "is-rejected"]
    page.keyboard.press("u")
    assert page.locator("#box-list .is-rejected").count() == 0
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    assert text(page, "#review-count").startswith("Boxes: 1 accepted, 0 rejected")
    assert page.evaluate("document.activeElement.className") == "card-button"


def test_decisions_outlive_the_page_and_correct_the_labels(page: Any, site: Path, tmp_path: Path) -> None:
    page.get_by_label("Order").select_option("file")
    page.wait_for_function("() => document.querySelector('.cards .file').textContent.startsWith('<b>')")
    open_viewer(page)
    page.locator("#box-list button.reject").first.click()
    page.keyboard.press("n")
    page.wait_for_function("() => document.getElementById('viewer-title').textContent === '002.png'")
    page.keyboard.press("Shift+A")
    page.reload()
    page.wait_for_selector("#cards svg .box")
    page.wait_for_selector("#viewer[open]")
    assert text(page, "#viewer-title") == "002.png", "as the page's address says"
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer", state="hidden")
    assert text(page, "#review-count") == "Boxes: 0 accepted, 1 rejected; whole images: 1"
    with page.expect_download() as started:
        page.get_by_role("button", name="Download decisions").click()
    assert started.value.suggested_filename == "decisions.city.way.json"
    decisions = tmp_path / "decisions.json"
    started.value.save_as(decisions)
    content = json.loads(decisions.read_text())
    assert content["labels"]["file"] == str(site / "transferred.json")
    assert content["images"] == [{"image_id": 2, "decision": "accept"}]
    done = apply_decisions(decisions, out=tmp_path / "corrected.json")
    assert (done.accepted, done.rejected) == (2, 1)
    (rejected,) = {1, 2} - set(read_labels(done.path, "way").annotation_ids[:1].tolist())
    assert content["boxes"] == [{"annotation_id": rejected, "decision": "reject"}]
    page.get_by_role("button", name="Discard decisions").click()
    assert text(page, "#review-count").startswith("No decisions yet")


def test_a_missing_data_file_is_told(browser: Any, site: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes((site / "report" / "index.html").read_bytes())
    opened = browser.new_page()
    opened.goto((tmp_path / "index.html").as_uri())
    images_found(opened, "data/pair-1.js is not beside this page: keep the folder together")
    opened.close()
