from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from factories import coco_dict, label_space, labeled_boxes, training, write_coco
from torch import Tensor, nn

from lat.baselines.baseline_settings import LabelUnificationSettings
from lat.baselines.label_unification import SpaceView, UnifiedItems, epoch_counts, joint_space_of, to_joint_space
from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace
from lat.core.structures import LabeledBoxes
from lat.data.augment.augment_settings import AugmentationSettings
from lat.data.dataset import load_dataset
from lat.detectors.base import Detector, build_detector, describe_detector, detector_from_checkpoint
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.torchvision.region_losses import binary_class_loss
from lat.engine.runtime import build_fabric
from lat.engine.sampling import StepSampler
from lat.engine.trainer import TrainJob, train
from lat.engine.training_settings import RuntimeSettings
from lat.stages.upstream import DetectionItems

CITY, WAY = label_space("city", ("car", "truck"), (5, 9)), label_space("way", ("car", "person", "cart"))
JOINT = JointLabelSpace((CITY, WAY))
SPACE = joint_space_of(JOINT)


class Numbers:
    """Images that hold their own number, without boxes."""

    def __init__(self, first: int, count: int, space: object = CITY) -> None:
        self.first, self.count, self.space = first, count, space

    def __len__(self) -> int:
        return self.count

    def item(self, index: int, generator: torch.Generator) -> tuple[Tensor, LabeledBoxes]:
        assert 0 <= index < self.count
        return torch.full((3, 1, 1), float(self.first + index)), LabeledBoxes.empty(self.space)


def test_classes_stand_side_by_side_and_are_not_merged_by_name() -> None:
    assert SPACE.class_names == ("city/car", "city/truck", "way/car", "way/person", "way/cart")
    assert (SPACE.name, SPACE.category_ids) == ("joint", (1, 2, 3, 4, 5))


def test_each_image_has_its_classes_in_the_joint_space_and_its_own_mask() -> None:
    items = UnifiedItems([Numbers(0, 2), Numbers(5, 2, WAY)], JOINT)
    image = torch.zeros(3, 8, 8)
    of_way = labeled_boxes(WAY, [(0, 0, 4, 4), (1, 1, 3, 3)], [2, 0], weights=[0.5, 0.0], annotation_ids=[7, 8])
    of_city = labeled_boxes(CITY, [(0, 0, 4, 4)], [1])
    images, boxes, masks = items.collate([(image, of_way), (image, of_city), (image, LabeledBoxes.empty(WAY))])
    assert [each.labels.tolist() for each in boxes] == [[4, 2], [1], []]
    assert all(each.space == SPACE for each in boxes)
    assert (boxes[0].weights.tolist(), boxes[0].annotation_ids.tolist()) == ([0.5, 0.0], [7, 8])
    of_both = [[False, False, True, True, True], [True, True, False, False, False]]
    assert [mask.tolist() for mask in masks] == [of_both[0], of_both[1], of_both[0]]
    assert len(images) == 3


@pytest.mark.parametrize(
    ("power", "counts"),
    [(0.0, [400, 400, 400]), (0.5, [80, 400, 200]), (1.0, [16, 400, 100])],  # sqrt(16 * 400), 400, sqrt(100 * 400)
)
def test_shares_of_datasets(power: float, counts: list[int]) -> None:
    assert epoch_counts([16, 400, 100], power) == counts


def test_an_epoch_has_equal_shares_and_every_image_equally_often_but_for_a_rest() -> None:
    items = UnifiedItems([Numbers(0, 3), Numbers(100, 10)], JOINT)
    drawn = Counter(
        int(items.item(draw.item_index, torch.Generator().manual_seed(draw.item_seed))[0].max())
        for batch in StepSampler(len(items), 4, seed=1, steps=range(5 * 3))
        for draw in batch
    )  # three epochs of 20 items
    assert sum(drawn[i] for i in range(3)) == 30
    assert [drawn[i] for i in range(100, 110)] == [3] * 10
    assert min(drawn[i] for i in range(3)) >= 9


def test_the_rest_of_an_epoch_comes_from_the_generator_alone() -> None:
    items = UnifiedItems([Numbers(0, 3), Numbers(100, 10)], JOINT)
    last = {seed: int(items.item(9, torch.Generator().manual_seed(seed))[0].max()) for seed in range(20)}
    assert set(last.values()) == {0, 1, 2}
    assert last == {seed: int(items.item(9, torch.Generator().manual_seed(seed))[0].max()) for seed in range(20)}
    assert {int(items.item(8, torch.Generator().manual_seed(seed))[0].max()) for seed in range(20)} == {2}


class Fixed(nn.Module):
    """A detector that always finds the same."""

    def __init__(self, found: LabeledBoxes) -> None:
        super().__init__()
        self.found, self.space = found, found.space

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        return [self.found] * len(images)


def test_a_view_renormalises_a_softmax_over_its_own_classes_and_background() -> None:
    # Two regions; the first has 0.1 background, the second 0.2. Three boxes: way/car and city/car of the first region,
    # way/person of the second.
    first, second = [0.4, 0.1, 0.3, 0.1, 0.0], [0.5, 0.0, 0.0, 0.3, 0.0]
    corners = [(0, 0, 8, 8), (1, 1, 9, 9), (20, 20, 30, 30)]
    found = labeled_boxes(SPACE, corners, [0, 2, 3], [0.4, 0.3, 0.3], [first, first, second])
    (of_way,) = SpaceView(Fixed(found), JOINT, "way", softmax=True).predict([torch.zeros(3, 40, 40)])
    # Of the first region 0.5 is left (0.3 + 0.1 + background 0.1), of the second 0.5 (0.3 and background 0.2).
    assert of_way.space == WAY
    assert of_way.labels.tolist() == [0, 1]
    assert of_way.scores.tolist() == pytest.approx([0.6, 0.6])
    assert of_way.class_scores is not None
    assert of_way.class_scores.tolist() == [pytest.approx([0.6, 0.2, 0.0]), pytest.approx([0.0, 0.6, 0.0])]
    assert of_way.boxes_xyxy.tolist() == [[1, 1, 9, 9], [20, 20, 30, 30]]
    (of_city,) = SpaceView(Fixed(found), JOINT, "city", softmax=True).predict([torch.zeros(3, 40, 40)])
    assert of_city.scores.tolist() == pytest.approx([0.4 / 0.6])
    (nothing,) = SpaceView(Fixed(found[:1]), JOINT, "way", softmax=True).predict([torch.zeros(3, 40, 40)])
    assert len(nothing) == 0


def test_sigmoids_are_not_renormalised() -> None:
    found = labeled_boxes(SPACE, [(0, 0, 8, 8)], [2], [0.35], [[0.6, 0.5, 0.35, 0.9, 0]])
    (of_way,) = SpaceView(Fixed(found), JOINT, "way", softmax=True, sigmoids=True).predict([torch.zeros(3, 40, 40)])
    assert of_way.class_scores.tolist()[0] == pytest.approx([0.35, 0.9, 0.0])
    assert (of_way.labels.tolist(), of_way.scores.tolist()) == ([0], pytest.approx([0.35]))


def test_null_bce_supervises_the_classes_of_the_own_space_and_scores_by_sigmoids() -> None:
    torch.manual_seed(0)
    detector = build_detector(DetectorSettings(detection_threshold=0.0), SPACE, is_binary=True).train()
    items = UnifiedItems([Numbers(0, 2)], JOINT)
    cars = labeled_boxes(CITY, [(4, 4, 28, 30), (34, 8, 60, 40)], [0, 1])
    detector.losses(*items.collate([(torch.rand(3, 48, 64), cars)]))["loss_classifier"].backward()
    of_classes = detector.roi_heads.box_predictor.cls_score.weight.grad.abs().sum(dim=1)
    assert (of_classes[1:3] > 0).all()  # city/car, city/truck; there is no background to learn
    assert of_classes[[0, 3, 4, 5]].tolist() == [0, 0, 0, 0]
    (found,) = detector.eval().predict([torch.rand(3, 48, 64)])
    assert len(found)
    assert found.class_scores.sum(dim=1).max() > 1.5  # five sigmoids near a half


def test_a_checkpoint_says_that_the_classes_have_sigmoids_and_no_word_where_they_have_none() -> None:
    torch.manual_seed(0)
    settings, image = DetectorSettings(detection_threshold=0.0), torch.rand(3, 48, 64)
    detector = build_detector(settings, SPACE, is_binary=True).eval()
    content = {**describe_detector(settings, SPACE, is_binary=True), "model": detector.state_dict()}
    (found,), (again,) = detector.predict([image]), detector_from_checkpoint(content).predict([image])
    assert found.class_scores.sum(dim=1).max() > 1.5
    torch.testing.assert_close(again.class_scores, found.class_scores)
    assert "is_binary" not in describe_detector(settings, SPACE)


def test_binary_loss_of_regions_by_hand() -> None:
    # Sigmoids 1/2 and 3/4 of the first two classes, the third is masked; class 1, then background of half the weight.
    logits = torch.tensor([[7.0, 0.0, math.log(3.0), -math.inf]] * 2, requires_grad=True)
    loss = binary_class_loss(logits, torch.tensor([2, 0]), torch.tensor([1.0, 0.5]))
    expected = (math.log(2) + math.log(4 / 3) + 0.5 * (math.log(2) + math.log(4))) / 1.5
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert torch.isfinite(logits.grad).all()


def test_an_unknown_loss_of_label_unification_is_refused() -> None:
    with pytest.raises(InputError, match=r"classification_loss: is 'bce'"):
        LabelUnificationSettings(classification_loss="bce")


def test_a_view_puts_the_best_first_after_renormalising() -> None:
    # 0.3 of 0.4 that are left comes before 0.35 of 1.
    found = labeled_boxes(
        SPACE, [(0, 0, 8, 8), (20, 20, 30, 30)], [2, 2], [0.35, 0.3], [[0, 0, 0.35, 0, 0], [0.3, 0.3, 0.3, 0, 0]]
    )
    (of_way,) = SpaceView(Fixed(found), JOINT, "way", softmax=True).predict([torch.zeros(3, 40, 40)])
    assert of_way.scores.tolist() == pytest.approx([0.75, 0.35])
    assert of_way.boxes_xyxy[0].tolist() == [20, 20, 30, 30]


def test_boxes_for_all_classes_take_their_best_class_of_the_space() -> None:
    corners = [(0, 0, 8, 8), (1, 1, 9, 9), (20, 20, 30, 30)]
    scores = [[0.9, 0.1, 0.2, 0.5, 0.0], [0.8, 0.0, 0.0, 0.0, 0.7], [0.6, 0.0, 0.04, 0.0, 0.0]]
    found = labeled_boxes(SPACE, corners, [0, 0, 0], [0.9, 0.8, 0.6], scores)
    (of_way,) = SpaceView(Fixed(found), JOINT, "way", softmax=False, score_threshold=0.05).predict([torch.zeros(3, 40, 40)])
    assert of_way.labels.tolist() == [2, 1]
    assert of_way.scores.tolist() == pytest.approx([0.7, 0.5])
    assert of_way.boxes_xyxy.tolist() == [[1, 1, 9, 9], [0, 0, 8, 8]]


def test_images_supervise_their_own_space_alone() -> None:
    torch.manual_seed(0)
    detector = build_detector(DetectorSettings(), SPACE).train()
    items = UnifiedItems([Numbers(0, 2)], JOINT)
    cars = labeled_boxes(CITY, [(4, 4, 28, 30), (34, 8, 60, 40)], [0, 1])
    detector.losses(*items.collate([(torch.rand(3, 48, 64), cars)]))["loss_classifier"].backward()
    of_classes = detector.roi_heads.box_predictor.cls_score.weight.grad.abs().sum(dim=1)
    assert (of_classes[:3] > 0).all()  # background, city/car, city/truck
    assert of_classes[3:].tolist() == [0, 0, 0]


def test_a_detector_of_two_datasets_trains_and_detects_in_each(tmp_path: Path) -> None:
    rows = ([[(2, 3, 12, 10)], [(20, 5, 14, 12)]], [[(4, 4, 15, 15)]])
    spaces = zip((CITY, WAY), rows, strict=True)
    datasets = [
        load_dataset(write_coco(tmp_path / space.name, coco_dict(boxes, space=space), name=space.name))[0]
        for space, boxes in spaces
    ]
    parts = [DetectionItems([dataset], AugmentationSettings()) for dataset in datasets]
    torch.manual_seed(0)
    detector = build_detector(DetectorSettings(detection_threshold=0.0), SPACE)
    fabric = build_fabric(RuntimeSettings(accelerator="cpu"), seed=0)
    settings = training(steps=3, batch_size=2, trackers=[], ema_decay=0.5)
    job = TrainJob("unified", tmp_path / "out", seed=0, description={"kind": "detector"})
    train(detector, UnifiedItems(parts, JOINT), settings, job, fabric)
    for space, dataset in zip((CITY, WAY), datasets, strict=True):
        view = SpaceView(detector, JOINT, space.name, softmax=True)
        assert isinstance(view, Detector)
        (found,) = view.predict([dataset.image(0)])
        assert len(found) > 0
        assert found.space == space


def test_to_the_joint_space_leaves_class_scores_behind() -> None:
    boxes = labeled_boxes(WAY, [(0, 0, 4, 4)], [1], class_scores=[[0.1, 0.8, 0.1]])
    assert to_joint_space(boxes, JOINT, SPACE).class_scores is None
