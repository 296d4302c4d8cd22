"""The label-transfer model's output for proposals, before it becomes labels.

Shape letters: B images, M proposals over all images, K_t classes of the target's label space, G human boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lat.core.boxes import aligned_iou, rows_of_one_group
from lat.core.copies import to_device, to_host
from lat.core.structures import Proposals

SUPPORT_IOU = 0.5  # a proposal that overlaps a human box this much belongs to the same object


@dataclass(frozen=True, eq=False)
class KnownProposals:
    """What is known of the proposals of B images before any model sees them.

    Attributes:
        proposals: the M proposals of all images, image after image.
        images: (M,) int64 image index of each proposal, ascending.
        sizes_hw: (B, 2) int64 height and width of each image in pixels.
        source_labels: (M,) int64 classes of the human boxes in the source's label space; -1 for other proposals.
        support: (M,) int64 row of the human box that each proposal overlaps, its own row for a human box; -1 for none. Found by
            default.
    """

    proposals: Proposals
    images: Tensor
    sizes_hw: Tensor
    source_labels: Tensor
    support: Tensor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.support is None:
            found = _support(self.proposals.boxes_xyxy, self.images, self.source_labels)
            object.__setattr__(self, "support", found)

    @classmethod
    def joined(cls, parts: Sequence[KnownProposals]) -> KnownProposals:
        """What is known of the images of several, at least one, in order."""
        images, rows, moved, support = 0, 0, [], []
        for part in parts:
            moved.append(part.images + images)
            support.append(torch.where(part.support >= 0, part.support + rows, -1))
            images, rows = images + len(part.sizes_hw), rows + len(part.images)
        sizes_hw, source_labels = (torch.cat([getattr(part, name) for part in parts]) for name in ("sizes_hw", "source_labels"))
        proposals = Proposals.joined([part.proposals for part in parts])
        return cls(proposals, torch.cat(moved), sizes_hw, source_labels, torch.cat(support))

    def to(self, device: torch.device | str) -> KnownProposals:
        """The same on another device; the program does not wait for it."""
        columns = (self.images, self.sizes_hw, self.source_labels, self.support)
        return KnownProposals(self.proposals.to(device), *(to_device(column, device) for column in columns))


@dataclass(frozen=True, eq=False)
class DecodedProposals:
    """The label-transfer model's output for the proposals of B images, in a target's label space.

    Attributes:
        known: what was known of the proposals, on the model's device.
        class_scores: (M, K_t + 1) float32, the model's; each row sums to 1, background last.
        detector_scores: (M, K_t + 1) float32, the scores of the target's upstream detector for its own detections, in the same
            layout; zeros for all other proposals.
        boxes_xyxy: (M, K_t, 4) float32, the box that the model predicts for each proposal and class.
        on_host: `known` on the CPU.
    """

    known: KnownProposals
    class_scores: Tensor
    detector_scores: Tensor
    boxes_xyxy: Tensor
    on_host: KnownProposals = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.on_host is None:
            object.__setattr__(self, "on_host", self.known)

    def __len__(self) -> int:
        return len(self.known.sizes_hw)

    @property
    def proposals(self) -> Proposals:
        return self.known.proposals

    @property
    def device(self) -> torch.device:
        return self.class_scores.device

    def counts(self, rows: Tensor) -> list[int]:
        """Number of `rows` (N,) int64, on the CPU, that belong to each image."""
        return torch.bincount(self.on_host.images[rows], minlength=len(self)).tolist()

    @property
    def human_rows(self) -> Tensor:
        """(G,) int64 rows of the human boxes, on the CPU."""
        return (self.on_host.source_labels >= 0).nonzero().flatten()

    @cached_property
    def is_detection(self) -> Tensor:
        """(M,) bool, True for detections of the target's detector."""
        return self.detector_scores.sum(dim=1) > 0

    @cached_property
    def detected_labels(self) -> Tensor:
        """(M,) int64 classes for which the target's detector drew its detections, in the target's space; -1 for others."""
        return torch.where(self.is_detection, self.proposals.labels, -1)


Decoded = dict[str, DecodedProposals]
"""Decoded proposals of one batch of images, by target."""


def joined(batches: Sequence[Decoded]) -> Decoded:
    """Decoded proposals of several batches, at least one, as those of one."""
    if len(batches) == 1:
        return batches[0]
    known: dict[tuple[int, ...], KnownProposals] = {}  # what all targets share is joined once

    def of(parts: Sequence[KnownProposals]) -> KnownProposals:
        key = tuple(map(id, parts))
        if key not in known:
            known[key] = KnownProposals.joined(parts)
        return known[key]

    return {target: _joined_of_target([batch[target] for batch in batches], of) for target in batches[0]}


def _joined_of_target(
    parts: Sequence[DecodedProposals], joined_known: Callable[[Sequence[KnownProposals]], KnownProposals]
) -> DecodedProposals:
    model, detector, boxes_xyxy = (
        torch.cat([getattr(one, name) for one in parts]) for name in ("class_scores", "detector_scores", "boxes_xyxy")
    )
    known, host = ([getattr(one, name) for one in parts] for name in ("known", "on_host"))
    return DecodedProposals(joined_known(known), model, detector, boxes_xyxy, joined_known(host))


def on_host(decoded: Mapping[str, DecodedProposals]) -> Decoded:
    """Decoded proposals of one batch on the CPU, in one copy of all of them."""
    columns = [column for one in decoded.values() for column in (one.class_scores, one.detector_scores, one.boxes_xyxy)]
    copied = iter(to_host(columns))
    return {name: DecodedProposals(one.on_host, next(copied), next(copied), next(copied)) for name, one in decoded.items()}


def _support(boxes_xyxy: Tensor, images: Tensor, source_labels: Tensor) -> Tensor:
    human = (source_labels >= 0).nonzero().flatten()
    rows, places = rows_of_one_group(images, images[human])
    iou = aligned_iou(boxes_xyxy[rows], boxes_xyxy[human[places]])
    best = boxes_xyxy.new_full((len(boxes_xyxy),), SUPPORT_IOU).scatter_reduce(0, rows, iou, "amax")
    is_best = iou >= best[rows]
    none = len(boxes_xyxy)  # more than any row
    support = human.new_full((none,), none).scatter_reduce(0, rows[is_best], human[places[is_best]], "amin")
    return torch.where(support < none, support, -1)
