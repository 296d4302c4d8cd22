"""Weights of labels that were not drawn for the dataset that is trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import coco_dict

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.data.data_settings import WeighingSettings
from lat.data.dataset import DetectionDataset
from lat.data.training_labels import TransferredDataset, silent_classes, weigh_labels
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_labels

SPACE = LabelSpace.from_names("target", ("car", "sign"))
NONE_SILENT = torch.zeros(2, dtype=torch.bool)


def boxes_of(scores: list[float], labels: list[int]) -> LabeledBoxes:
    corners = torch.tensor([[float(i), 0.0, i + 9.0, 9.0] for i in range(len(scores))])
    return LabeledBoxes(corners, torch.tensor(labels), SPACE, scores=torch.tensor(scores))


def test_scores_become_weights_doubtful_labels_dont_care_and_bad_ones_go() -> None:
    boxes = boxes_of([0.9, 0.5, 0.49, 0.2, 0.19], [0, 1, 0, 1, 0])
    weighed = weigh_labels(boxes, WeighingSettings(0.5, 0.2, 0.2), NONE_SILENT)
    torch.testing.assert_close(weighed.weights, torch.tensor([0.9, 0.5, 0.0, 0.0]))
    assert weighed.boxes_xyxy[:, 0].tolist() == [0, 1, 2, 3]
    assert weighed.labels.tolist() == [0, 1, 0, 1]
    alike = weigh_labels(boxes, WeighingSettings(0.5, 0.2, 0.2, weigh_by_score=False), NONE_SILENT)
    assert alike.weights.tolist() == [1, 1, 0, 0]
    assert len(weigh_labels(LabeledBoxes.empty(SPACE), WeighingSettings(), NONE_SILENT)) == 0


def test_of_a_class_that_the_source_does_not_know_faint_labels_are_dont_care_too() -> None:
    boxes = boxes_of([0.9, 0.1, 0.1, 0.04], [1, 1, 0, 1])
    weighed = weigh_labels(boxes, WeighingSettings(0.5, 0.2, 0.05), torch.tensor([False, True]))
    assert weighed.boxes_xyxy[:, 0].tolist() == [0, 1]
    torch.testing.assert_close(weighed.weights, torch.tensor([0.9, 0.0]))


def test_dont_care_boxes_stay_so_whatever_their_score() -> None:
    crowd = replace(boxes_of([1.0, 0.01], [0, 0]), weights=torch.zeros(2))
    assert weigh_labels(crowd, WeighingSettings(), NONE_SILENT).weights.tolist() == [0, 0]


@pytest.fixture
def source(tmp_path: Path) -> DetectionDataset:
    content = coco_dict([[(0, 0, 10, 10), (20, 0, 10, 10)], [(5, 5, 10, 10)]])
    content["annotations"][1]["iscrowd"] = 1
    (tmp_path / "source.json").write_text(json.dumps(content))
    return DetectionDataset("source", tmp_path, read_labels(tmp_path / "source.json", "source"))


def entry(origin: str) -> dict[str, object]:
    return {"origin": origin, "space": "source", "annotation_id": None}


def test_a_class_is_silent_where_next_to_no_label_is_the_sources_own_box(source: DetectionDataset, tmp_path: Path) -> None:
    boxes = [boxes_of([0.9, 0.9, 0.3], [0, 1, 1]), boxes_of([0.8], [0])]
    provenance = [[entry("ground_truth"), entry("pseudo_label"), entry("ground_truth")], [entry("pseudo_label")]]
    write_labels(tmp_path / "t.json", source.labels, SPACE, boxes, info={}, provenance=provenance)
    labels = read_labels(tmp_path / "t.json", "target")
    assert silent_classes(labels, WeighingSettings()).tolist() == [False, True]
    assert silent_classes(labels, WeighingSettings(0.2, 0.2, 0.2)).tolist() == [False, False]
    assert silent_classes(replace(labels, provenance=None), WeighingSettings()).tolist() == [False, False]


def test_crowd_boxes_of_the_source_are_dont_care_in_the_targets_space(source: DetectionDataset, tmp_path: Path) -> None:
    write_labels(tmp_path / "t.json", source.labels, SPACE, [boxes_of([0.9], [1]), boxes_of([0.8], [0])], info={})
    part = TransferredDataset.of(source, read_labels(tmp_path / "t.json", "target"), WeighingSettings())
    first, second = part.boxes(0), part.boxes(1)
    assert first.boxes_xyxy.tolist() == [[0, 0, 9, 9], [20, 0, 30, 10]]
    torch.testing.assert_close(first.weights, torch.tensor([0.9, 0.0]))
    np.testing.assert_allclose(second.weights, [0.8])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1.5, 0.2, 0.2), "trained_threshold: is 1.5; choose a number between 0 and 1"),
        ((0.5, 0.6, 0.2), "ignore_threshold: is 0.6; choose a number up to trained_threshold, 0.5"),
        ((0.5, 0.2, -1.0), "silent_threshold: is -1.0; choose a number between 0 and 1"),
    ],
)
def test_thresholds_are_checked(values: tuple[float, float, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WeighingSettings(*values)
