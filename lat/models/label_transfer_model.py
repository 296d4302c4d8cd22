"""The label-transfer model: privileged proposals in, labels of any space of the joint label space out.

The module follows an image from top to bottom: features of its proposals (`TransferInput`) are pooled from the frozen backbone's
map, fused and classified (`forward`); then come the losses (`losses`) or the decoded boxes (`decode`).

Shape letters: B images, M proposals per image (padded), G ground-truth boxes per image (padded), C channels of the feature map,
D channels of a region feature, K classes of the joint label space (background last, at index K), K_t classes of the target, L
logits of a proposal (K + 1 unless `classification_loss` says otherwise).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lat.core import box_deltas
from lat.core.boxes import clip_to_images, pairwise_iou
from lat.core.copies import to_device
from lat.core.decoded_proposals import DecodedProposals, KnownProposals
from lat.core.label_space import JointLabelSpace
from lat.core.losses import matched_box_loss
from lat.core.origin import Origin
from lat.core.structures import LabeledBoxes, Proposals
from lat.models.backbones.frozen import pool_regions, stack_maps
from lat.models.classification import Classification
from lat.models.feature_fusion import SemanticFeatureFusion
from lat.models.heads import BoxHead, TransferPredictor
from lat.models.matching import match_proposals, pad
from lat.models.model_settings import FusionSettings, HeadSettings


@dataclass(frozen=True, eq=False)
class TransferInput:
    """One image as the label-transfer model sees it.

    Attributes:
        features: (C, h, w) map of the frozen backbone; before `FeatureCache.complete` whatever `FeatureCache.load` gives.
        scale_yx: map cells per pixel of the original image, down and across.
        size_hw: height and width of the original image in pixels.
        proposals: its privileged proposals, in pixels of the original image.
    """

    features: Tensor
    scale_yx: tuple[float, float]
    size_hw: tuple[int, int]
    proposals: Proposals

    def to(self, device: torch.device | str) -> TransferInput:
        """The same image on another device."""
        features = to_device(self.features, torch.device(device))
        return TransferInput(features, self.scale_yx, self.size_hw, self.proposals.to(device))

    def pin_memory(self) -> TransferInput:
        """The same image, ready for a copy to a GPU that nobody waits for."""
        return replace(self, features=self.features.pin_memory(), proposals=self.proposals.pin_memory())


class LabelTransferModel(nn.Module):
    """Box head, semantic feature fusion and predictor; the frozen backbone that computes the features is not part of it.

    Args:
        joint: all label spaces; their number N sets the cap of the fusion.
        channels: channels C of the frozen backbone's feature map.
        head: sizes and matching.
        fusion: how proposals attend to each other.
        relations: the table of class relations, if `head.classification_loss` needs one; see `Classification`.
        mean_over_processes: the mean of a number over all processes that train the model together.

    Raises:
        InputError: if the classification loss needs relations and there are none.

    Source: Label-Aligned Transfer, section 3.
    """

    def __init__(
        self,
        joint: JointLabelSpace,
        channels: int,
        head: HeadSettings,
        fusion: FusionSettings,
        relations: Tensor | None = None,
        mean_over_processes: Callable[[Tensor], Tensor] = lambda value: value,
    ) -> None:
        super().__init__()
        self.joint = joint
        self.head = head
        self.attend_image = fusion.attend == "image"
        self.box_head = BoxHead(channels, head.pooled_size, head.dim)
        self.fusion = SemanticFeatureFusion(head.dim, len(joint), len(joint.spaces), fusion)
        self.classification = Classification(joint, head.classification_loss, relations)
        self.predictor = TransferPredictor(head.dim, len(joint), self.classification.num_logits)
        self.mean_over_processes = mean_over_processes

    def forward(self, images: Sequence[TransferInput]) -> tuple[Tensor, Tensor]:
        """Logits (B, M, L) and box deltas (B, M, K, 4) of the padded proposals; ignore padding rows."""
        result: tuple[Tensor, Tensor] = self.predictor(self._fused(images, [image.proposals for image in images]))
        return result

    def losses(self, images: Sequence[TransferInput], ground_truth: Sequence[LabeledBoxes]) -> dict[str, Tensor]:
        """Classification and box loss against the untouched ground truth of each image's own dataset.

        Proposals are matched by `match_proposals`. Each is supervised only on background and the classes of its image's label
        space.

        Args:
            images: B > 0 images with training proposals; without any proposal the losses are 0.
            ground_truth: B entries; each entry's label space names the image's dataset.

        Returns:
            {"loss_class", "loss_box"}: scalars.
        """
        logits, deltas = self(images)
        boxes = pad([image.proposals.boxes_xyxy for image in images])
        target = match_proposals(boxes, ground_truth, self.joint, self.head.match_iou)
        counts = [len(image.proposals) for image in images]
        rows = to_device(_padded_rows(counts), logits.device)
        indices = torch.tensor([self.joint.index(truth.space.name) for truth in ground_truth])
        spaces = to_device(indices.repeat_interleave(torch.tensor(counts)), logits.device)
        labels, weights = target.labels.flatten()[rows], target.weights.flatten()[rows]
        loss_class = self.classification(logits.flatten(0, 1)[rows], labels, spaces, weights)
        objects = _Objects.among(rows, labels, weights, len(self.joint))
        regions, wanted = (one.flatten(0, 1)[objects.rows] for one in (boxes, target.boxes_xyxy))
        loss_box = objects.loss(deltas.flatten(0, 1)[objects.rows], regions, wanted)
        return {
            "loss_class": loss_class * self._share_of_batch(weights),
            "loss_box": loss_box * self._share_of_batch(objects.weights),
        }

    @torch.no_grad()
    def decode(self, images: Sequence[TransferInput], targets: Sequence[str]) -> dict[str, DecodedProposals]:
        """Decode each proposal in each target space: class scores, and one box per class.

        Scores are those of `Classification.scores`. Boxes are decoded with the deltas of their class and clipped to the image,
        in pixels of the original image. Proposals may be on the CPU, from where they are copied at once.
        """
        device = self.predictor.classes.weight.device
        on_host = known_proposals(images)
        known, counts = on_host.to(device), [len(image.proposals) for image in images]
        fused = self._fused(images, [known.proposals[rows] for rows in _ranges(counts)])
        rows, logits = to_device(_padded_rows(counts), device), self.predictor.classes(fused)
        fused, of_image = fused.flatten(0, 1)[rows], known.sizes_hw[known.images]
        return {
            target: DecodedProposals(
                known,
                self.classification.scores(logits, target).flatten(0, 1)[rows],
                detector_scores_of(known.proposals, self.joint, target),
                decode_inside_images(
                    self.predictor.deltas_of(fused, self.joint.slice(target)), known.proposals.boxes_xyxy, of_image
                ),
                on_host,
            )
            for target in targets
        }

    def _fused(self, images: Sequence[TransferInput], proposals: Sequence[Proposals]) -> Tensor:
        """Fused features (B, M, D) of the padded proposals, given on the model's device."""
        counts, boxes = [len(of_image) for of_image in proposals], [of_image.boxes_xyxy for of_image in proposals]
        regions = pad(self.box_head(self._pool(images, boxes)).split(counts))
        class_scores = pad([of_image.class_scores for of_image in proposals])
        confidence = pad([of_image.confidence for of_image in proposals])
        is_key = pad([of_image.origin != Origin.BACKGROUND for of_image in proposals])  # padding is never a key
        result: Tensor = self.fusion(regions, class_scores, confidence, self._attendable(pad(boxes), is_key))
        return result

    def _pool(self, images: Sequence[TransferInput], boxes_xyxy: Sequence[Tensor]) -> Tensor:
        """Region features (sum of M_i, C, S, S) of all images, in order."""
        dtype = self.predictor.classes.weight.dtype  # before stacking: autocast refuses to stack a cache's float16 maps
        maps = stack_maps([image.features.to(dtype) for image in images])
        return pool_regions(maps, boxes_xyxy, [image.scale_yx for image in images], self.head.pooled_size)

    def _attendable(self, boxes_xyxy: Tensor, is_key: Tensor) -> Tensor:
        """(B, M, M) bool, query row, key column: keys are non-background proposals that overlap the query or are the query."""
        if self.attend_image:
            return is_key[:, None, :].expand(-1, boxes_xyxy.shape[1], -1)
        itself = torch.eye(boxes_xyxy.shape[1], dtype=torch.bool, device=boxes_xyxy.device)
        return ((pairwise_iou(boxes_xyxy, boxes_xyxy) > 0) | itself) & is_key[:, None, :]

    def _share_of_batch(self, weights: Tensor) -> Tensor:
        """This process's number of regions relative to the mean over processes, so that averaging losses weighs regions alike."""
        count = weights.sum().clamp(min=1.0)
        return count / self.mean_over_processes(count)


def decode_inside_images(deltas: Tensor, boxes_xyxy: Tensor, sizes_hw: Tensor) -> Tensor:
    """Boxes (M, K_t, 4) float32: deltas (M, K_t, 4) applied to boxes (M, 4), clipped to images of height and width (M, 2)."""
    return clip_to_images(box_deltas.decode_boxes(deltas.float(), boxes_xyxy), sizes_hw[:, None])


def known_proposals(images: Sequence[TransferInput]) -> KnownProposals:
    """What is known of the proposals of images, on the CPU."""
    proposals = Proposals.joined([image.proposals for image in images]).to("cpu")
    counts = torch.tensor([len(image.proposals) for image in images])
    of_image, sizes_hw = torch.arange(len(images)).repeat_interleave(counts), torch.tensor([image.size_hw for image in images])
    return KnownProposals(proposals, of_image, sizes_hw, source_labels_of(proposals))


def source_labels_of(proposals: Proposals) -> Tensor:
    """(M,) int64 class of each human box in the source's label space; -1 for other proposals."""
    return torch.where(proposals.origin == Origin.GROUND_TRUTH, proposals.labels, -1)


def detector_scores_of(proposals: Proposals, joint: JointLabelSpace, target: str) -> Tensor:
    """(M, K_t + 1) class scores of the target detector's own detections, background last; zeros for other proposals."""
    is_detection = (proposals.origin == Origin.PSEUDO_LABEL) & (proposals.space_index == joint.index(target))
    scores = proposals.class_scores[:, joint.slice(target)]
    background = (1 - scores.sum(dim=1, keepdim=True)).clamp(min=0.0)
    return torch.cat([scores, background], dim=1) * is_detection[:, None]


class _Objects(NamedTuple):
    """Proposals matched to a box: rows (R,) in a padded batch, classes (R,), weights (R,), 0 of those that are (R,) no object."""

    rows: Tensor
    labels: Tensor
    weights: Tensor
    is_object: Tensor

    @classmethod
    def among(cls, rows: Tensor, labels: Tensor, weights: Tensor, background: int) -> _Objects:
        """Those of all proposals whose label is not background. A device, which would have to say how many, keeps all."""
        is_object = labels < background
        if is_object.device.type == "cpu":
            return cls(rows[is_object], labels[is_object], weights[is_object], is_object[is_object])
        return cls(rows, labels.where(is_object, 0), weights.where(is_object, 0.0), is_object)

    def loss(self, deltas: Tensor, boxes_xyxy: Tensor, wanted_xyxy: Tensor) -> Tensor:
        """`matched_box_loss` of deltas (R, K, 4), of which those of each one's class lead from boxes (R, 4) to others (R, 4)."""
        if self.rows.device.type != "cpu":  # what is no object may have no area
            corner = torch.zeros_like(boxes_xyxy[:, :2])
            unit = torch.cat([corner, corner + 1], dim=1)
            boxes_xyxy, wanted_xyxy = (torch.where(self.is_object[:, None], one, unit) for one in (boxes_xyxy, wanted_xyxy))
        predicted = deltas[torch.arange(len(self.labels), device=self.labels.device), self.labels]
        return matched_box_loss(predicted, box_deltas.encode_boxes(wanted_xyxy, boxes_xyxy), self.weights)


def _padded_rows(counts: Sequence[int]) -> Tensor:
    """(M,) int64, on the CPU: the places of all proposals in the B times `max(counts)` rows of a padded batch."""
    longest = max(counts)
    return torch.cat([torch.arange(count) + i * longest for i, count in enumerate(counts)])


def _ranges(counts: Sequence[int]) -> Iterator[slice]:
    """The rows of each image among those of all."""
    stop = 0
    for count in counts:
        start, stop = stop, stop + count
        yield slice(start, stop)
