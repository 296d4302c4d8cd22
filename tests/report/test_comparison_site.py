"""The page of `lat compare` in a browser: nothing is asked of any host, and boxes are hidden without a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chromium import launched, needs_chromium
from factories import coco_dict, draw_images, label_space, write_json

from lat.commands.compare import compare_files, write_comparison

pytestmark = needs_chromium

BOTH, OF_A, OF_B = [2, 2, 10, 10], [30, 2, 10, 10], [2, 18, 10, 10]


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    first = coco_dict([[BOTH, OF_A]], space=label_space("first", ("car",)))
    second = coco_dict([[BOTH, OF_B]], space=label_space("second", ("vehicle",)))
    draw_images(tmp_path / "images", first)
    files = write_json(tmp_path / "a.json", first), write_json(tmp_path / "b.json", second)
    write_comparison(compare_files(*files), tmp_path / "out", tmp_path / "images")
    return tmp_path / "out" / "index.html"


@pytest.mark.parametrize("width", [390, 1366])
def test_the_page_fits_and_its_boxes_come_and_go(page_file: Path, width: int) -> None:
    problems: list[str] = []

    def shown(page: Any) -> list[str]:
        boxes = page.locator(".cards .box").all()
        return [box.get_attribute("class") for box in boxes if box.evaluate("one => getComputedStyle(one).display") != "none"]

    with launched() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda request: problems.extend([] if request.url.startswith(("file:", "data:")) else [request.url]))
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator(".cards img").scroll_into_view_if_needed()
        page.wait_for_function("() => document.querySelector('.cards img').naturalWidth === 48")
        assert shown(page) == ["box of-a", "box of-b", "box of-a is-alone", "box of-b is-alone"]
        page.get_by_label("boxes of B").uncheck()
        assert shown(page) == ["box of-a", "box of-a is-alone"]
        page.get_by_label("boxes in both").uncheck()
        assert shown(page) == ["box of-a is-alone"]
    assert problems == []
