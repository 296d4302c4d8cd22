"""The report's folder: one page, nothing fetched, everything escaped, the marks where they belong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
from factories import label_space, labeled_boxes
from galleries import NASTY, WAY, content_of, make_gallery, one_of_each, read_script

from lat.core.errors import InputError
from lat.core.structures import LabeledBoxes
from lat.report.build import Progress, ReportContent, write_report
from lat.report.gallery import FLAGS, Gallery, choose_images
from lat.report.report_settings import ReportSettings

VOID = {"meta", "link", "input", "img", "rect", "path", "line", "polyline", "image", "circle"}
SETTINGS = ReportSettings()


class Page(HTMLParser):
    """All elements of a page with their attributes; fails where a tag is closed that is not the open one."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = self.code = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            self.code += data
        else:
            self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]


def written(folder: Path, content: ReportContent, settings: ReportSettings = SETTINGS) -> Page:
    write_report(folder, content, settings)
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_marks_of_a_known_image(tmp_path: Path) -> None:
    written(tmp_path / "report", content_of(one_of_each(tmp_path), report=tmp_path / "report"))
    index, page = (read_script(tmp_path / "report" / "data" / name) for name in ("pair-1.js", "pair-1-0.js"))
    kept, moved, added = index["boxes"]["flags"]
    assert kept & 7 == FLAGS["kept"]
    assert moved & 15 == FLAGS["moved"] | FLAGS["changed"]
    assert added & 7 == FLAGS["added"]
    assert [bool(flags & FLAGS["low"]) for flags in (kept, moved, added)] == [False, False, True]
    assert index["dropped"] == {"offsets": [0, 1], "labels": [0]}
    assert index["labels"]["file"] == "../transferred.json"
    assert index["folder"] == "../images"
    transferred = page["transferred"]
    assert transferred["corners"][:8] == [2, 2, 12, 12, 20, 2, 28, 12]
    assert transferred["was"] == [-1, 0, -1]
    assert transferred["sourceRows"] == [0, 1, -1]
    assert transferred["origins"] == ["ground_truth"] * 3
    assert page["dropped"] == [[2]]
    assert page["pseudo"]["scores"] == [60]
    assert page["truth"]["labels"] == [0, 1]
    assert all(max(part) <= 100 for part in transferred["parts"])


def test_figures_of_the_page(tmp_path: Path) -> None:
    page = written(tmp_path / "report", content_of(one_of_each(tmp_path)))
    assert "3 labels in 1 images" in page.text
    assert "city" in page.text
    assert "1 training images with 3 boxes" in page.text
    ribbons = [found["class"] for found in page.all("path") if found.get("class", "").startswith("ribbon")]
    assert sorted(ribbons) == ["ribbon is-added", "ribbon is-dropped", "ribbon is-same"]
    assert "car to vehicle: 2 boxes" in page.text
    assert "81.5 ±\N{NO-BREAK SPACE}2.281.5 ±\N{NO-BREAK SPACE}1.8" in page.text  # AP, and AP50 in a line of its own
    assert "Scores of pseudo-labels (median 0.60)" in " ".join(found.get("aria-label", "") for found in page.all("svg"))


def test_nothing_is_fetched_from_elsewhere_and_nothing_foreign_runs(tmp_path: Path) -> None:
    page = written(tmp_path / "report", content_of(one_of_each(tmp_path)))
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    references = [
        value for _, found in page.elements for name, value in found.items() if name in ("href", "src", "action", "srcset")
    ]
    assert references
    assert {one for one in references if not one.startswith(("#", "data:"))} == {"pictures/first/pair-1.jpg"}  # beside the page
    assert set(re.findall(r"\w+://[\w./]+", html)) == {"http://www.w3.org/2000/svg"}  # a name, which nothing fetches
    assert not re.search(r"url\(|@import", html)
    policy = next(found["content"] for found in page.all("meta") if "http-equiv" in found)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not any(name.startswith("on") or name == "style" for _, found in page.elements for name in found)
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    places = {reference[1:] for reference in references if reference.startswith("#")}
    assert places - set(ids) == {"city.way/001.png"}  # an image, which the viewer opens


def test_names_are_escaped(tmp_path: Path) -> None:
    spaces = label_space("a&b", (NASTY, "truck")), label_space('<"t">', (f"{NASTY}2", "other"))
    box = labeled_boxes(spaces[1], [[2, 2, 9, 9]])
    gallery = make_gallery(tmp_path, [box], pseudo=[replace(box, labels=1 - box.labels)], spaces=spaces, file_name="<b>&\"'.png")
    plain = content_of(gallery)
    rows = [row | {"source": NASTY, "method": NASTY, "per_class": {NASTY: 1.0}} for row in plain.evaluation["transfer"]]
    changes = [row | {"source": NASTY, "class_changes": {NASTY: {NASTY: 1}}} for row in plain.evaluation["agreement"]]
    downstream = [dict.fromkeys(("target", "name", "detector", "method", "strategy"), NASTY) | {"ap": 1.0, "ap50": None}]
    content = replace(
        plain,
        title=NASTY,
        run={NASTY: NASTY},
        spaces=spaces,
        evaluation={"transfer": rows, "agreement": changes, "downstream": downstream},
        upstream={NASTY: {"ap": 1.0}},
        curves={NASTY: [{"step": 1, "total": 1.0, NASTY: 1.0}]},
    )
    page = written(tmp_path / "nasty", content)
    harmless = written(tmp_path / "harmless", replace(plain, galleries=[]))
    assert page.all("script") == harmless.all("script") == [{}]
    assert page.code == harmless.code  # nothing of the content reaches the script or the style
    assert NASTY in page.text
    for script in (tmp_path / "nasty" / "data").iterdir():
        assert not re.search(r"[<>&]|[^\x20-\x7e\n]", script.read_text(encoding="ascii"))
    index = read_script(tmp_path / "nasty" / "data" / "pair-1.js")
    assert index["sourceClasses"][0] == NASTY
    assert index["images"]["names"] == ["<b>&\"'.png"]


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_is_replaced_as_a_whole_and_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    gallery, folder = one_of_each(tmp_path), tmp_path / "out" / "report"
    write_report(folder, content_of(gallery), SETTINGS)
    first = all_bytes(folder)
    assert set(first) == {"index.html", "data/pair-1.js", "data/pair-1-0.js", "pictures/city/0.jpg", "pictures/first/pair-1.jpg"}
    (folder / "data" / "stale.js").write_text("old")
    write_report(folder, content_of(gallery), SETTINGS)
    assert all_bytes(folder) == first
    assert list(folder.parent.iterdir()) == [folder]


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    gallery, folder = one_of_each(tmp_path), tmp_path / "out" / "report"
    write_report(folder, content_of(gallery), SETTINGS)
    first = all_bytes(folder)
    gallery.dataset.image_path(0).unlink()
    with pytest.raises(InputError, match="no such image file"):
        write_report(folder, content_of(gallery), SETTINGS)
    assert all_bytes(folder) == first
    assert list(folder.parent.iterdir()) == [folder]


def test_a_picture_that_several_targets_show_is_written_once(tmp_path: Path) -> None:
    gallery = one_of_each(tmp_path)
    content = content_of(gallery, replace(gallery, target="other", truth=None))
    counted, done = [], []

    @contextmanager
    def pictures(count: int) -> Iterator[Progress]:
        counted.append(count)
        yield done.append

    write_report(tmp_path / "report", content, SETTINGS, pictures)
    assert (counted, sum(done)) == ([1], 1)
    assert read_script(tmp_path / "report" / "data" / "pair-2-0.js")["truth"] is None


def test_of_galleries_that_are_made_one_after_another_none_is_kept(tmp_path: Path) -> None:
    gallery = one_of_each(tmp_path)
    targets, alive = ("one", "two", "three"), []

    def galleries() -> Iterator[Gallery]:
        for target in targets:
            assert all(each() is None for each in alive)
            made = replace(gallery, target=target)
            alive.append(ref(made))
            yield made
            del made

    write_report(tmp_path / "report", replace(content_of(gallery), galleries=galleries()), SETTINGS)
    assert len(alive) == 3
    write_report(tmp_path / "listed", content_of(*(replace(gallery, target=target) for target in targets)), SETTINGS)
    assert all_bytes(tmp_path / "report") == all_bytes(tmp_path / "listed")


def test_images_without_boxes_and_nothing_at_all(tmp_path: Path) -> None:
    gallery = make_gallery(tmp_path, [LabeledBoxes.empty(WAY)] * 2, boxes_xywh=[[], [(2, 2, 9, 9)]])
    page = written(tmp_path / "report", content_of(gallery))
    assert "0 labels in 2 images" in page.text
    assert "Truth in way is not known" in page.text
    assert not written(tmp_path / "bare", ReportContent("Nothing", {}, [])).all("form")
    none = written(tmp_path / "none", content_of(gallery), ReportSettings(images_per_pair=0))
    assert "The gallery has 0 of the images" in none.text
    assert read_script(tmp_path / "none" / "data" / "pair-1.js")["images"]["names"] == []


def test_the_most_doubtful_images_first_then_a_spread_of_the_others(tmp_path: Path) -> None:
    gallery = make_gallery(tmp_path, [LabeledBoxes.empty(WAY)] * 8, boxes_xywh=[[(2, 2, 9, 9)]] * 8)
    images = np.array([0.1, 0.9, 0.2, 0.9, 0.3, 0.0, 0.4, 0.5])
    gallery = replace(gallery, doubt=replace(gallery.doubt, images=images))
    assert choose_images(gallery, 8).tolist() == [1, 3, 7, 6, 4, 2, 0, 5]
    assert choose_images(gallery, 100).tolist() == [1, 3, 7, 6, 4, 2, 0, 5]
    assert choose_images(gallery, 6).tolist() == [1, 3, 7, 6, 4, 5]  # four of the most doubtful; the ends of the rest
    assert choose_images(gallery, 0).tolist() == []


def test_pages_hold_the_boxes_of_their_images(tmp_path: Path) -> None:
    boxes = [labeled_boxes(WAY, [[1, 1, 5 + 0.25 * i, 9]], scores=[1 - 0.01 * i]) for i in range(60)]
    gallery = make_gallery(tmp_path, boxes, boxes_xywh=[[(1, 1, 4, 8)]] * 60)
    written(tmp_path / "report", content_of(gallery))
    index = read_script(tmp_path / "report" / "data" / "pair-1.js")
    pages = [read_script(tmp_path / "report" / "data" / f"pair-1-{number}.js") for number in (0, 1)]
    assert [len(page["dropped"]) for page in pages] == [50, 10]
    ids = [number for page in pages for number in page["transferred"]["ids"]]
    assert ids == index["boxes"]["ids"] == [row + 1 for row in index["images"]["rows"]]
    assert index["images"]["doubts"] == sorted(index["images"]["doubts"], reverse=True)
    corners = [value for page in pages for value in page["transferred"]["corners"][2::4]]
    assert corners == [round(5 + 0.25 * row, 1) for row in index["images"]["rows"]]


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match=r"^images_per_pair"):
        ReportSettings(images_per_pair=-1)
