"""Tables over the joint label space: who is a kind of whom, and universal classes of several spaces."""

from __future__ import annotations

import pytest
import torch
from factories import label_space
from torch import Tensor

from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace, LabelSpace
from lat.relations import joint_tables
from lat.relations.joint_tables import positive_sets, universal_members
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.taxonomies import CUSTOM_FIRST, CUSTOM_SECOND, true_relations

CITY, WAY, NU = label_space("city", ("car", "rider")), label_space("way", ("vehicle",)), label_space("nu", ("car", "cone"))
JOINT = JointLabelSpace((CITY, WAY, NU))  # 0 car, 1 rider, 2 vehicle, 3 car, 4 cone


def matrix(first: LabelSpace, second: LabelSpace, forward: list[list[float]], backward: list[list[float]]) -> RelationMatrix:
    """Shares without the rest of the world, which takes what is left."""
    with_rest = [torch.cat([t, 1 - t.sum(dim=1, keepdim=True)], dim=1) for t in map(torch.tensor, (forward, backward))]
    return RelationMatrix(first, second, *with_rest)


CITY_WAY = matrix(CITY, WAY, [[0.9], [0.1]], [[0.4, 0.0]])
CITY_NU = matrix(CITY, NU, [[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]])
WAY_NU = matrix(WAY, NU, [[0.5, 0.1]], [[1.0], [0.2]])


def columns(members: Tensor) -> set[tuple[int, ...]]:
    return {tuple(column.nonzero().flatten().tolist()) for column in members.T}


def test_a_car_is_a_vehicle_and_a_vehicle_is_no_car() -> None:
    table = positive_sets([CITY_WAY, CITY_NU, WAY_NU], JOINT, 0.7)
    assert table.nonzero().tolist() == [[0, 2], [0, 3], [3, 0], [3, 2]]
    assert positive_sets([CITY_WAY], JOINT, 0.4).nonzero().tolist() == [[0, 2], [2, 0]]


def test_universal_classes_of_three_spaces_by_hand() -> None:
    members = universal_members([CITY_WAY, CITY_NU, WAY_NU], JOINT)
    # {car, vehicle, car}, {rider}, {cone}, and what nobody labels; rows 5 to 7 are the backgrounds of city, way and nu.
    expected = [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    expected += [[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 0, 1]]
    assert members.int().tolist() == expected


def test_classes_related_only_through_a_third_make_no_universal_class() -> None:
    apart = matrix(CITY, NU, [[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    members = universal_members([CITY_WAY, apart, WAY_NU], JOINT)[: len(JOINT)]
    assert columns(members) == {(0, 2), (2, 3), (1,), (4,), ()}


def test_two_spaces_have_the_universal_classes_of_their_matrix() -> None:
    relations = true_relations(CUSTOM_FIRST, CUSTOM_SECOND)
    joint = JointLabelSpace((CUSTOM_FIRST.space, CUSTOM_SECOND.space))
    members = universal_members([relations], joint)[: len(joint), :-1]
    expected = torch.cat(relations.universal_classes())
    assert members.shape == expected.shape
    assert columns(members) == columns(expected)


def test_the_labels_of_a_space_and_its_background_part_the_universal_classes() -> None:
    members = universal_members([CITY_WAY, CITY_NU, WAY_NU], JOINT).int()
    for index, name in enumerate(JOINT.names):
        rows = torch.cat([members[JOINT.slice(name)], members[[len(JOINT) + index]]])
        assert rows.sum(dim=0).tolist() == [1] * members.shape[1]


def test_too_many_universal_classes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_tables, "MOST_UNIVERSAL_CLASSES", 2)
    with pytest.raises(InputError, match="more than 2 universal classes"):
        universal_members([CITY_WAY, CITY_NU, WAY_NU], JOINT)
