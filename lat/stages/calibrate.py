"""Fit the scores of transferred labels to how often such labels are right, on the target's held-out images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

from lat.evaluation.label_quality import scored_hits
from lat.models.label_transfer import TransferInput
from lat.models.proposals import PrivilegedProposalGenerator, ProposalSettings
from lat.pseudo.calibration import Calibration, CalibrationSettings, fit_calibration
from lat.stages.label_transfer import open_held_out_features
from lat.stages.workspace import Workspace
from lat.structures import LabeledBoxes

ONE_OBJECT_IOU = 0.5  # two detections that overlap by this much, whatever their classes, are taken for one object


class HeldOutImages:
    """The held-out images of a target as if they were images of a source, so that a transfer can be scored.

    What the source's detector is sure of plays the part of the source's ground truth, one box an object, as a person draws. The
    target's detector has not seen these images either, so it errs on them as on any others.
    """

    def __init__(self, workspace: Workspace, source: str, target: str) -> None:
        self.part = workspace.held_out_part(target)
        self.sure_score = workspace.config.transfer.sure_score
        self.labels = {space: workspace.read_held_out_labels(target, space) for space in workspace.names}
        self.source, self.target = source, target
        self.generator = PrivilegedProposalGenerator(workspace.joint, ProposalSettings())
        self.features = open_held_out_features(workspace, target)

    def __len__(self) -> int:
        return len(self.part)

    def transfer_input(self, image: int) -> TransferInput:
        """An image with the proposals of a transfer."""
        seen = self.labels[self.source].boxes(image)
        sure = seen[seen.scores >= self.sure_score]
        sure = sure[nms(sure.boxes_xyxy, sure.scores, ONE_OBJECT_IOU)]
        as_ground_truth = LabeledBoxes(sure.boxes_xyxy, sure.labels, sure.space)
        others = [table.boxes(image) for space, table in self.labels.items() if space != self.source]
        return TransferInput(
            features=self.features.get(self.target, image),
            scale_yx=self.features.scales(self.target, image),
            size_hw=self.part.size_hw(image),
            proposals=self.generator.propose(as_ground_truth, others),
        )

    def judged(self, labels: Sequence[tuple[LabeledBoxes, Tensor]]) -> list[LabeledBoxes]:
        """The labels that can be held against the truth.

        Of a person's box it is not in doubt that there is something, as it is of a detection that plays its part: labels on
        such a box that lie on no truth box of any class are left out.

        Args:
            labels: for each image the labels, and (N,) bool whether they lie on boxes that play the source's own.
        """
        return [boxes[~on_own | _lies_on(boxes, self.part.boxes(i))] for i, (boxes, on_own) in enumerate(labels)]

    def calibration(self, judged: Sequence[LabeledBoxes], settings: CalibrationSettings) -> Calibration:
        """Fit the scores of judged labels to the truth."""
        found = scored_hits(self.part.labels, judged)
        return fit_calibration(torch.from_numpy(found.scores), torch.from_numpy(found.hits), settings)


def _lies_on(boxes: LabeledBoxes, truth: LabeledBoxes, iou: float = 0.5) -> Tensor:
    """(N,) bool, whether each box overlaps a truth box."""
    overlaps = box_iou(boxes.boxes_xyxy, truth.boxes_xyxy) >= iou
    return overlaps.any(dim=1)
