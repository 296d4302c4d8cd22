"""Unbiased Teacher around any detector: a student trained on labelled and unlabelled images, a teacher that is its average.

Shape letters: B labelled images of a batch, U unlabelled ones. A weak view is an image or its mirror image; a strong view also
has other colours and erased patches (`strong_view`). Boxes of one view are valid in the other.

Source: Liu et al., Unbiased Teacher for Semi-Supervised Object Detection (2021), and its published code. What differs: the
classification loss is the detector's own instead of a focal loss, and pseudo-labels weigh 1 instead of 4, as the authors advise
for other data.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lat.baselines.baseline_settings import StudentTeacherSettings
from lat.core.errors import InputError
from lat.core.structures import LabeledBoxes
from lat.data.augment.augment_settings import AugmentationSettings
from lat.data.augment.strong_view import strong_view
from lat.data.augment.transforms import augment
from lat.data.dataset import DetectionDataset

# The losses for pseudo-labels; their boxes are not trusted, so all other losses are dropped.
DETECTOR_CLASS_LOSSES = frozenset(
    {
        *("loss_classifier", "loss_objectness"),  # torchvision
        *("loss_cls", "loss_rpn_cls"),  # Detectron2
        *("loss_vfl", "loss_ce"),  # RT-DETR, Deformable-DETR; not RT-DETR's denoising, which also trains boxes
    }
)


class StudentTeacher(nn.Module):
    """A student detector in training, and its teacher, which is the result.

    Every call of `losses` in train mode is one step, and first updates the teacher with the student of the previous step. The
    teacher lags one step behind; it gets no gradients and is never in train mode. The trainer's own weight average must be off:
    it would average the teacher again.

    Args:
        student: a `Detector`; it is trained in place.
        settings: how it learns.
        teacher_decay: of the teacher as moving average of the student; 0.9996 for runs of 100,000 steps.

    Attributes:
        student: the detector given.
        teacher: a `Detector` with the averaged weights; floating-point buffers are averaged as well.
        steps: () int64, steps done; in the state dict, so that a resumed run goes on as if it had not been stopped.
    """

    steps: Tensor

    def __init__(self, student: nn.Module, settings: StudentTeacherSettings, teacher_decay: float = 0.99) -> None:
        super().__init__()
        assert 0.0 <= teacher_decay < 1.0
        self.student: Any = student
        self.teacher: Any = deepcopy(student).requires_grad_(False).eval()
        self.settings, self.teacher_decay = settings, teacher_decay
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> StudentTeacher:
        """As for any module, except that the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def losses(
        self,
        weak: list[Tensor],
        strong: list[Tensor],
        targets: list[LabeledBoxes],
        unlabelled_weak: list[Tensor],
        unlabelled_strong: list[Tensor],
    ) -> dict[str, Tensor]:
        """The student's losses on both views of the labelled images, under their own names; after the burn-in also its
        classification losses on the strong views of the unlabelled images, each as NAME_unsupervised.

        An unlabelled image without confident detections of the teacher is all background, as in the authors' code.

        Args:
            weak: B weak views of labelled images, each (3, H, W) float32 in [0, 1].
            strong: their B strong views.
            targets: their boxes.
            unlabelled_weak: U weak views of unlabelled images, for the teacher.
            unlabelled_strong: their U strong views, for the student.

        Raises:
            InputError: if the batch has no labelled or no unlabelled image.
        """
        assert self.training, "losses need train mode"
        if not weak or not unlabelled_weak:
            raise InputError(
                "downstream.training.batch_size", "leaves no labelled or no unlabelled image to a process", "make it larger"
            )
        self._update_teacher()
        losses: dict[str, Tensor] = dict(self.student.losses([*weak, *strong], [*targets, *targets]))
        if int(self.steps) >= self.settings.burn_in_steps:
            found = self.student.losses(unlabelled_strong, self._pseudo_labels(unlabelled_weak))
            of_classes = {name: loss for name, loss in found.items() if name in DETECTOR_CLASS_LOSSES}
            assert of_classes, f"none of {', '.join(found)} is known as a classification loss"
            losses |= {f"{name}_unsupervised": loss for name, loss in of_classes.items()}
        self.steps += 1
        return losses

    @torch.no_grad()
    def _update_teacher(self) -> None:
        """Average the student into the teacher; until the burn-in ends, copy it."""
        decay = self.teacher_decay if int(self.steps) > self.settings.burn_in_steps else 0.0
        student = self.student.state_dict()
        for name, averaged in self.teacher.state_dict().items():
            if averaged.is_floating_point() and decay:
                averaged.lerp_(student[name], 1.0 - decay)
            else:
                averaged.copy_(student[name])

    def _pseudo_labels(self, images: list[Tensor]) -> list[LabeledBoxes]:
        return [found[found.scores >= self.settings.teacher_threshold] for found in self.teacher.predict(images)]


Views = tuple[Tensor, Tensor, LabeledBoxes | None]


class StudentTeacherItems:
    """Labelled images, then unlabelled ones, each in a weak and a strong view.

    With `Reserved.half(len(labelled), batch_size)` of `lat.engine.sampling` half of every batch is labelled.

    Args:
        labelled: images of the target with their boxes.
        unlabelled: images of the sources; their boxes are ignored.
        augmentation: of the weak view, which keeps its colours.
    """

    def __init__(
        self, labelled: DetectionDataset, unlabelled: Sequence[DetectionDataset], augmentation: AugmentationSettings
    ) -> None:
        self.num_labelled = len(labelled)
        self.images = [(dataset, i) for dataset in (labelled, *unlabelled) for i in range(len(dataset))]
        self.augmentation = replace(augmentation, color_jitter=0.0)

    def __len__(self) -> int:
        return len(self.images)

    def item(self, index: int, generator: torch.Generator) -> Views:
        """Weak and strong view (3, H, W) of image `index`, and its boxes, None if it is unlabelled."""
        dataset, i = self.images[index]
        is_labelled = index < self.num_labelled
        boxes = dataset.boxes(i) if is_labelled else LabeledBoxes.empty(dataset.space)
        weak, boxes = augment(dataset.image(i), boxes, self.augmentation, generator)
        return weak, strong_view(weak, generator), boxes if is_labelled else None

    def collate(self, items: list[Views]) -> tuple[list[Tensor], list[Tensor], list[LabeledBoxes], list[Tensor], list[Tensor]]:
        """The arguments of `StudentTeacher.losses`."""
        labelled = [(weak, strong, boxes) for weak, strong, boxes in items if boxes is not None]
        unlabelled = [(weak, strong) for weak, strong, boxes in items if boxes is None]
        return (
            [weak for weak, _, _ in labelled],
            [strong for _, strong, _ in labelled],
            [boxes for _, _, boxes in labelled],
            [weak for weak, _ in unlabelled],
            [strong for _, strong in unlabelled],
        )
