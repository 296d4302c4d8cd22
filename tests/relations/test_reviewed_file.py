"""The YAML that a person edits: there and back, and one clear line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from factories import label_space

from lat.core.errors import InputError
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.reviewed_file import from_yaml, to_yaml
from lat.relations.taxonomies import CUSTOM_FIRST, CUSTOM_SECOND, true_relations

TRUE = true_relations(CUSTOM_FIRST, CUSTOM_SECOND)
CITY, WAY = label_space("city", ("car", "rider")), label_space("way", ("vehicle", "cyclist"))


def types(matrix: RelationMatrix) -> list[list[str]]:
    return [[matrix.relation_type(i, j).value for j in range(len(matrix.second))] for i in range(len(matrix.first))]


def read(folder: Path, text: str) -> list[RelationMatrix]:
    path = folder / "review.yaml"
    path.write_text(text, encoding="utf-8")
    return from_yaml(path, (CITY, WAY))


def pair(line: str) -> str:
    return "pairs:\n- spaces: [city, way]\n  relations:\n  - {" + line + "}\n"


def test_written_and_read_back_the_types_and_edges_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "review.yaml"
    path.write_text(to_yaml([TRUE]), encoding="utf-8")
    (back,) = from_yaml(path, (CUSTOM_FIRST.space, CUSTOM_SECOND.space))
    assert types(back) == types(TRUE)
    assert back.edges is not None
    assert TRUE.edges is not None
    assert torch.equal(back.edges, TRUE.edges)


def test_proposals_are_sorted_surest_first() -> None:
    relations = yaml.safe_load(to_yaml([TRUE]))["pairs"][0]["relations"]
    assert [one["score"] for one in relations] == sorted((one["score"] for one in relations), reverse=True)
    assert relations[-1] == {"first": "1+2", "second": "2+3", "relation": "overlapping", "score": 0.5}


def test_a_deleted_line_makes_classes_unrelated_and_alone(tmp_path: Path) -> None:
    (found,) = read(tmp_path, pair("first: car, second: vehicle, relation: broader"))
    assert types(found) == [["broader", "unrelated"], ["unrelated", "unrelated"]]
    # Half of `car` is `vehicle`, all of `vehicle` is `car`; nothing is known of where the rest of `car` lies.
    assert found.first_to_second.tolist() == [[0.5, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert found.second_to_first.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (pair("first: cra, second: vehicle, relation: equal"), "there is no class 'cra' in city; did you mean 'car'?"),
        (pair("first: car, second: tree, relation: equal"), "there is no class 'tree' in way; known here: vehicle, cyclist"),
        (pair("first: car, second: vehicle, relation: narrow"), "there is no relation 'narrow'; did you mean 'narrower'?"),
        (pair("first: car, relation: equal"), "there is no class 'None' in way"),
        (pair("first: car, second: vehicle, relation: equal").replace("[city", "[citty"), "no label space 'citty'; did you mean"),
        (pair("first: car, second: vehicle, relation: equal").replace("[city, way]", "city"), "`spaces` is city; name two"),
        ("pairs: {", "is not valid YAML (line 1); correct the file"),
        ("- 1", "has no `pairs` list"),
        ("pairs:\n- spaces: [city, way]\n  relations: 3\n", "`relations` of city and way is not a list"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "review.yaml"))
    assert "\n" not in str(caught.value)


def test_a_pair_of_classes_must_not_be_related_twice(tmp_path: Path) -> None:
    line = "  - {first: car, second: vehicle, relation: equal}\n"
    with pytest.raises(InputError, match="city car and way vehicle are related twice; keep one line"):
        read(tmp_path, "pairs:\n- spaces: [city, way]\n  relations:\n" + 2 * line)


def test_a_pair_of_spaces_must_not_be_there_twice(tmp_path: Path) -> None:
    again = "- {spaces: [way, city], relations: []}\n"
    with pytest.raises(InputError, match=r"has the pair \[way, city\] twice; put their relations under one"):
        read(tmp_path, "pairs:\n- {spaces: [city, way], relations: []}\n" + again)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such relations file; `lat relations CONFIG --review` writes one"):
        from_yaml(tmp_path / "none.yaml", (CITY, WAY))
