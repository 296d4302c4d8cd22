"""The page: one file, nothing fetched, everything escaped, the marks where they belong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from factories import coco_dict, label_space, labeled_boxes, write_coco

from lat.data.coco import read_labels, write_labels
from lat.data.dataset import load_dataset
from lat.errors import InputError
from lat.label_space import LabelSpace
from lat.report.build import Gallery, ReportContent, ReportSettings, render_report, write_report
from lat.report.gallery import choose_images
from lat.structures import LabeledBoxes

CITY = label_space("city", ("car", "truck"))
WAY = label_space("way", ("vehicle", "pedestrian"))
NASTY = "<script>alert('&\"')</script>"
VOID = {"meta", "link", "input", "rect", "path", "line", "polyline", "image", "use"}


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


def make_gallery(
    folder: Path,
    transferred: Sequence[LabeledBoxes],
    *,
    boxes_xywh: Sequence[Sequence[Sequence[float]]] = (((2, 2, 10, 10), (20, 2, 10, 10), (34, 2, 10, 10)),),
    pseudo: Sequence[LabeledBoxes] | None = None,
    truth: Sequence[LabeledBoxes] | None = None,
    spaces: tuple[LabelSpace, LabelSpace] = (CITY, WAY),
    file_name: str = "",
) -> Gallery:
    """A gallery of images of 48 x 32 pixels, by default one with three ground-truth boxes in a row."""
    source, target = spaces
    document = coco_dict(boxes_xywh, space=source)
    if file_name:
        document["images"][0]["file_name"] = file_name
    dataset, _ = load_dataset(write_coco(folder, document))
    tables = []
    for name, boxes in (
        ("pseudo", pseudo or [LabeledBoxes.empty(target)] * len(dataset)),
        ("transferred", transferred),
        ("truth", truth),
    ):
        if boxes is None:
            tables.append(None)
            continue
        bare = [replace(image, class_scores=None) for image in boxes]
        write_labels(folder / f"{name}.json", dataset.labels, target, bare, info={})
        tables.append(read_labels(folder / f"{name}.json", target.name))
    assert tables[0] is not None
    assert tables[1] is not None
    return Gallery(source.name, target.name, dataset, tables[0], tables[1], tables[2])


def content_of(*galleries: Gallery) -> ReportContent:
    transfer = [
        {
            "source": "city",
            "target": "way",
            "method": method,
            "ap": ap,
            "ap50": ap,
            "per_class": {"vehicle": ap},
            "images": 1,
            "boxes": 3,
        }
        for method, ap in (("class_names", None), ("pseudo_label", 61.25), ("label_transfer", 81.5))
    ]
    changes = {
        "source": "city",
        "target": "way",
        "kept": 1,
        "moved": 1,
        "added": 1,
        "dropped": 1,
        "class_changes": {"car": {"vehicle": 2}},
    }
    downstream = [
        {
            "target": "way",
            "name": "",
            "detector": "torchvision",
            "method": "label_transfer",
            "strategy": "mixed",
            "ap": 47.9,
            "ap50": None,
        }
    ]
    return ReportContent(
        title="Street scenes",
        run={"seed": "0"},
        spaces=[CITY, WAY],
        evaluation={"transfer": transfer, "agreement": [changes], "downstream": downstream},
        upstream={"city": {"ap": 55.5, "ap50": 77.7}, "way": {}},
        curves={"label transfer": [{"step": 20, "learning_rate": 0.02, "class": 0.5, "total": 0.5}]},
        galleries=galleries,
    )


@pytest.fixture
def one_of_each(tmp_path: Path) -> Gallery:
    """One box kept, one moved (IoU 0.8) with another class than its pseudo-label, one added, one dropped."""
    transferred = labeled_boxes(WAY, [[2, 2, 12, 12], [20, 2, 28, 12], [2, 20, 12, 30]], [0, 1, 0], [0.9, 0.8, 0.7])
    pseudo = labeled_boxes(WAY, [[20, 2, 30, 12]], [0], [0.6])
    truth = labeled_boxes(WAY, [[2, 2, 12, 12], [20, 2, 30, 12]], [0, 1])
    return make_gallery(tmp_path, [transferred], pseudo=[pseudo], truth=[truth])


def test_marks_of_a_known_image(one_of_each: Gallery) -> None:
    page = Page(render_report(content_of(one_of_each), ReportSettings()))
    panels = page.all("svg", **{"class": "view"})
    assert [panel["aria-label"].split(" of ")[0] for panel in panels] == [
        "Source ground truth", "Pseudo-labels", "Transferred labels", "Truth",
    ]  # fmt: skip
    in_list = [found["class"] for found in page.all("li") if "data-box" in found]
    assert in_list[-6:-2] == ["is-kept", "is-moved is-changed", "is-added", "is-dropped"]
    drawn = [found["class"] for found in page.all("g") if "data-box" in found and "is-plain" not in found["class"]]
    assert sorted(drawn) == sorted(
        f"{part} {style}" for part in ("box", "tag") for style in ("is-kept", "is-moved is-changed", "is-added", "is-dropped")
    )
    for remark in ("1 kept", "1 moved", "1 added", "1 dropped", "1 class changed", "was vehicle", "2: pedestrian 0.80, moved"):
        assert remark in page.text
    assert panels[2]["aria-label"] == "Transferred labels of 001.png in way: 2 vehicle, 1 pedestrian"


def test_every_image_is_embedded_once(one_of_each: Gallery) -> None:
    html = render_report(content_of(one_of_each, replace(one_of_each, truth=None)), ReportSettings())
    page = Page(html)
    assert html.count("data:image/") == 1
    assert [found["href"] for found in page.all("use")] == ["#image-1"] * (4 + 3)
    assert page.all("image", id="image-1")


def test_nothing_is_fetched_and_nothing_foreign_runs(one_of_each: Gallery) -> None:
    html = render_report(content_of(one_of_each), ReportSettings())
    page = Page(html)
    references = [
        value for _, found in page.elements for name, value in found.items() if name in ("href", "src", "action", "srcset")
    ]
    assert references
    assert all(reference.startswith(("#", "data:")) for reference in references)
    assert "://" not in html
    assert not re.search(r"url\(|@import", html)
    policy = next(found["content"] for found in page.all("meta") if "http-equiv" in found)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not any(name.startswith("on") or name == "style" for _, found in page.elements for name in found)
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    assert {reference[1:] for reference in references if reference.startswith("#")} <= set(ids)


def test_names_are_escaped(tmp_path: Path) -> None:
    spaces = label_space("a&b", (NASTY, "truck")), label_space('<"t">', (f"{NASTY}2", "other"))
    box = labeled_boxes(spaces[1], [[2, 2, 9, 9]])
    gallery = make_gallery(tmp_path, [box], pseudo=[replace(box, labels=1 - box.labels)], spaces=spaces, file_name="<b>&\"'.png")
    plain = content_of(gallery)
    rows = [row | {"source": NASTY, "method": NASTY, "per_class": {NASTY: 1.0}} for row in plain.evaluation["transfer"]]
    changes = [row | {"source": NASTY, "class_changes": {NASTY: {NASTY: 1}}} for row in plain.evaluation["agreement"]]
    downstream = [
        {"target": NASTY, "name": NASTY, "detector": NASTY, "method": NASTY, "strategy": NASTY, "ap": 1.0, "ap50": None}
    ]
    content = replace(
        plain,
        title=NASTY,
        run={NASTY: NASTY},
        spaces=spaces,
        evaluation={"transfer": rows, "agreement": changes, "downstream": downstream},
        upstream={NASTY: {"ap": 1.0}},
        curves={NASTY: [{"step": 1, "total": 1.0, NASTY: 1.0}]},
    )
    page, harmless = (Page(render_report(what, ReportSettings())) for what in (content, replace(plain, galleries=[])))
    assert page.all("script") == harmless.all("script") == [{}]
    assert page.code == harmless.code  # nothing of the content reaches the script or the style
    assert NASTY in page.text
    assert "<b>&\"'.png" in page.text
    assert any("<b>&\"'.png" in found.get("aria-label", "") for found in page.all("svg"))


def test_same_content_same_bytes(one_of_each: Gallery, tmp_path: Path) -> None:
    paths = [tmp_path / "one" / "index.html", tmp_path / "two" / "index.html"]
    for path in paths:
        write_report(path, content_of(one_of_each), ReportSettings())
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert list(paths[0].parent.iterdir()) == [paths[0]]


def test_images_without_boxes_and_nothing_at_all(tmp_path: Path) -> None:
    gallery = make_gallery(tmp_path, [LabeledBoxes.empty(WAY)] * 2, boxes_xywh=[[], [(2, 2, 9, 9)]])
    page = Page(render_report(content_of(gallery), ReportSettings()))
    assert "no boxes" in page.text
    assert "Their truth in way is not known" in page.text
    bare = Page(render_report(ReportContent("Nothing", {}, []), ReportSettings()))
    assert not bare.all("svg", **{"class": "view"})
    none = Page(render_report(content_of(gallery), ReportSettings(images_per_pair=0)))
    assert "No images to show" in none.text


def test_most_differences_first_then_typical_ones(tmp_path: Path) -> None:
    # So many boxes each image has, and none is transferred: that many differences. Image 0 has no box at all.
    numbers = [0, 3, 3, 1, 1, 1, 3, 1]
    row = [(2, 2, 9, 9), (14, 2, 9, 9), (26, 2, 9, 9)]
    gallery = make_gallery(tmp_path, [LabeledBoxes.empty(WAY)] * 8, boxes_xywh=[row[:n] for n in numbers])
    # Of three shown, two have the most differences, and one the median number of the images with boxes, which is 1.
    assert choose_images(gallery, ReportSettings(images_per_pair=3)) == [1, 2, 3]
    assert choose_images(gallery, ReportSettings(images_per_pair=9)) == [1, 2, 6, 3, 4, 5, 7, 0]
    assert choose_images(gallery, ReportSettings(images_per_pair=3, ranked_images=2)) == [7, 0]  # only the first and the last


def test_labels_are_found_by_image_id_not_by_place(one_of_each: Gallery, tmp_path: Path) -> None:
    boxes = [labeled_boxes(WAY, [[2, 2, 12, 12]]), labeled_boxes(WAY, [[20, 2, 30, 12]])]
    gallery = make_gallery(tmp_path / "two", boxes, boxes_xywh=[[(2, 2, 10, 10)], [(20, 2, 10, 10)]])
    turned = replace(gallery, transferred=gallery.transferred.select(np.array([1, 0])))
    assert render_report(content_of(turned), ReportSettings()) == render_report(content_of(gallery), ReportSettings())


@pytest.mark.parametrize("field", ["images_per_pair", "longest_side", "ranked_images"])
def test_settings_are_checked(field: str) -> None:
    with pytest.raises(InputError, match=f"report.{field}"):
        ReportSettings(**{field: -1})
