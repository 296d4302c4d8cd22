"""Fit the scores of transferred labels to how often such labels are right, on the target's held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from lat.core.structures import LabeledBoxes, Proposals
from lat.data.tensors import boxes_of
from lat.evaluation.label_quality import scored_hits, true_classes, true_classes_of
from lat.labelling.calibration import Calibration, fit_calibration
from lat.labelling.class_prior import ClassPrior
from lat.models.label_transfer_model import TransferInput
from lat.models.model_settings import ProposalSettings
from lat.models.proposals import PrivilegedProposalGenerator
from lat.stages.shared.proposed import Proposed
from lat.stages.shared.transfer_model import open_held_out_features
from lat.workspace.label_files import read_held_out_labels
from lat.workspace.workspace import Workspace

ONE_OBJECT_IOU = 0.5  # two detections that overlap this much are one object, whatever their classes


class HeldOutImages:
    """The held-out images of a target as if they were images of a source, so that a transfer can be scored.

    Detections of the source's detector stand in for human boxes: the sure ones, and those on a truth box. There is one per
    object, of the class that an annotator of the source would choose. The target's detector has not trained on these images,
    so it errs on them as on any others.

    Args:
        workspace: the run.
        source: the dataset whose images they stand for.
        target: the dataset of the images.
        prior: how the classes of the two relate; without it the stand-ins keep the detector's classes.
    """

    def __init__(self, workspace: Workspace, source: str, target: str, prior: ClassPrior | None = None) -> None:
        self.part = workspace.data.held_out_part(target)
        self.sure_threshold = workspace.config.transfer.combine.sure_threshold
        self.labels = {space: read_held_out_labels(workspace, target, space) for space in workspace.names}
        self.source, self.target, self.prior = source, target, prior
        self.generator = PrivilegedProposalGenerator(workspace.data.joint, ProposalSettings())
        self.features = open_held_out_features(workspace, target)
        self.proposed = Proposed(self._propose, len(self))

    def __len__(self) -> int:
        return len(self.part)

    def transfer_input(self, image: int) -> TransferInput:
        """An image with the proposals of a transfer."""
        return TransferInput(
            features=self.features.load(self.target, image),
            scale_yx=self.features.scales(self.target, image),
            size_hw=self.part.size_hw(image),
            proposals=self.proposed[image],
        )

    def _propose(self, images: range) -> list[Proposals]:
        human = [self._stand_ins(image) for image in images]
        chosen, counts = np.arange(images.start, images.stop), torch.tensor([len(one) for one in human])
        others = [table.select(chosen) for space, table in self.labels.items() if space != self.source]
        stand_ins = LabeledBoxes.joined(human), torch.arange(len(human)).repeat_interleave(counts)
        return self.generator.propose_for_images(stand_ins, others, len(images))

    def judged(self, labels: Sequence[tuple[LabeledBoxes, Tensor]], first: int = 0) -> list[LabeledBoxes]:
        """The labels that can be compared with the truth.

        A human box always marks an object, so a stand-in must too: labels on a stand-in that overlap no truth box of any
        class are left out.

        Args:
            labels: for each image, its labels and (N,) bool: whether each lies on a stand-in.
            first: index of the first of these images.
        """
        judged = []
        for i, (boxes, on_stand_in) in enumerate(labels, start=first):
            truth = self.part.boxes(i)
            judged.append(boxes[~on_stand_in | (true_classes(boxes, truth) != len(truth.space))])
        return judged

    def calibration(self, judged: Sequence[LabeledBoxes], method: str) -> Calibration:
        """Fit the scores of judged labels to the truth."""
        found = scored_hits(self.part.labels, judged)
        return fit_calibration(torch.from_numpy(found.scores), torch.from_numpy(found.hits), method)

    @cached_property
    def _true_classes(self) -> np.ndarray:
        """(A,) int64 of all detections of the source's detector."""
        return true_classes_of(self.labels[self.source], self.part.labels)

    def _stand_ins(self, image: int) -> LabeledBoxes:
        """Detections of the source's detector that stand in for human boxes."""
        seen = boxes_of(self.labels[self.source], image)
        classes = torch.from_numpy(self._true_classes[self.labels[self.source].rows(image)])
        is_object = (classes >= 0) & (classes < len(self.part.space))
        is_chosen = is_object | (seen.scores >= self.sure_threshold)
        seen, classes, is_object = seen[is_chosen], classes[is_chosen], is_object[is_chosen]
        one_each = nms(seen.boxes_xyxy, seen.scores, ONE_OBJECT_IOU)
        labels = seen.labels.clone()
        if self.prior is not None and seen.class_scores is not None:
            labels[is_object] = self.prior.source_classes(seen.class_scores[is_object], classes[is_object])
        return LabeledBoxes(seen.boxes_xyxy[one_each], labels[one_each], seen.space)
