"""Images of two files are matched by name, and by id only where names say nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tables import row, table

from lat.core.errors import InputError
from lat.labels.same_images import same_images
from lat.labels.table import LabelTable

FIRST = table([row(0, 0, (0, 0, 1, 1)), row(1, 0, (0, 0, 2, 2)), row(2, 0, (0, 0, 3, 3))], image_ids=(1, 2, 3))
SECOND = table([row(0, 1, (0, 0, 6, 6)), row(1, 1, (0, 0, 7, 7)), row(2, 1, (0, 0, 8, 8))], image_ids=(2, 3, 4))


def named(labels: LabelTable, *names: str) -> LabelTable:
    return replace(labels, file_names=names)


def widths(labels: LabelTable) -> list[float]:
    return (labels.boxes_xyxy[:, 2] - labels.boxes_xyxy[:, 0]).tolist()


def test_names_count_and_not_ids() -> None:
    found = same_images(named(FIRST, "a.png", "b.png", "c.png"), named(SECOND, "c.png", "d.png", "a.png"))
    assert (found.matched_by, found.left_out) == ("file name", (1, 1))
    assert widths(found.first) == [1, 3]
    assert widths(found.second) == [8, 6]
    assert found.second.image_ids.tolist() == found.first.image_ids.tolist() == [1, 3]


def test_folders_are_no_matter_if_no_name_agrees_with_them() -> None:
    first = named(FIRST, "left/a.png", "left/b.png", "c.png")
    found = same_images(first, named(SECOND, "x/b.png", "x/a.png", "x/e.png"))
    assert (found.matched_by, widths(found.first), widths(found.second)) == ("file name without folders", [1, 2], [7, 6])
    assert found.second.file_names == ("left/a.png", "left/b.png")


def test_a_bare_name_of_two_images_is_no_name() -> None:
    found = same_images(named(FIRST, "left/a.png", "right/a.png", "c.png"), named(SECOND, "a.png", "f.png", "e.png"))
    assert (found.matched_by, widths(found.first), widths(found.second)) == ("image id", [2, 3], [6, 7])
    assert found.left_out == (1, 1)


def test_no_image_in_common_is_an_error_of_one_line() -> None:
    second = replace(named(SECOND, "d", "e", "f"), image_ids=np.array([7, 8, 9]))
    with pytest.raises(InputError, match=r"has no image of t\.json: no file name and no image id is in both") as caught:
        same_images(FIRST, second)
    assert "\n" not in str(caught.value)


def test_an_image_of_another_size_is_another_image() -> None:
    second = replace(SECOND, sizes_hw=np.full((3, 2), 50, np.int32))
    with pytest.raises(InputError, match=r"image 2\.png is 50 x 50 pixels, and 100 x 100 in t\.json"):
        same_images(FIRST, second)
