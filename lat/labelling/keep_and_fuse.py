"""Keep and fuse: from decoded proposals to labels, in six steps that `labels_of` lists.

Shape letters: B images, M proposals of all of them, K_t classes of the target's label space, C candidates (a proposal as one
class), N labels. All images of a batch are labelled at once; boxes of different images do not affect each other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lat.core.boxes import aligned_iou
from lat.core.decoded_proposals import DecodedProposals
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.labelling.candidates import Candidates, order_by_image
from lat.labelling.class_prior import ClassPrior
from lat.labelling.conventions import BoxConventions
from lat.labelling.labelling_settings import CombineSettings, DecodeSettings

SAME_BOX_IOU = 0.5  # below this overlap the model's box and the moved human box differ in extent, and the model's is used


PAPER = CombineSettings(keep=False, fuse=False, detector_share=0.0)


def labels_of(
    decoded: DecodedProposals,
    space: LabelSpace,
    decoding: DecodeSettings,
    combining: CombineSettings = PAPER,
    conventions: BoxConventions | None = None,
    prior: ClassPrior | None = None,
) -> tuple[LabeledBoxes, Tensor]:
    """The labels of B images in the target's label space, and the (N,) int64 rows of the proposals that they came from.

    1. The class scores of the target detector's own detections are averaged with the model's.
    2. The class scores of proposals on a human box are multiplied with the class prior of its class.
    3. Human boxes are moved to the target's convention and averaged with the boxes that the model draws.
    4. Each proposal becomes a candidate for every class with a high enough score, or that a human box vouches for.
    5. The best candidates of each class suppress those that overlap them; human boxes come first.
    6. Each of the best is averaged with the candidates that overlap it.

    Labels are in image order, best first in each image. Only labels that a human box vouches for (`ClassPrior.supported`) are
    below the score threshold.

    Args:
        decoded: the proposals of B images.
        space: the target's label space.
        decoding: thresholds.
        combining: which of the steps beyond the paper are on.
        conventions: how human boxes become boxes of the target; step 3 needs them.
        prior: the class prior of human boxes; step 2 needs it.
    """
    scores = _averaged_with_detector(decoded, combining.detector_share)
    if prior:
        scores = _multiplied_with_prior(decoded, scores, prior)
    if combining.keep and conventions:
        boxes, precision = _averaged_with_human_boxes(decoded, conventions)
    else:
        boxes, precision = _drawn_by_model(decoded)
    is_candidate = _are_candidates(decoded, scores[:, :-1], decoding, prior)
    found, rows = _candidates(decoded, scores, boxes, precision, is_candidate)
    best = found.best(decoding.nms_iou, decoding.max_detections, human_first=combining.keep)
    fused, fused_scores = found.fused(best) if combining.fuse else (found.boxes_xyxy[best], found.scores[best])
    rows = rows[best]
    labels = LabeledBoxes(fused, found.labels[best], space, scores=fused_scores, class_scores=scores[rows, :-1])
    order = order_by_image(decoded.images[rows], fused_scores)
    return labels[order], rows[order]


def _averaged_with_detector(decoded: DecodedProposals, detector_share: float) -> Tensor:
    """Step 1: class scores (M, K_t + 1), the target detector's averaged with the model's, if any."""
    is_detection = decoded.detector_scores.sum(dim=1, keepdim=True) > 0
    both = detector_share * decoded.detector_scores + (1 - detector_share) * decoded.class_scores
    return torch.where(is_detection, both, decoded.class_scores)


def _multiplied_with_prior(decoded: DecodedProposals, scores: Tensor, prior: ClassPrior) -> Tensor:
    """Step 2: scores (M, K_t + 1), those of proposals on a human box multiplied with the prior of its class."""
    support = decoded.support
    supported, multiplied = support >= 0, scores.clone()
    multiplied[supported] = prior.applied(scores[supported], decoded.source_labels[support[supported]])
    return multiplied


def _drawn_by_model(decoded: DecodedProposals) -> tuple[Tensor, Tensor]:
    """Step 3 without human boxes: the model's boxes (M, K_t, 4), and for each side (M, K_t, 4) the precision 1."""
    return decoded.boxes_xyxy, torch.ones_like(decoded.boxes_xyxy)


def _averaged_with_human_boxes(decoded: DecodedProposals, conventions: BoxConventions) -> tuple[Tensor, Tensor]:
    """Step 3: boxes (M, K_t, 4), human ones averaged with their moved originals, and the precision of each side.

    The weights of the average are inverse variances.
    """
    boxes, precision = _drawn_by_model(decoded)
    human, num_target = decoded.human_rows, boxes.shape[1]
    boxes, rows = boxes.clone(), human.repeat_interleave(num_target)
    sources, targets = decoded.source_labels[rows], torch.arange(num_target).repeat(len(human))
    moved = conventions.moved(decoded.proposals.boxes_xyxy[rows], sources, targets, decoded.sizes_hw[decoded.images[rows]])
    drawn = boxes[human].flatten(0, 1)
    is_same = aligned_iou(moved, drawn) >= SAME_BOX_IOU
    share = conventions.human_share(moved, drawn, sources, targets) * is_same[:, None]
    boxes[human] = (share * moved + (1 - share) * drawn).unflatten(0, (-1, num_target))
    precision[human] = (1 / (1 - share)).unflatten(0, (-1, num_target))
    return boxes, precision


def _are_candidates(decoded: DecodedProposals, scores: Tensor, decoding: DecodeSettings, prior: ClassPrior | None) -> Tensor:
    """Step 4: (M, K_t) bool, the candidate classes of each proposal: by its score, or because a human box vouches for it."""
    threshold, share_threshold = decoding.written_threshold, decoding.keep_supported
    is_high = scores >= threshold
    if prior is None or not share_threshold:
        return is_high
    return is_high | prior.supported(scores, decoded.support, decoded.source_labels, threshold, share_threshold)


def _candidates(
    decoded: DecodedProposals, scores: Tensor, boxes_xyxy: Tensor, precision: Tensor, is_candidate: Tensor
) -> tuple[Candidates, Tensor]:
    """Step 4: the candidates that have an area, and the (C,) int64 row of the proposal of each."""
    rows, labels = is_candidate.nonzero(as_tuple=True)
    has_area = (boxes_xyxy[rows, labels, 2:] > boxes_xyxy[rows, labels, :2]).all(dim=1)
    rows, labels = rows[has_area], labels[has_area]
    candidates = Candidates(
        boxes_xyxy=boxes_xyxy[rows, labels],
        precision=precision[rows, labels],
        labels=labels,
        scores=scores[rows, labels],
        images=decoded.images[rows],
        source_labels=decoded.source_labels[rows],
        proposals_xyxy=decoded.proposals.boxes_xyxy[rows],
    )
    return candidates, rows
