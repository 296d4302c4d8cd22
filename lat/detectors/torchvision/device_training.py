"""Losses of a two-stage detector on a device, for which the program waits once, however many images a batch has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.image_list import ImageList

from lat.core.copies import to_host
from lat.core.suppression import until_settled
from lat.detectors.torchvision.proposal_selection import Regions
from lat.detectors.torchvision.training_samples import Labelled, match_on_device
from lat.detectors.torchvision.weighted_rcnn import (
    RegionSamples,
    ScoredAnchors,
    Target,
    WeightedRegionProposalNetwork,
    WeightedRoIHeads,
)


@dataclass(frozen=True)
class DeviceTraining:
    """The losses of a proposal network and a box head, of the same random numbers the same as theirs.

    Anchors are matched before the proposals are known, and regions with the places that proposals may take, so that one answer of
    the device says how many there are of everything.
    """

    rpn: WeightedRegionProposalNetwork
    heads: WeightedRoIHeads

    def losses(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        levels: dict[str, Tensor],
        targets: list[Target],
        class_masks: list[Tensor] | None,
    ) -> dict[str, Tensor]:
        """Four scalars under torchvision's names.

        Args:
            images: of the batch.
            features: the levels of the pyramid.
            levels: those that carry anchors.
            targets: as `training_samples` describes them.
            class_masks: see `WeightedRoIHeads.losses`.
        """
        scored = self.rpn.scored(images, levels)
        anchors = self._labelled_anchors(scored, targets)

        def attempt(passes: int) -> tuple[Labelled, list[int]] | None:
            chosen = self.rpn.chosen(scored, images.image_sizes, passes)
            regions = self._labelled_regions(chosen, targets)
            (numbers,) = to_host([torch.cat([chosen.is_settled.long()[None], anchors.counts, regions.counts])])
            is_settled, *counts = numbers.tolist()
            return (regions, counts) if is_settled else None

        regions, counts = until_settled(attempt)
        losses = self._proposal_losses(scored, anchors, counts[: 2 * len(targets)], targets)
        samples = self._region_samples(regions, counts[2 * len(targets) :], targets)
        return losses | self.heads.sample_losses(features, samples, images.image_sizes, targets, class_masks)

    def _labelled_anchors(self, scored: ScoredAnchors, targets: Sequence[Target]) -> Labelled:
        matcher, pairs = self.rpn.proposal_matcher, zip(scored.anchors, targets, strict=True)
        found = [match_on_device(matcher, anchors, target["boxes"], target["labels"]) for anchors, target in pairs]
        return Labelled(scored.anchors, [nearest for nearest, _ in found], [labels for _, labels in found])

    def _labelled_regions(self, chosen: Regions, targets: Sequence[Target]) -> Labelled:
        """All places for proposals, and the ground truth."""
        boxes, nearest, labels = [], [], []
        for proposals, is_region, target in zip(chosen.boxes_xyxy, chosen.is_region, targets, strict=True):
            boxes.append(torch.cat([proposals, target["boxes"]]))
            is_there = torch.cat([is_region, target["labels"] != 0])
            matched, kinds = match_on_device(self.heads.proposal_matcher, boxes[-1], target["boxes"], target["labels"])
            nearest.append(matched)
            labels.append(kinds.masked_fill(~is_there, -1))
        return Labelled(boxes, nearest, labels)

    def _proposal_losses(
        self, scored: ScoredAnchors, anchors: Labelled, counts: Sequence[int], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """As torchvision's `compute_loss`; zero, with a gradient, if nothing can be sampled."""
        if not sum(counts):
            return {"loss_objectness": scored.objectness.sum() * 0.0, "loss_rpn_box_reg": scored.deltas.sum() * 0.0}
        rows = anchors.sampled(counts, self.rpn.fg_bg_sampler)
        wanted = self.rpn.box_coder.encode(*anchors.pairs([objects for objects, _ in rows], targets))
        first = range(0, len(scored.deltas), len(scored.anchors[0]))  # rows of each image among those of all
        objects, background = (
            torch.cat([start + one for start, one in zip(first, column, strict=True)]) for column in zip(*rows, strict=True)
        )
        sampled = torch.cat([objects, background])
        is_object = (torch.arange(len(sampled), device=sampled.device) < len(objects)).float()
        distance = F.smooth_l1_loss(scored.deltas[objects], torch.cat(list(wanted)), beta=1 / 9, reduction="sum")
        return {
            "loss_objectness": F.binary_cross_entropy_with_logits(scored.objectness.flatten()[sampled], is_object),
            "loss_rpn_box_reg": distance / len(sampled),
        }

    def _region_samples(self, regions: Labelled, counts: Sequence[int], targets: Sequence[Target]) -> RegionSamples:
        sampled = regions.sampled(counts, self.heads.fg_bg_sampler)
        rows = [torch.cat(of_image).sort().values for of_image in sampled]
        boxes, matched = regions.pairs(rows, targets)
        deltas = list(self.heads.box_coder.encode(boxes, matched))
        nearest = [of_image[row] for of_image, row in zip(regions.nearest, rows, strict=True)]
        labels = [of_image[row] for of_image, row in zip(regions.labels, rows, strict=True)]
        return RegionSamples(matched, nearest, labels, deltas, sum(len(objects) for objects, _ in sampled))
