from __future__ import annotations

import numpy as np
import pytest
import torch
from factories import label_space

from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace, LabelSpace


def test_index_and_category_id_are_inverse_with_gaps_and_any_order() -> None:
    space = label_space("city", ["bus", "car", "person"], ids=[33, 0, 7])
    np.testing.assert_array_equal(space.to_index(np.array([7, 33, 0, 7])), [2, 0, 1, 2])
    np.testing.assert_array_equal(space.to_category_ids(np.array([2, 0, 1, 2])), [7, 33, 0, 7])
    np.testing.assert_array_equal(space.to_index(np.array([1, -1])), [-1, -1])
    assert space.to_index(np.array([], dtype=np.int64)).shape == (0,)
    assert space.categories()[0] == {"id": 33, "name": "bus"}


def test_from_names_numbers_categories_from_1() -> None:
    assert LabelSpace.from_names("nu", ["a", "b"]).category_ids == (1, 2)


@pytest.mark.parametrize(
    ("names", "ids", "what"),
    [
        ((), (), "the class list is empty"),
        (("car", "car"), (1, 2), "class name car"),
        (("car", "bus"), (4, 4), "category id 4"),
        (("car",), (1, 2), "1 class names but 2 category ids"),
    ],
)
def test_unusable_class_lists_are_refused_by_name(names: tuple[str, ...], ids: tuple[int, ...], what: str) -> None:
    with pytest.raises(InputError, match=f"city: .*{what}"):
        LabelSpace("city", names, ids)


def test_joint_space_lays_spaces_side_by_side_and_background_last() -> None:
    joint = JointLabelSpace((label_space("a", ["car", "bus"]), label_space("b", ["car"]), label_space("c", ["x", "y", "z"])))
    assert len(joint) == 6
    assert [joint.offset(name) for name in joint.names] == [0, 2, 3]
    assert joint.slice("c") == slice(3, 6)
    assert joint.mask("b").tolist() == [False, False, True, False, False, False, True]
    assert torch.stack([joint.mask(name)[:-1] for name in joint.names]).sum(dim=0).tolist() == [1] * 6


def test_two_spaces_with_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="have the same name"):
        JointLabelSpace((label_space("a"), label_space("a", ["x"])))


def test_a_label_space_is_what_its_description_says() -> None:
    space = LabelSpace("city", ("truck", "car"), (7, 3))
    assert space.to_dict() == {"name": "city", "class_names": ["truck", "car"], "category_ids": [7, 3]}
    assert LabelSpace.from_dict(space.to_dict()) == space
