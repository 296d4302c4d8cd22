import json

import torch
from tables import PETS

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.evaluation.transfer_quality import agreement

A, B, C = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 70.0), (0.0, 80.0, 10.0, 90.0)


def boxes(rows, space=PETS, **more):
    xyxy = torch.tensor([box for _, box in rows], dtype=torch.float32).reshape(-1, 4)
    return LabeledBoxes(xyxy, torch.tensor([label for label, _ in rows], dtype=torch.int64), space, **more)


def test_agreement_counts_what_happened_to_each_box():
    way = LabelSpace("way", ("animal", "toy"), (1, 2))
    moved = (10.0, 10.0, 30.0, 26.0)  # IoU with A: 0.8
    source = [boxes([(0, A), (1, B), (1, C)]), boxes([(0, A)], weights=torch.zeros(1)), boxes([])]
    transferred = [boxes([(1, B), (0, moved)], way), boxes([], way), boxes([(0, C), (1, A)], way)]
    result = agreement(source, transferred)
    assert (result.kept, result.moved, result.added, result.dropped) == (1, 1, 2, 1)
    assert result.class_changes == ((1, 0), (0, 1))  # cat -> animal, dog -> toy
    assert json.loads(json.dumps(result.to_dict())) == {
        "kept": 1,
        "moved": 1,
        "added": 2,
        "dropped": 1,
        "class_changes": {"cat": {"animal": 1}, "dog": {"toy": 1}},
    }
    single = [agreement([old], [new]) for old, new in zip(source, transferred, strict=True)]
    assert [one.added for one in single] == [0, 0, 2]
    assert agreement(source, transferred, kept_iou=0.8).kept == 2


def test_every_box_is_counted_once():
    random = torch.Generator().manual_seed(0)

    def some():
        corners = 80 * torch.rand(12, 2, generator=random)
        xyxy = torch.cat([corners, corners + 5 + 30 * torch.rand(12, 2, generator=random)], dim=1)
        return LabeledBoxes(xyxy, torch.randint(0, 2, (12,), generator=random), PETS)

    source, transferred = [some() for _ in range(8)], [some() for _ in range(8)]
    result = agreement(source, transferred, iou=0.3)
    assert result.kept + result.moved + result.dropped == 96
    assert result.kept + result.moved + result.added == 96
    assert sum(map(sum, result.class_changes)) == result.kept + result.moved > 0
