"""LGPL from data to labels: batches, thresholds by hand, removed boxes, and a training whose loss falls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from factories import coco_dict, labeled_boxes, training, write_coco

from lat.baselines.baseline_settings import LgplSettings
from lat.baselines.class_names import labels_by_class_names
from lat.baselines.lgpl import LgplModel, describe_lgpl, lgpl_from_checkpoint
from lat.baselines.lgpl_labels import LgplItems, histogram_threshold, lgpl_labels, validity_thresholds
from lat.data.augment.augment_settings import AugmentationSettings
from lat.data.dataset import DetectionDataset, load_dataset
from lat.detectors.detector_settings import DetectorSettings
from lat.engine.checkpoint import load_checkpoint
from lat.engine.runtime import build_fabric
from lat.engine.sampling import Reserved, StepSampler
from lat.engine.trainer import TrainJob, train
from lat.engine.training_settings import RuntimeSettings

STILL = AugmentationSettings(horizontal_flip=0.0, color_jitter=0.0, scale=[1.0, 1.0])
BOXES_XYWH = [[[8, 6, 30, 20], [44, 30, 16, 24]], [], [[30, 10, 24, 30]], [[4, 30, 20, 20], [40, 4, 20, 30]]]


@pytest.fixture
def target(tmp_path: Path) -> DetectionDataset:
    document = coco_dict(BOXES_XYWH, [[1, 2], [], [2], [1, 1]], size_hw=(64, 64))
    return load_dataset(write_coco(tmp_path / "city", document))[0]


@pytest.fixture
def source(tmp_path: Path) -> DetectionDataset:
    document = coco_dict(BOXES_XYWH[:1] + BOXES_XYWH[2:], size_hw=(64, 64))
    document["annotations"][1]["iscrowd"] = 1
    return load_dataset(write_coco(tmp_path / "way", document, name="way"))[0]


def threshold(pairs: list[tuple[float, bool]], least_precision: float = 0.5) -> float:
    scores, hits = zip(*pairs, strict=True)
    return histogram_threshold(torch.tensor(scores), torch.tensor(hits), least_precision)


# Eight scores make log2(8) + 1 = 4 bins. From the edges on, upwards, hits are 3/8, 3/6, 2/3 and 0/1.
EIGHT = [(0.1, False), (0.2, False), (0.3, True), (0.4, False), (0.49, False), (0.6, True), (0.74, True), (0.75, False)]


@pytest.mark.parametrize(
    ("least_precision", "edge"),
    [(0.3, 0.0), (0.5, 0.25), (0.51, 0.5), (0.9, 0.5)],  # no edge reaches 0.9: the best is taken
)
def test_the_lowest_edge_of_enough_precision_by_hand(least_precision: float, edge: float) -> None:
    assert threshold(EIGHT, least_precision) == edge


def test_nine_scores_make_five_bins_and_one_score_makes_one() -> None:
    assert threshold([*EIGHT[:-1], (0.95, True), (1.0, True)], 0.8) == 0.6  # ceil(3.17) + 1 bins: from 3/5 on all are hits
    assert threshold([(0.7, True)]) == 0.0


def test_without_hits_nothing_is_known() -> None:
    assert threshold([(0.9, False), (0.1, False)]) == 0.5
    assert histogram_threshold(torch.zeros(0), torch.zeros(0, dtype=torch.bool), 0.5) == 0.5


def test_batches_are_split_into_sources_and_target(source: DetectionDataset, target: DetectionDataset) -> None:
    items = LgplItems([source, source], target, STILL)
    assert len(items) == 4 + 3 + 3
    sampler = StepSampler(len(items), 4, seed=0, reserved=Reserved(items.num_target, 2), steps=range(5))
    for draws in sampler:
        batch = items.collate([items.item(draw.item_index, torch.Generator().manual_seed(0)) for draw in draws])
        assert [len(part) for part in batch] == [2, 2, 2, 2]
        assert {boxes.space.name for boxes in batch[1]} == {"way"}
        assert {boxes.space.name for boxes in batch[3]} == {"city"}
    first, last = (items.item(i, torch.Generator()) for i in (0, 9))
    assert torch.equal(first.image, target.image(0))
    assert torch.equal(last.boxes.boxes_xyxy, source.boxes(2).boxes_xyxy)


def test_boxes_below_the_threshold_of_their_class_are_removed(source: DetectionDataset) -> None:
    torch.manual_seed(0)
    model = LgplModel(LgplSettings(), DetectorSettings(), source.space)
    space = source.space
    boxes = [
        labeled_boxes(space, [[8, 6, 38, 26], [44, 30, 60, 54]], [0, 1], annotation_ids=[1, 2]),
        labeled_boxes(space, []),
        labeled_boxes(space, [[4, 30, 24, 50], [40, 4, 60, 34]], [1, 0], weights=[1, 0], annotation_ids=[4, 5]),
    ]
    done: list[int] = []
    everything = lgpl_labels(model, source, boxes, torch.zeros(2), batch_size=2, advance=done.append)
    assert done == [2, 1]
    assert [one.annotation_ids.tolist() for one in everything] == [[1, 2], [], [4]]  # weight 0 takes no part
    refined = model.refine([source.image(0)], boxes[:1])[0]
    torch.testing.assert_close(everything[0].boxes_xyxy, refined.boxes_xyxy)
    torch.testing.assert_close(everything[0].scores, refined.scores)
    without_class_1 = lgpl_labels(model, source, boxes, torch.tensor([0.0, 1.0]))
    assert [one.annotation_ids.tolist() for one in without_class_1] == [[1], [], []]
    validity = everything[0].scores[0]
    for limit, kept in ((validity, [1]), (validity + 1e-4, [])):  # at the threshold a box is kept
        assert lgpl_labels(model, source, boxes, torch.stack([limit, torch.ones(())]))[0].annotation_ids.tolist() == kept


def test_a_short_training_lowers_the_loss_and_labels_a_source(
    tmp_path: Path, source: DetectionDataset, target: DetectionDataset
) -> None:
    settings, detector = LgplSettings(pairs_per_image=32), DetectorSettings()
    torch.manual_seed(0)
    items = LgplItems([source], target, STILL)
    few = training(steps=30, batch_size=4, warmup_steps=5, log_every=5, learning_rate=2e-3, trackers=[])
    description = describe_lgpl(settings, detector, target.space)
    job = TrainJob("train LGPL", tmp_path / "lgpl", 0, description, reserved=Reserved(items.num_target, 2))
    fabric = build_fabric(RuntimeSettings(accelerator="cpu"), seed=0)
    path = train(LgplModel(settings, detector, target.space), items, few, job, fabric)
    totals = [json.loads(line)["total"] for line in (tmp_path / "lgpl" / "log.jsonl").read_text().splitlines()]
    assert totals[-1] < 0.7 * totals[0]
    model = lgpl_from_checkpoint(load_checkpoint(path, "lgpl"))
    thresholds = validity_thresholds(model, target, batch_size=3)
    assert thresholds.shape == (2,)
    assert ((thresholds >= 0) & (thresholds <= 1)).all()
    named = labels_by_class_names(source.labels, target.space)
    labels = lgpl_labels(model, source, named, thresholds)
    assert all(one.space == target.space and len(one) <= len(given) for one, given in zip(labels, named, strict=True))
