"""Keep and fuse: from decoded proposals to labels, in six steps that `labels_of` lists.

Shape letters: B images, M proposals of all of them, K_t classes of the target's label space, C candidates (a proposal as one
class), N labels. All images of a batch are labelled at once; boxes of different images do not affect each other.
"""

from __future__ import annotations

from dataclasses import dataclass

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

SAME_BOX_IOU = 0.5  # below this overlap a drawn box and the moved human box differ in extent, and the drawn one is used


PAPER = CombineSettings(keep=False, fuse=False, detector_share=0.0)


@dataclass(frozen=True, eq=False)
class _Scores:
    """What the model, the target's detector and both together say of the class of each proposal: (M, K_t + 1) each, background
    last; the detector says nothing (zeros) of other proposals than its own.
    """

    model: Tensor
    detector: Tensor
    both: Tensor


def labels_of(
    decoded: DecodedProposals,
    space: LabelSpace,
    decoding: DecodeSettings,
    combining: CombineSettings = PAPER,
    conventions: BoxConventions | None = None,
    prior: ClassPrior | None = None,
) -> tuple[LabeledBoxes, Tensor]:
    """The labels of B images in the target's label space, and the (N,) int64 rows of the proposals that they came from.

    1. The class scores of proposals on a human box are multiplied with the class prior of its class, and those of the target
       detector's own detections averaged with the model's.
    2. Human boxes are moved to the target's convention, and detections of the target's detector rid of its bias.
    3. Each proposal becomes a candidate for every class with a high enough score, or that a human box vouches for.
    4. The best candidates of each class suppress those that overlap them; human boxes come first.
    5. What networks draw of the object of each of the best is averaged, and a human box averaged with that; the weights of the
       two are their inverse variances.
    6. The score of each is the mean of the best that the model and the detector say of its object.

    Labels are in image order, best first in each image. Only labels that a human box vouches for (`ClassPrior.supported`) are
    below the score threshold.

    Args:
        decoded: the proposals of B images.
        space: the target's label space.
        decoding: thresholds.
        combining: which of the steps beyond the paper are on.
        conventions: how human boxes become boxes of the target, and how far each measurement is trusted; human boxes are kept
            only with them.
        prior: the class prior of human boxes.
    """
    scores = _class_scores(decoded, combining.detector_share, prior)
    known = conventions if combining.keep else None
    is_candidate = _are_candidates(decoded, scores.both[:, :-1], decoding, prior)
    found, rows = _candidates(decoded, scores.both, _Measured.of(decoded, known, fuse=combining.fuse), is_candidate)
    best = found.best(decoding.nms_iou, decoding.max_detections, human_first=combining.keep)
    rows_of_best = rows[best]
    if combining.fuse:
        boxes = found.drawn(best) if known is None else _averaged_with_human(found, best, rows, decoded, known)
        label_scores = _agreed_scores(found, best, rows, scores, combining.detector_share, decoding.nms_iou)
    else:
        boxes, label_scores = found.boxes_xyxy[best], found.scores[best]
    class_scores = scores.both[rows_of_best, :-1]
    labels = LabeledBoxes(boxes, found.labels[best], space, scores=label_scores, class_scores=class_scores)
    order = order_by_image(decoded.images[rows_of_best], label_scores)
    return labels[order], rows_of_best[order]


def _class_scores(decoded: DecodedProposals, detector_share: float, prior: ClassPrior | None) -> _Scores:
    """Step 1."""
    model, detector = decoded.class_scores, decoded.detector_scores
    if prior:
        model, detector = _multiplied_with_prior(decoded, model, prior), _multiplied_with_prior(decoded, detector, prior)
    both = torch.where(decoded.is_detection[:, None], detector_share * detector + (1 - detector_share) * model, model)
    return _Scores(model, detector, both)


def _multiplied_with_prior(decoded: DecodedProposals, scores: Tensor, prior: ClassPrior) -> Tensor:
    """Scores (M, K_t + 1), those of proposals on a human box multiplied with the prior of its class."""
    support = decoded.support
    supported, multiplied = support >= 0, scores.clone()
    multiplied[supported] = prior.applied(scores[supported], decoded.source_labels[support[supported]])
    return multiplied


@dataclass(frozen=True, eq=False)
class _Measured:
    """Step 2: boxes (M, K_t, 4) of every proposal as every class.

    Attributes:
        alone: the best that the proposal alone says: a human box averaged with what the model draws from it, a detection with
            what the model draws from that; what the model draws for others.
        detected: as the target's detector draws it, without its bias; only rows of detections are meant.
    """

    alone: Tensor
    detected: Tensor

    @classmethod
    def of(cls, decoded: DecodedProposals, conventions: BoxConventions | None, *, fuse: bool) -> _Measured:
        """Without conventions human boxes are left to the model, and detections are as they are."""
        alone, num_target = decoded.boxes_xyxy.clone(), decoded.boxes_xyxy.shape[1]
        detected = decoded.proposals.boxes_xyxy[:, None].repeat(1, num_target, 1)
        if conventions is not None:
            rows, targets = _by_class(decoded.detection_rows, num_target)
            boxes, sizes_hw = decoded.proposals.boxes_xyxy[rows], decoded.sizes_hw[decoded.images[rows]]
            detected[rows, targets] = conventions.unbiased(boxes, targets, sizes_hw)
            rows, targets = _by_class(decoded.human_rows, num_target)
            alone[rows, targets] = _with_human(decoded, conventions, rows, targets, alone[rows, targets])
        if fuse:
            rows = decoded.detection_rows
            alone[rows] = (alone[rows] + detected[rows]) / 2
        return cls(alone, detected)


def _by_class(rows: Tensor, num_target: int) -> tuple[Tensor, Tensor]:
    """Each of `rows` (R,) as every class: (R * K_t,) rows and classes."""
    return rows.repeat_interleave(num_target), torch.arange(num_target, device=rows.device).repeat(len(rows))


def _with_human(decoded: DecodedProposals, conventions: BoxConventions, rows: Tensor, targets: Tensor, drawn: Tensor) -> Tensor:
    """Boxes (R, 4) that networks drew, averaged with the human boxes of rows (R,) moved to the convention of classes (R,).

    Where the two differ in extent, the human box follows no convention and the drawn one is used.
    """
    sources = decoded.source_labels[rows]
    moved = conventions.moved(decoded.proposals.boxes_xyxy[rows], sources, targets, decoded.sizes_hw[decoded.images[rows]])
    is_same = aligned_iou(moved, drawn) >= SAME_BOX_IOU
    share = conventions.human_share(moved, drawn, sources, targets) * is_same[:, None]
    return share * moved + (1 - share) * drawn


def _are_candidates(decoded: DecodedProposals, scores: Tensor, decoding: DecodeSettings, prior: ClassPrior | None) -> Tensor:
    """Step 3: (M, K_t) bool, the candidate classes of each proposal: by its score, or because a human box vouches for it."""
    threshold, share_threshold = decoding.written_threshold, decoding.keep_supported
    is_high = scores >= threshold
    if prior is None or not share_threshold:
        return is_high
    return is_high | prior.supported(scores, decoded.support, decoded.source_labels, threshold, share_threshold)


def _candidates(
    decoded: DecodedProposals, scores: Tensor, measured: _Measured, is_candidate: Tensor
) -> tuple[Candidates, Tensor]:
    """Step 3: the candidates that have an area, and the (C,) int64 row of the proposal of each."""
    rows, labels = is_candidate.nonzero(as_tuple=True)
    has_area = (measured.alone[rows, labels, 2:] > measured.alone[rows, labels, :2]).all(dim=1)
    rows, labels = rows[has_area], labels[has_area]
    candidates = Candidates(
        boxes_xyxy=measured.alone[rows, labels],
        drawn_xyxy=decoded.boxes_xyxy[rows, labels],
        detected_xyxy=measured.detected[rows, labels],
        is_detection=decoded.is_detection[rows],
        labels=labels,
        scores=scores[rows, labels],
        images=decoded.images[rows],
        source_labels=decoded.source_labels[rows],
        proposals_xyxy=decoded.proposals.boxes_xyxy[rows],
    )
    return candidates, rows


def _averaged_with_human(
    found: Candidates, best: Tensor, rows: Tensor, decoded: DecodedProposals, conventions: BoxConventions
) -> Tensor:
    """Step 5: what networks draw of the best (N,) candidates, averaged with the human boxes among these: boxes (N, 4)."""
    boxes, is_human = found.drawn(best), found.source_labels[best] >= 0
    human = best[is_human]
    boxes[is_human] = _with_human(decoded, conventions, rows[human], found.labels[human], boxes[is_human])
    return boxes


def _agreed_scores(
    found: Candidates, best: Tensor, rows: Tensor, scores: _Scores, detector_share: float, least_iou: float
) -> Tensor:
    """Step 6: the scores (N,) of the best (N,) candidates: of the highest that the model and that the detector says of its class
    among the candidates that it suppresses, the mean; without a detection the detector's is 0.
    """
    into, of = found.agreeing(best, least_iou)
    highest = [
        each.new_zeros(len(best)).scatter_reduce(0, into, each[rows[of], found.labels[of]], "amax")
        for each in (scores.model, scores.detector)
    ]
    return (1 - detector_share) * highest[0] + detector_share * highest[1]
