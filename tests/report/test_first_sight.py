"""What the page shows first: which image, which boxes, and in a browser how one direction or another is chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from factories import label_space, labeled_boxes
from galleries import CITY, NASTY, WAY, content_of, make_gallery, one_of_each
from test_build import Page, written

from lat.core.structures import LabeledBoxes
from lat.report.differences import find_differences
from lat.report.first_sight import FirstSight, first_sight
from lat.report.gallery import Gallery

OWN = (((4, 4, 12, 12),), ((4, 4, 12, 12),), ((4, 4, 12, 12), (30, 16, 12, 12)), ())


def sight_of(gallery: Gallery, folder: Path) -> FirstSight | None:
    tables = gallery.dataset.labels, gallery.pseudo, gallery.transferred
    return first_sight("pair-1", gallery, np.arange(len(gallery.dataset)), find_differences(*tables), folder)


def labels(*boxes: tuple[float, float, float, float], score: float = 0.95) -> LabeledBoxes:
    return labeled_boxes(WAY, list(boxes), [0] * len(boxes), [score] * len(boxes))


def test_the_image_with_most_sure_labels_is_chosen_and_the_first_of_equals(tmp_path: Path) -> None:
    kept, both = labels((4, 4, 16, 16)), labels((4, 4, 16, 16), (30, 16, 42, 28))
    for name, made, chosen in (
        ("two", [kept, kept, both, LabeledBoxes.empty(WAY)], "003.png"),
        ("alike", [kept, kept, LabeledBoxes.empty(WAY), LabeledBoxes.empty(WAY)], "001.png"),
    ):
        pseudo = made  # the other detector agrees, so nothing is doubtful
        found = sight_of(make_gallery(tmp_path / name, made, boxes_xywh=OWN, pseudo=pseudo), tmp_path / name / "page")
        assert found is not None
        assert found.file == chosen
        assert (tmp_path / name / "page" / found.picture).is_file()


def test_of_images_that_show_as_much_one_whose_names_can_be_read_is_chosen(tmp_path: Path) -> None:
    close, apart = labels((4, 14, 16, 28), (7, 14, 19, 28)), labels((4, 14, 16, 28), (30, 14, 42, 28))
    own = (((4, 14, 12, 14), (7, 14, 12, 14)), ((4, 14, 12, 14), (30, 14, 12, 14)))
    found = sight_of(make_gallery(tmp_path, [close, apart], boxes_xywh=own, pseudo=[close, apart]), tmp_path / "page")
    assert found is not None
    assert found.file == "002.png"


def test_without_a_sure_label_there_is_none(tmp_path: Path) -> None:
    doubtful = labels((4, 4, 16, 16), score=0.05)
    assert sight_of(make_gallery(tmp_path / "a", [doubtful], boxes_xywh=OWN[:1]), tmp_path) is None
    assert sight_of(make_gallery(tmp_path / "b", [LabeledBoxes.empty(WAY)], boxes_xywh=OWN[:1]), tmp_path) is None
    page = written(tmp_path / "report", content_of(make_gallery(tmp_path / "c", [doubtful], boxes_xywh=OWN[:1])))
    assert page.all("section", **{"class": "sight"}) == []


def test_boxes_are_in_units_of_the_drawing_and_moved_ones_show_from_where(tmp_path: Path) -> None:
    gallery = one_of_each(tmp_path)  # images of 48 x 32, drawn 480 units wide
    found = sight_of(gallery, tmp_path / "page")
    assert found is not None
    assert (found.width, found.height) == (480, 320)
    assert [(box.x, box.y, box.width, box.height, box.name) for box in found.own] == [
        (20, 20, 100, 100, "car"),
        (200, 20, 100, 100, "car"),
        (340, 20, 100, 100, "car"),
    ]
    assert [(box.kind, box.x, box.width, box.name) for box in found.labels] == [
        ("before", 200, 100, ""),
        ("label", 20, 100, "vehicle"),
        ("label", 200, 80, "pedestrian"),
        ("label", 20, 100, "vehicle"),
    ]
    assert found.counts == {"kept": 1, "moved": 1, "added": 1, "dropped": 1, "changed": 1}
    first, last = found.own[0], found.own[-1]
    assert (first.tag_x, first.tag_y, first.at_end) == (20, 15, False)  # above the box
    assert (last.tag_x, last.at_end) == (340, False)


def test_names_at_the_border_stay_in_the_picture(tmp_path: Path) -> None:
    gallery = make_gallery(tmp_path, [labels((38, 0, 46, 12))], boxes_xywh=[((38, 0, 8, 12),)], pseudo=[labels((38, 0, 46, 12))])
    found = sight_of(gallery, tmp_path / "page")
    assert found is not None
    (own,) = found.own
    assert (own.tag_x, own.tag_y, own.at_end) == (460, 15, True)  # below the upper side, up to the right one


def test_the_page_says_it_in_words_and_escapes_names(tmp_path: Path) -> None:
    way = label_space("way", (NASTY, "pedestrian"))
    boxes = [labeled_boxes(way, [(2, 2, 12, 12)], [0], [0.95])]
    gallery = make_gallery(tmp_path, boxes, pseudo=boxes, spaces=(CITY, way), file_name=f"{NASTY}.png".replace("/", ""))
    page = written(tmp_path / "report", content_of(gallery))
    assert "3 human boxes of city became 1 label of way: 1 kept, 0 moved (dotted: from where), 0 added, 2 dropped." in page.text
    assert [one["aria-label"] for one in page.all("svg", role="img")][:2] == ["Human boxes: car, car, car", f"Labels: {NASTY}"]
    (picture, again) = page.all("img")
    assert picture["src"] == again["src"] == "pictures/first/pair-1.jpg"
    assert isinstance(page, Page)
    (link,) = [one["href"] for one in page.all("a") if one.get("href", "").startswith("#city.way/")]
    assert "<" not in link
