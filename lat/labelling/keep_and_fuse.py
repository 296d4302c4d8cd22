"""Keep and fuse: from what the label-transfer model says of each proposal to the labels that are written.

Shape letters: B images, M proposals of all of them, K_t classes of the target's label space, C candidates (a proposal as one
class), N labels. All images of a batch are done at once; boxes of different images never meet.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lat.core.boxes import aligned_iou
from lat.core.decoded_proposals import DecodedProposals
from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.labelling.candidates import Candidates, by_image
from lat.labelling.class_prior import RelationPrior
from lat.labelling.conventions import BoxConventions
from lat.labelling.prior_settings import PriorSettings

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


def labels_of(
    decoded: DecodedProposals,
    space: LabelSpace,
    decode: DecodeSettings,
    fuse: FuseSettings = PAPER,
    conventions: BoxConventions | None = None,
    prior: RelationPrior | None = None,
) -> tuple[LabeledBoxes, Tensor]:
    """The labels of B images in the target's label space, and the (N,) int64 rows of the proposals that they came from.

    They are in the order of the images, and in each the best come first.

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
    found = Candidates(
        boxes[rows, labels],
        labels,
        scores[rows, labels],
        decoded.images[rows],
        decoded.source_labels[rows],
        decoded.proposals.boxes_xyxy[rows],
    )
    best = found.best(decode.nms_iou, decode.max_detections, own_first=fuse.keep)
    written, score = found.fused(best, precision[rows, labels]) if fuse.fuse else (found.boxes_xyxy[best], found.scores[best])
    result = LabeledBoxes(written, labels[best], space, scores=score, class_scores=scores[rows[best], :-1])
    order = by_image(decoded.images[rows[best]], score)
    return result[order], rows[best][order]


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
    own, num_target = decoded.own_rows, boxes.shape[1]
    boxes, rows = boxes.clone(), own.repeat_interleave(num_target)
    sources, targets = decoded.source_labels[rows], torch.arange(num_target).repeat(len(own))
    moved = conventions.moved(decoded.proposals.boxes_xyxy[rows], sources, targets, decoded.sizes_hw[decoded.images[rows]])
    drawn = boxes[own].flatten(0, 1)
    same = aligned_iou(moved, drawn) >= KEPT_IOU
    share = conventions.label_share(moved, drawn, sources, targets) * same[:, None]
    boxes[own] = (share * moved + (1 - share) * drawn).unflatten(0, (-1, num_target))
    precision[own] = (1 / (1 - share)).unflatten(0, (-1, num_target))
    return boxes, precision
