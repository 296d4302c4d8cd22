"""Keep and fuse: from what the label-transfer model says of each proposal to the labels that are written.

Shape letters: M proposals of one image, K_t classes of the target's label space, C candidates (a proposal as one class),
N labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from lat.boxes import pairwise_iou
from lat.errors import InputError
from lat.label_space import LabelSpace
from lat.pseudo.conventions import BoxConventions
from lat.pseudo.prior_settings import PriorSettings
from lat.pseudo.priors import RelationPrior
from lat.structures import LabeledBoxes, Proposals

SUPPORT_IOU = 0.5  # a proposal that overlaps a person's box by this much is of the same object
FUSE_IOU = 0.6  # boxes of one class that overlap the best one by this much are averaged with it
KEPT_IOU = 0.5  # a person's moved box that overlaps the model's by less than this is not the same box


@dataclass(frozen=True)
class DecodeSettings:
    """What becomes of the model's scores at transfer."""

    score_threshold: float = 0.05  # boxes below it are not written
    nms_iou: float = 0.5  # IoU at which the lower of two boxes of one class is suppressed
    max_detections: int = 300  # most boxes written for one image

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_iou"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"transfer.{name}", f"is {getattr(self, name)}", "choose a number between 0 and 1")
        if self.max_detections < 1:
            raise InputError("transfer.max_detections", f"is {self.max_detections}", "choose 1 or more")


@dataclass(frozen=True)
class FuseSettings:
    """What a whole dataset tells about each of its boxes; the paper's form has none of it."""

    keep: bool = True  # hold on to a source's own box, moved to the target's convention, as far as that is known
    prior: PriorSettings = field(default_factory=PriorSettings)  # weigh classes by what a source's own box can be
    fuse: bool = True  # average the boxes of one class that lie on each other
    detector_share: float = 0.5  # share of the target's own detector in the class scores of its boxes; the rest is the model's
    sure_score: float = 0.5  # detections from this score on serve to compare two protocols

    def __post_init__(self) -> None:
        for name in ("detector_share", "sure_score"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"transfer.{name}", f"is {getattr(self, name)}", "choose a number between 0 and 1")


PAPER = FuseSettings(keep=False, prior=PriorSettings(method="none"), fuse=False, detector_share=0.0)


@dataclass(frozen=True, eq=False)
class DecodedProposals:
    """What the label-transfer model says of the proposals of one image in a target's label space.

    Attributes:
        proposals: the M proposals.
        source_labels: (M,) int64 classes of the source's own boxes in its label space; -1 for proposals of other origin.
        class_scores: (M, K_t + 1) float32, each row sums to 1; background last.
        detector_scores: (M, K_t + 1) float32, what the target's own detector says of those proposals that are its own, in the
            same way; zeros for the others.
        boxes_xyxy: (M, K_t, 4) float32, the box that each would be as each class.
        size_hw: height and width of the image in pixels.
    """

    proposals: Proposals
    source_labels: Tensor
    class_scores: Tensor
    detector_scores: Tensor
    boxes_xyxy: Tensor
    size_hw: tuple[int, int]

    def to(self, device: torch.device | str) -> DecodedProposals:
        """The same image on another device."""
        return DecodedProposals(
            self.proposals.to(device),
            self.source_labels.to(device),
            self.class_scores.to(device),
            self.detector_scores.to(device),
            self.boxes_xyxy.to(device),
            self.size_hw,
        )

    @property
    def own_rows(self) -> Tensor:
        """(G,) int64 rows of the source's own boxes."""
        return (self.source_labels >= 0).nonzero().flatten()

    @cached_property
    def support(self) -> Tensor:
        """(M,) int64 row of the source's own box on which each proposal lies, itself if it is one; -1 for none."""
        own, boxes = self.own_rows, self.proposals.boxes_xyxy
        if not len(own):
            return torch.full((len(boxes),), -1)
        best_iou, best = box_iou(boxes, boxes[own]).max(dim=1)
        return torch.where(best_iou >= SUPPORT_IOU, own[best], -1)


def labels_of(
    decoded: DecodedProposals,
    space: LabelSpace,
    decode: DecodeSettings,
    fuse: FuseSettings = PAPER,
    conventions: BoxConventions | None = None,
    prior: RelationPrior | None = None,
) -> tuple[LabeledBoxes, Tensor]:
    """The labels of one image in the target's label space, best first, and the (N,) int64 proposals they came from.

    Each proposal is a candidate for every class of the target that its score allows; of its own boxes the target's detector
    has a say too. The class scores of a proposal that lies on one of the source's own boxes are weighed by the relation prior of
    that box. The source's own boxes are kept as far as the conventions allow, and the model draws the rest. The best candidate
    of a class then suppresses others, and is averaged with those that lie on it. A label whose score is below the threshold is
    one that the source's box supports (`RelationPrior.supported`).
    """
    scores = _averaged(decoded, fuse.detector_share)
    if prior:
        scores = _weighed(decoded, scores, prior)
    boxes, precision = _kept(decoded, conventions) if fuse.keep and conventions else _as_decoded(decoded)
    rows, labels = _are_candidates(decoded, scores[:, :-1], decode, fuse, prior).nonzero(as_tuple=True)
    has_area = (boxes[rows, labels, 2:] > boxes[rows, labels, :2]).all(dim=1)
    rows, labels = rows[has_area], labels[has_area]
    originals = decoded.proposals.boxes_xyxy[rows]
    found = _Candidates(boxes[rows, labels], labels, scores[rows, labels], decoded.source_labels[rows], originals)
    best = found.with_own_first(decode) if fuse.keep else found.best(decode)
    written, score = found.boxes_xyxy[best], found.scores[best]
    if fuse.fuse and len(best):
        written, score = found.fused(best, precision[rows, labels])
    result = LabeledBoxes(written, labels[best], space, scores=score, class_scores=scores[rows[best], :-1])
    order = score.argsort(descending=True, stable=True)
    return result[order], rows[best][order]


@dataclass(frozen=True, eq=False)
class _Candidates:
    """C candidates of one image: boxes (C, 4), classes (C,), scores (C,), the source's classes (C,) of its own boxes (-1 for
    others), and the boxes (C, 4) of the proposals.
    """

    boxes_xyxy: Tensor
    labels: Tensor
    scores: Tensor
    source_labels: Tensor
    originals_xyxy: Tensor

    @property
    def is_own(self) -> Tensor:
        """(C,) bool."""
        return self.source_labels >= 0

    def best(self, decode: DecodeSettings) -> Tensor:
        """Candidates that no better one of their class suppresses, best first."""
        return batched_nms(self.boxes_xyxy, self.scores, self.labels, decode.nms_iou)[: decode.max_detections]

    def with_own_first(self, decode: DecodeSettings) -> Tensor:
        """The same, but the source's own boxes suppress others whatever the scores."""
        own = self._best_own(decode.nms_iou)
        covered = (self._of_one_class(own) & (box_iou(self.boxes_xyxy[own], self.boxes_xyxy) >= decode.nms_iou)).any(dim=0)
        free = (~self.is_own & ~covered).nonzero().flatten()
        others = free[batched_nms(self.boxes_xyxy[free], self.scores[free], self.labels[free], decode.nms_iou)]
        kept = torch.cat([own, others])
        return kept[self.scores[kept].argsort(descending=True, stable=True)][: decode.max_detections]

    def _best_own(self, nms_iou: float) -> Tensor:
        """The source's own candidates that no better one of them suppresses, best first.

        Two boxes of one class that a person drew one upon the other are two objects, and stay. Two that come to lie on each
        other only here, such as a rider's and a bicycle's in a space that draws one box for both, are one.
        """
        own = self.is_own.nonzero().flatten()
        own = own[self.scores[own].argsort(descending=True, stable=True)]
        boxes, originals, source = self.boxes_xyxy[own], self.originals_xyxy[own], self.source_labels[own]
        drawn_apart = (source[:, None] == source) & (box_iou(originals, originals) >= nms_iou)
        suppresses = self._of_one_class(own)[:, own] & (box_iou(boxes, boxes) >= nms_iou) & ~drawn_apart
        suppresses = suppresses.triu(diagonal=1)
        kept = torch.ones(len(own), dtype=torch.bool, device=own.device)
        while not torch.equal(kept, now := ~(suppresses & kept[:, None]).any(dim=0)):
            kept = now
        return own[kept]

    def fused(self, best: Tensor, precision: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) averaged with the candidates of their class that lie on them, and (N,) the highest score among these.

        The source's own boxes take part in no average but their own.
        """
        lies_on = box_iou(self.boxes_xyxy[best], self.boxes_xyxy) >= FUSE_IOU
        itself = best[:, None] == torch.arange(len(self.scores), device=best.device)
        agrees = itself | (lies_on & self._of_one_class(best) & ~self.is_own)
        shares = agrees[:, :, None] * (self.scores[:, None].clamp(min=1e-6) * precision)  # (N, C, 4)
        boxes = (shares * self.boxes_xyxy).sum(dim=1) / shares.sum(dim=1)
        return boxes, (agrees * self.scores).amax(dim=1)

    def _of_one_class(self, rows: Tensor) -> Tensor:
        """(len(rows), C) bool, whether a candidate has the class of each of `rows`."""
        return self.labels[rows][:, None] == self.labels


def _averaged(decoded: DecodedProposals, share: float) -> Tensor:
    """Class scores (M, K_t + 1), those of the target's own detector averaged with the model's where there are any."""
    has_own = decoded.detector_scores.sum(dim=1, keepdim=True) > 0
    both = share * decoded.detector_scores + (1 - share) * decoded.class_scores
    return torch.where(has_own, both, decoded.class_scores)


def _weighed(decoded: DecodedProposals, scores: Tensor, prior: RelationPrior) -> Tensor:
    """Scores (M, K_t + 1), those of proposals on one of the source's own boxes times the prior of its class."""
    support = decoded.support
    supported, weighed = support >= 0, scores.clone()
    weighed[supported] = prior.applied(scores[supported], decoded.source_labels[support[supported]])
    return weighed


def _are_candidates(
    decoded: DecodedProposals, scores: Tensor, decode: DecodeSettings, fuse: FuseSettings, prior: RelationPrior | None
) -> Tensor:
    """(M, K_t) bool: the classes as which each proposal may be written, by its score or because a box of the source vouches."""
    threshold, least_share = decode.score_threshold, fuse.prior.keep_supported
    high = scores >= threshold
    if prior is None or not least_share:
        return high
    return high | prior.supported(scores, decoded.support, decoded.source_labels, threshold, least_share)


def _as_decoded(decoded: DecodedProposals) -> tuple[Tensor, Tensor]:
    return decoded.boxes_xyxy, torch.ones_like(decoded.boxes_xyxy)


def _kept(decoded: DecodedProposals, conventions: BoxConventions) -> tuple[Tensor, Tensor]:
    """Boxes (M, K_t, 4), those of the source's own proposals averaged with the moved originals; and how precise each side is.

    The weights of the average are inverse variances. Precision is 1 for a box of the model alone.
    """
    boxes, precision = _as_decoded(decoded)
    own = decoded.own_rows
    if not len(own):
        return boxes, precision
    boxes, num_target = boxes.clone(), boxes.shape[1]
    originals = decoded.proposals.boxes_xyxy[own].repeat_interleave(num_target, dim=0)
    sources = decoded.source_labels[own].repeat_interleave(num_target)
    targets = torch.arange(num_target).repeat(len(own))
    moved = conventions.moved(originals, sources, targets, decoded.size_hw)
    drawn = boxes[own].flatten(0, 1)
    same = pairwise_iou(moved[:, None], drawn[:, None]).flatten() >= KEPT_IOU
    share = conventions.label_share(moved, drawn, sources, targets) * same[:, None]
    boxes[own] = (share * moved + (1 - share) * drawn).unflatten(0, (-1, num_target))
    precision[own] = (1 / (1 - share)).unflatten(0, (-1, num_target))
    return boxes, precision
