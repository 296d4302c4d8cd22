"""Two annotators with class lists of their own: every figure of a small pair of files by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tables import row, table

from lat.core.label_space import LabelSpace
from lat.evaluation.compared_labels import NOTHING, ComparedLabels, compare_labels
from lat.labels import chunks

STREET = LabelSpace("street", ("rider", "pole", "car"), (1, 2, 3))
FIRST = table(
    [
        row(0, 0, (0, 0, 10, 10)),  # cat: a rider
        row(0, 0, (20, 0, 30, 10)),  # cat: a rider, IoU 0.8
        row(0, 0, (20, 0, 30, 9)),  # the same cat drawn twice, IoU 0.9
        row(0, 1, (20, 0, 30, 10)),  # a dog in the same place: no double, and the rider there is taken
        row(1, 1, (0, 0, 10, 10)),  # dog: a rider too
        row(1, 1, (40, 40, 50, 50)),  # dog: a pole
        row(1, 1, (60, 60, 70, 70)),  # dog: a pole
        row(1, 0, (0, 50, 10, 60), crowd=True),
    ]
)
SECOND = table(
    [
        row(0, 0, (0, 0, 10, 10)),
        row(0, 0, (20, 0, 30, 8)),
        row(1, 0, (0, 0, 10, 10)),
        row(1, 1, (40, 40, 50, 50)),
        row(1, 1, (60, 60, 70, 70)),
        row(1, 1, (0, 50, 10, 60)),  # a crowd in the first: nobody's partner
    ],
    space=STREET,
)


@pytest.fixture
def compared() -> ComparedLabels:
    return compare_labels(FIRST, SECOND)


def test_the_closest_boxes_match_whatever_their_classes(compared: ComparedLabels) -> None:
    assert compared.partners.tolist() == [0, NOTHING, 1, NOTHING, 2, 3, 4]  # of the boxes on (20, 0, 30, 8), the closest
    assert compared.turned().partners.tolist() == [0, 2, 4, 5, 6, NOTHING]
    assert compared.iou.tolist() == pytest.approx([1, 8 / 9, 1, 1, 1])
    assert compared.doubled_first.tolist() == [False, False, True, False, False, False, False]
    assert not compared.doubled_second.any()


def test_class_shares_both_ways_and_the_likeliest_counterparts(compared: ComparedLabels) -> None:
    assert compared.counts.tolist() == [[2, 0, 0, 1], [1, 2, 0, 1]]  # cat and dog as rider, pole, car, nothing
    assert compared.turned().counts.tolist() == [[2, 1, 0], [0, 2, 1], [0, 0, 0]]
    assert compared.counterparts.tolist() == [0, 1]
    assert compared.turned().counterparts.tolist() == [0, 1, NOTHING]
    assert np.flatnonzero(compared.differs).tolist() == [4]  # the dog that is a rider
    assert np.flatnonzero(compared.turned().differs).tolist() == [2]


def test_figures_of_each_class(compared: ComparedLabels) -> None:
    cat, dog = compared.class_figures()
    assert cat == {
        "class": "cat",
        "boxes": 3,
        "matched": 2,
        "missed": 1,
        "missed_share": pytest.approx(1 / 3),
        "doubled": 1,
        "mean_iou": pytest.approx(17 / 18),
        # 8 units, 16 values. Cat or not: the first says 3 cats, the second's riders stand for 3; they differ on the missed cat
        # and on the dog that is a rider. 6 cats and 10 others: 1 - 15 * 4 / 120.
        "alpha": pytest.approx(0.5),
        "counterpart": "rider",
        "counts": {"rider": 2, "pole": 0, "car": 0},
        "shares": {"rider": pytest.approx(2 / 3), "pole": 0, "car": 0},
    }
    assert (dog["boxes"], dog["matched"], dog["counterpart"]) == (4, 3, "pole")
    car = compared.turned().class_figures()[2]
    assert (car["boxes"], car["missed_share"], car["mean_iou"], car["counterpart"]) == (0, None, None, None)
    assert car["shares"] == {"cat": None, "dog": None}


def test_alpha_counts_what_one_alone_boxed(compared: ComparedLabels) -> None:
    # cat cat, cat -, cat cat, dog -, dog cat, dog dog, dog dog, - dog: of 16 values 6 are cats, 7 dogs, 3 nothing. 4 units
    # differ: 1 - 15 * 8 / (256 - 36 - 49 - 9).
    first, second = compared.units()
    assert first.tolist() == [0, 0, 0, 1, 1, 1, 1, NOTHING]
    assert second.tolist() == [0, NOTHING, 0, NOTHING, 0, 1, 1, 1]
    figures = compared.figures()
    assert figures["alpha"] == pytest.approx(1 - 120 / 162)
    assert figures["alpha_of_matched"] == pytest.approx(1 - 9 * 2 / 50)  # 5 pairs, one differs, 5 cats and 5 dogs


def test_a_class_without_counterpart_agrees_with_nothing() -> None:
    second = table([row(0, 2, (80, 80, 90, 90)), row(0, 0, (0, 0, 10, 10))], space=STREET)
    first = table([row(0, 0, (0, 0, 10, 10))])
    assert [column.tolist() for column in compare_labels(first, second).units()] == [[0, NOTHING], [0, 4]]


def test_ap_both_ways_after_mapping_classes() -> None:
    first = table([row(0, 0, (0, 0, 10, 10)), row(0, 1, (20, 0, 30, 10))])
    second = table([row(0, 2, (0, 0, 10, 10)), row(0, 0, (20, 0, 30, 10)), row(1, 0, (50, 50, 60, 60))], space=STREET)
    ap = compare_labels(first, second).figures()["ap"]
    # half of the riders are found, with nothing wrong before: precision 1 at recalls 0, 0.01 .. 0.5, and 0 beyond
    assert ap["A_against_B"]["per_class"] == {"rider": pytest.approx(100 * 51 / 101), "pole": None, "car": pytest.approx(100)}
    assert (ap["B_against_A"]["boxes"], ap["B_against_A"]["labels"]) == (2, 3)


def test_conventions_of_classes_that_meet_often_enough() -> None:
    boxes = [(10.0 * i, 0, 10.0 * i + 8, 8) for i in range(10)]
    higher = [(left, top, right, bottom + 2) for left, top, right, bottom in boxes]
    first = table([row(0, 0, box) for box in boxes] + [row(1, 1, box) for box in boxes[:9]])
    second = table([row(0, 2, box) for box in higher] + [row(1, 0, box) for box in higher[:9]], space=STREET)
    (convention,) = compare_labels(first, second).conventions()
    assert (convention.first, convention.second, convention.pairs) == ("cat", "car", 10)
    assert {side: shift.median for side, shift in convention.sides.items()} == {"left": 0, "top": 0, "right": 0, "bottom": 25}


def test_images_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch, compared: ComparedLabels) -> None:
    monkeypatch.setattr(chunks, "IMAGES_AT_ONCE", 1)
    done: list[int] = []
    one_by_one = compare_labels(FIRST, SECOND, done.append)
    assert done == [1, 1]
    for column in ("rows_first", "rows_second", "iou", "doubled_first"):
        assert np.array_equal(getattr(one_by_one, column), getattr(compared, column))


def test_without_any_box() -> None:
    figures = compare_labels(table([]), table([], space=STREET)).figures()
    assert (figures["matched"], figures["mean_iou"], figures["alpha"], figures["conventions"]) == (0, None, None, [])
    assert figures["ap"]["A_against_B"]["ap"] is None
