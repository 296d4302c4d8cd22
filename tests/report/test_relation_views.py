"""Relations in the report: placed where they belong, and escaped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from factories import coco_dict, label_space, write_coco

from lat.data.dataset import load_dataset
from lat.relations.relation_matrix import RelationMatrix
from lat.report.build import ReportContent, render_page
from lat.report.relation_views import CELL, HEAD, LABEL, MARGIN, ROW, relation_view

NASTY = "<script>alert('&\"')</script>"
FIRST, SECOND = label_space("city", ("car", NASTY)), label_space("way", ("vehicle", "pedestrian", "cyclist"))
# car lies inside vehicle, which is more than cars; the other class of city stands alone.
MATRIX = RelationMatrix(
    FIRST,
    SECOND,
    torch.tensor([[1.0, 0, 0, 0], [0, 0.1, 0, 0.9]]),
    torch.tensor([[0.4, 0, 0.6], [0, 0, 1.0], [0, 0, 1.0]]),
)


def test_edges_join_the_heights_of_their_classes() -> None:
    view = relation_view(MATRIX.to_dict())
    (edge,) = view.edges
    assert (edge.y_first, edge.y_second) == (MARGIN + ROW / 2, MARGIN + ROW / 2)
    assert edge.opacity == 1.0
    assert edge.sentence == "car is narrower than vehicle: 1.00"
    assert [node.stands_alone for node in view.first_nodes] == [False, True]
    assert [node.stands_alone for node in view.second_nodes] == [False, True, True]


def test_the_heat_map_has_a_cell_for_every_pair_with_the_larger_share() -> None:
    view = relation_view(MATRIX.to_dict())
    assert [cell.opacity for cell in view.cells] == pytest.approx([1.0, 0, 0, 0, 0.1, 0])
    assert (view.cells[4].x, view.cells[4].y) == (LABEL + CELL, HEAD + CELL)
    assert view.heat_width > view.cells[-1].x + CELL


def test_rows_are_the_relations_then_the_classes_alone_with_the_pictures_there_are() -> None:
    view = relation_view(MATRIX.to_dict(), {("city", "car"), ("way", "cyclist")})
    shown = [(row.first and row.first.name, row.kind, row.second and row.second.name, row.score) for row in view.rows]
    assert shown == [
        ("car", "narrower", "vehicle", "1.00"),
        (NASTY, "stands alone", None, "0.90"),
        (None, "stands alone", "pedestrian", "1.00"),
        (None, "stands alone", "cyclist", "1.00"),
    ]
    strips = [row.second.strip if row.second else "" for row in view.rows]
    assert strips == ["", "", "", "crops-way-2"]
    assert view.rows[0].first is not None
    assert (view.rows[0].first.strip, view.rows[0].first.alt) == ("crops-city-0", "Example crops of car in city")


def test_the_page_shows_crops_once_for_each_class(tmp_path: Path) -> None:
    dataset, _ = load_dataset(write_coco(tmp_path, coco_dict(space=FIRST)))
    content = ReportContent("t", {}, [FIRST, SECOND], relations=[MATRIX.to_dict()] * 2, examples={"city": dataset})
    page = render_page(content)
    assert page.count('id="crops-city-0"') == 1
    assert page.count('href="#crops-city-0"') == 2
    assert 'aria-label="Example crops of car in city"' in page
    assert "crops-way" not in page


def test_the_page_shows_them_escaped_and_leaves_the_section_out_without_any() -> None:
    content = ReportContent(title="t", run={}, spaces=[FIRST, SECOND], relations=[MATRIX.to_dict()])
    page = render_page(content)
    assert 'id="relations"' in page
    assert "car is narrower than vehicle: 1.00" in page
    assert "<script>alert" not in page
    assert page.count("<rect") == 6
    assert "crops-" not in page
    assert 'id="relations"' not in render_page(ReportContent(title="t", run={}, spaces=[FIRST]))
