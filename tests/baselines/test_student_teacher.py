from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from factories import coco_dict, label_space, labeled_boxes, training, write_coco
from torch import Tensor, nn

from lat.baselines.baseline_settings import StudentTeacherSettings
from lat.baselines.student_teacher import StudentTeacher, StudentTeacherItems
from lat.core.errors import InputError
from lat.core.structures import LabeledBoxes
from lat.data.augment.augment_settings import AugmentationSettings
from lat.data.augment.transforms import flip_horizontally
from lat.data.dataset import DetectionDataset, load_dataset
from lat.detectors.base import build_detector
from lat.detectors.detector_settings import DetectorSettings
from lat.engine.checkpoint import load_checkpoint
from lat.engine.runtime import build_fabric
from lat.engine.sampling import Reserved
from lat.engine.trainer import TrainJob, train
from lat.engine.training_settings import RuntimeSettings

CITY, WAY = label_space("city", ("car", "truck")), label_space("way", ("vehicle",))
IMAGE = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(1))
BOXES = labeled_boxes(CITY, [(2, 3, 20, 18), (22, 5, 40, 25)], [0, 1])


class Scale(nn.Module):
    """A detector of one weight, whose losses and detections can be worked out by hand; it keeps what it was given."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.space = CITY
        self.weight = nn.Parameter(torch.tensor(weight))
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("batches", torch.tensor(0))
        self.seen: list[tuple[list[Tensor], list[LabeledBoxes]]] = []
        self.shown: list[Tensor] = []

    def losses(self, images: list[Tensor], targets: list[LabeledBoxes]) -> dict[str, Tensor]:
        self.seen.append((images, targets))
        boxes = sum(map(len, targets))
        return {"loss_classifier": self.weight * boxes, "loss_objectness": 3 * self.weight, "loss_box_reg": 10 * self.weight}

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        assert not self.training
        self.shown += images
        scores = [0.9, float(self.weight.clamp(0, 1)), 0.69]
        return [labeled_boxes(CITY, [(0, 0, 9, 9), (5, 5, 9, 9), (1, 1, 3, 3)], [0, 1, 0], scores)] * len(images)


def step(model: StudentTeacher) -> dict[str, float]:
    """One step on a labelled image with two boxes and two unlabelled ones."""
    losses = model.losses([IMAGE], [1 - IMAGE], [BOXES], [IMAGE, IMAGE], [1 - IMAGE, 1 - IMAGE])
    return {name: loss.item() for name, loss in losses.items()}


def test_the_teacher_is_the_average_of_the_student_by_hand() -> None:
    model = StudentTeacher(Scale(1.0), StudentTeacherSettings(burn_in_steps=2), teacher_decay=0.75).train()
    teacher = []
    for weight in (1.0, 2.0, 4.0, 8.0, 0.0):
        with torch.no_grad():
            model.student.weight.fill_(weight)
            model.student.mean.fill_(10 * weight)
            model.student.batches.fill_(int(weight))
        step(model)
        teacher.append(model.teacher.weight.item())
    # A copy through the burn-in and in the first step after it, then 0.75 * 4 + 0.25 * 8 = 5 and 0.75 * 5 = 3.75.
    assert teacher == [1.0, 2.0, 4.0, 5.0, 3.75]
    assert model.teacher.mean.item() == 37.5
    assert model.teacher.batches.item() == 0  # a whole number is copied
    assert model.steps.item() == 5


def test_there_is_no_unsupervised_loss_in_the_burn_in_and_no_box_loss_after_it() -> None:
    model = StudentTeacher(Scale(1.0), StudentTeacherSettings(burn_in_steps=1)).train()
    # Both views of the labelled image: four boxes.
    supervised = {"loss_classifier": 4.0, "loss_objectness": 3.0, "loss_box_reg": 10.0}
    assert step(model) == supervised
    # Two unlabelled images with two boxes of at least 0.7 each.
    assert step(model) == {**supervised, "loss_classifier_unsupervised": 4.0, "loss_objectness_unsupervised": 3.0}


def test_the_teacher_sees_weak_views_and_the_student_learns_both_views_of_labelled_images() -> None:
    model = StudentTeacher(Scale(0.5), StudentTeacherSettings(burn_in_steps=0)).train()
    weak, strong, unlabelled_weak, unlabelled_strong = (torch.full((3, 8, 8), shade) for shade in (0.1, 0.2, 0.3, 0.4))
    model.losses([weak], [strong], [BOXES], [unlabelled_weak], [unlabelled_strong])
    assert [image.max().item() for image in model.teacher.shown] == [pytest.approx(0.3)]
    (labelled, targets), (unlabelled, pseudo) = model.student.seen
    assert [image.max().item() for image in labelled] == pytest.approx([0.1, 0.2])
    assert targets == [BOXES, BOXES]
    assert [image.max().item() for image in unlabelled] == pytest.approx([0.4])
    assert pseudo[0].scores.tolist() == pytest.approx([0.9])  # 0.5 and 0.69 are below the threshold
    assert pseudo[0].weights.tolist() == [1]


def detector() -> nn.Module:
    torch.manual_seed(0)
    return build_detector(DetectorSettings(), CITY)


def test_the_teacher_of_a_detector_gets_no_gradient_and_stays_in_eval_mode() -> None:
    model = StudentTeacher(detector(), StudentTeacherSettings(burn_in_steps=0, teacher_threshold=0.0))
    model.train()
    assert model.student.training
    assert not any(module.training for module in model.teacher.modules())
    losses = model.losses([IMAGE], [IMAGE], [BOXES], [IMAGE], [IMAGE])
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert all(p.grad is not None for p in model.student.parameters() if p.requires_grad)
    assert not any(module.training for module in model.teacher.modules())


def test_pseudo_labels_reach_classes_and_not_boxes() -> None:
    model = StudentTeacher(detector(), StudentTeacherSettings(burn_in_steps=0, teacher_threshold=0.0)).train()
    assert len(model.teacher.predict([IMAGE])[0]) > 0
    losses = model.losses([IMAGE], [IMAGE], [LabeledBoxes.empty(CITY)], [IMAGE], [IMAGE])
    unsupervised = [loss for name, loss in losses.items() if name.endswith("_unsupervised")]
    torch.stack(unsupervised).sum().backward()
    assert model.student.roi_heads.box_predictor.cls_score.weight.grad.any()
    assert model.student.roi_heads.box_predictor.bbox_pred.weight.grad is None
    assert model.student.rpn.head.cls_logits.weight.grad.any()
    # Shared with the objectness in one forward pass, but without a share in any loss that is kept.
    assert model.student.rpn.head.bbox_pred.weight.grad is None


def test_an_image_in_which_the_teacher_is_sure_of_nothing_is_background() -> None:
    model = StudentTeacher(detector(), StudentTeacherSettings(burn_in_steps=0, teacher_threshold=1.0)).train()
    losses = model.losses([IMAGE], [IMAGE], [BOXES], [IMAGE], [IMAGE])
    assert all(torch.isfinite(loss) for loss in losses.values())
    losses["loss_classifier_unsupervised"].backward()
    # Background is pulled up, all classes are pushed down.
    gradient = model.student.roi_heads.box_predictor.cls_score.bias.grad
    assert gradient[0] < 0
    assert (gradient[1:] > 0).all()


def test_a_batch_without_either_kind_is_an_error() -> None:
    model = StudentTeacher(Scale(), StudentTeacherSettings()).train()
    for batch in (([IMAGE], [IMAGE], [BOXES], [], []), ([], [], [], [IMAGE], [IMAGE])):
        with pytest.raises(InputError, match="batch_size"):
            model.losses(*batch)


@pytest.mark.parametrize("changes", [{"burn_in_steps": -1}, {"teacher_threshold": 1.1}])
def test_settings_outside_their_range_are_errors(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        StudentTeacherSettings(**changes)


@pytest.fixture
def datasets(tmp_path: Path) -> tuple[DetectionDataset, DetectionDataset]:
    """Three images of the city, two of another dataset."""
    boxes = [[(2, 3, 20, 15)], [(20, 5, 16, 12)], [(4, 4, 15, 15)]]
    city = write_coco(tmp_path / "city", coco_dict(boxes, [[1], [2], [1]], space=CITY), name="city")
    way = write_coco(tmp_path / "way", coco_dict(boxes[:2], space=WAY), name="way")
    return load_dataset(city)[0], load_dataset(way)[0]


def test_items_are_two_views_of_one_picture(datasets: tuple[DetectionDataset, DetectionDataset]) -> None:
    city, way = datasets
    items = StudentTeacherItems(city, [way], AugmentationSettings(horizontal_flip=1.0, color_jitter=0.5, scale=[1.0, 1.0]))
    assert len(items) == 5
    for index in range(5):
        dataset, i = (city, index) if index < 3 else (way, index - 3)
        weak, strong, boxes = items.item(index, torch.Generator().manual_seed(7))
        mirrored, mirrored_boxes = flip_horizontally(dataset.image(i), dataset.boxes(i))
        assert torch.equal(weak, mirrored)  # mirrored, its colours as they are
        assert strong.shape == weak.shape
        assert not torch.equal(strong, weak)
        assert (boxes is None) == (index >= 3)
        if boxes is not None:
            assert torch.equal(boxes.boxes_xyxy, mirrored_boxes.boxes_xyxy)
        again = items.item(index, torch.Generator().manual_seed(7))
        assert torch.equal(again[1], strong)
    views = [items.item(index, torch.Generator().manual_seed(index)) for index in (3, 0, 4, 2)]
    weak, strong, boxes, unlabelled_weak, unlabelled_strong = items.collate(views)
    assert [torch.equal(one, other) for one, other in zip(weak, (views[1][0], views[3][0]), strict=True)] == [True, True]
    assert torch.equal(unlabelled_strong[1], views[2][1])
    assert (len(strong), len(boxes), len(unlabelled_weak)) == (2, 2, 2)


def test_a_stopped_run_goes_on_to_the_same_bytes(
    datasets: tuple[DetectionDataset, DetectionDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabric = build_fabric(RuntimeSettings(accelerator="cpu"), seed=0)
    settings = training(steps=5, batch_size=2, checkpoint_every=3, log_every=1, trackers=[])
    items = StudentTeacherItems(datasets[0], datasets[1:], AugmentationSettings())

    def run(out: Path) -> bytes:
        model = StudentTeacher(detector(), StudentTeacherSettings(burn_in_steps=2, teacher_threshold=0.1), 0.5)
        job = TrainJob("students", out, seed=0, description={"kind": "student_teacher"}, reserved=Reserved(3, 1))
        return train(model, items, settings, job, fabric).read_bytes()

    whole = run(tmp_path / "whole")
    log = (tmp_path / "whole/log.jsonl").read_text().splitlines()
    assert ["unsupervised" in line for line in log] == [False, False, True, True, True]
    saved = load_checkpoint(tmp_path / "whole/model.pt", "student_teacher")["model"]
    assert saved["steps"].item() == 5
    teacher = {name.removeprefix("teacher."): value for name, value in saved.items() if name.startswith("teacher.")}
    detector().load_state_dict(teacher)
    assert not torch.equal(teacher["roi_heads.box_head.fc6.weight"], saved["student.roi_heads.box_head.fc6.weight"])

    losses, served = StudentTeacher.losses, []

    def interrupted(model: StudentTeacher, *batch: Any) -> dict[str, Tensor]:
        served.append(None)
        if len(served) == 5:
            raise OSError("killed")
        return losses(model, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(StudentTeacher, "losses", interrupted)
        with pytest.raises(OSError, match="killed"):
            run(tmp_path / "stopped")
    assert (tmp_path / "stopped/checkpoint.pt").is_file()
    assert run(tmp_path / "stopped") == whole
    assert (tmp_path / "stopped/log.jsonl").read_text().splitlines() == log
