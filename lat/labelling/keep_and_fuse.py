"""Keep and fuse: from decoded proposals to labels, in six steps that `labels_of` lists.

All of it runs where the model does, on all images of a batch at once; boxes of different images do not affect each other. The
program waits for a device three times, however many targets there are: to know how many candidates there are, how many of these
are left, and for the labels.

Shape letters: B images, M proposals of all of them, K_t classes of the target's label space, C candidates (a proposal as one
class), N labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lat.core.boxes import aligned_iou
from lat.core.copies import to_host
from lat.core.decoded_proposals import DecodedProposals
from lat.core.label_space import LabelSpace
from lat.core.selection import rows_where
from lat.core.structures import LabeledBoxes
from lat.core.suppression import Survivors, count_pairs, order_by_image, settle
from lat.labelling.candidates import Candidates
from lat.labelling.class_prior import ClassPrior
from lat.labelling.conventions import BoxConventions
from lat.labelling.labelling_settings import CombineSettings, DecodeSettings

SAME_BOX_IOU = 0.5  # below this overlap a drawn box and the moved human box differ in extent, and the drawn one is used


PAPER = CombineSettings(keep=False, fuse=False, detector_share=0.0)

Labels = tuple[LabeledBoxes, Tensor]
"""The labels of B images, on the CPU, and the (N,) int64 rows of the proposals that they came from."""


@dataclass(frozen=True, eq=False)
class TargetRules:
    """How decoded proposals become labels of a target.

    Attributes:
        space: the target's label space.
        decoding: thresholds.
        combining: which of the steps beyond the paper are on.
        conventions: how human boxes become boxes of the target, and how far each measurement is trusted; human boxes are kept
            only with them.
        prior: the class prior of human boxes.
    """

    space: LabelSpace
    decoding: DecodeSettings
    combining: CombineSettings = PAPER
    conventions: BoxConventions | None = None
    prior: ClassPrior | None = None

    def to(self, device: torch.device) -> TargetRules:
        """The same with what is known on another device; these rules if it is there."""
        of_conventions = None if self.conventions is None else self.conventions.offsets.device
        of_prior = None if self.prior is None else self.prior.factors.device
        if {of_conventions, of_prior} <= {None, device}:
            return self
        conventions = None if self.conventions is None else self.conventions.to(device)
        prior = None if self.prior is None else self.prior.to(device)
        return replace(self, conventions=conventions, prior=prior)

    @property
    def known(self) -> BoxConventions | None:
        """The conventions, where human boxes are kept."""
        return self.conventions if self.combining.keep else None


def labels_of(
    decoded: DecodedProposals,
    space: LabelSpace,
    decoding: DecodeSettings,
    combining: CombineSettings = PAPER,
    conventions: BoxConventions | None = None,
    prior: ClassPrior | None = None,
) -> Labels:
    """The labels of B images in one target's label space; see `labels_of_targets`, and for the arguments `TargetRules`."""
    rules = TargetRules(space, decoding, combining, conventions, prior)
    return labels_of_targets([(decoded, rules.to(decoded.device))])[0]


def labels_of_targets(work: Sequence[tuple[DecodedProposals, TargetRules]]) -> list[Labels]:
    """The labels of B images in the label spaces of some targets, on the CPU.

    1. The class scores of proposals on a human box are multiplied with the class prior of its class, and those of the target
       detector's own detections averaged with the model's.
    2. Human boxes are moved to the target's convention, and detections of the target's detector rid of its bias.
    3. Each proposal becomes a candidate for every class with a high enough score.
    4. The best candidates of each class suppress those that overlap them; human boxes come first.
    5. What networks draw of the object of each of the best is averaged, and a human box averaged with that; the weights of the
       two are their inverse variances.
    6. The score of each is the mean of the best that the model and the detector say of its object, weighted like their boxes.

    Labels are in image order, best first in each image.

    Args:
        work: for each target the proposals of B images, and its rules, on the same device.
    """
    labellings = [_Labelling(*one) for one in work]
    counts = to_host([one.counts for one in labellings])
    contests = [one.contest(*each.tolist()) for one, each in zip(labellings, counts, strict=True)]
    settle(contests)
    columns = [one.columns(each.best()) for one, each in zip(labellings, contests, strict=True)]
    copied = iter(to_host([column for each in columns for column in each]))
    return [one.labels(*(next(copied) for _ in each)) for one, each in zip(labellings, columns, strict=True)]


@dataclass(frozen=True, eq=False)
class _Scores:
    """What the model, the target's detector and both together say of the class of each proposal: (M, K_t + 1) each, background
    last; the detector says nothing (zeros) of other proposals than its own.
    """

    model: Tensor
    detector: Tensor
    both: Tensor


class _Labelling:
    """The labels of B images in a target's label space in the making."""

    def __init__(self, decoded: DecodedProposals, rules: TargetRules) -> None:
        self.decoded, self.rules = decoded, rules
        self.scores = _class_scores(decoded, rules)
        self.is_candidate = self.scores.both[:, :-1] >= rules.decoding.written_threshold  # (M, K_t)

    @property
    def counts(self) -> Tensor:
        """(2,) int64 numbers of candidates, and of pairs of them of one image and class."""
        per_image = self.is_candidate.new_zeros(len(self.decoded), self.is_candidate.shape[1], dtype=torch.int64)
        per_image.index_add_(0, self.decoded.known.images, self.is_candidate.long())
        return torch.stack([per_image.sum(), count_pairs(per_image)])

    def contest(self, num_candidates: int, num_pairs: int) -> Survivors:
        """Steps 2 to 4; sets `found`, the candidates, and `rows` (C,) int64, the proposal of each."""
        decoded, rules = self.decoded, self.rules
        cells = rows_where(self.is_candidate.flatten(), num_candidates)
        num_classes = self.is_candidate.shape[1]
        self.rows, labels = rows, _ = cells // num_classes, cells % num_classes
        measured = _Measured.of(decoded, rules, rows, labels)
        self.found = Candidates(
            boxes_xyxy=measured.alone,
            drawn_xyxy=measured.drawn,
            detected_xyxy=measured.detected,
            is_detection=decoded.detected_labels[rows] == labels,
            labels=labels,
            scores=self.scores.both[rows, labels],
            images=decoded.known.images[rows],
            source_labels=decoded.known.source_labels[rows],
            proposals_xyxy=decoded.proposals.boxes_xyxy[rows],
            num_pairs=num_pairs,
        )
        decoding = rules.decoding
        return self.found.contest(decoding.nms_iou, decoding.max_detections, human_first=rules.combining.keep)

    def columns(self, best: Tensor) -> tuple[Tensor, ...]:
        """Steps 5 and 6: boxes, classes, scores, class scores and rows of the best (N,) candidates."""
        found, rows = self.found, self.rows[best]
        boxes, label_scores = found.boxes_xyxy[best], found.scores[best]
        if self.rules.combining.fuse:
            boxes, label_scores = self._averaged(best), self._agreed_scores(best)
        return boxes, found.labels[best], label_scores, self.scores.both[rows, :-1], rows

    def labels(self, boxes: Tensor, classes: Tensor, scores: Tensor, class_scores: Tensor, rows: Tensor) -> Labels:
        """The labels of these columns, on the CPU."""
        order = order_by_image(self.decoded.on_host.images[rows], scores)
        columns = boxes[order], classes[order], self.rules.space, scores[order], class_scores[order]
        return LabeledBoxes(*columns), rows[order]

    def _averaged(self, best: Tensor) -> Tensor:
        """Step 5: what networks draw of the best (N,) candidates, averaged with the human boxes among these: boxes (N, 4)."""
        drawn = self.found.drawn(best, self.rules.combining.detector_share)
        if self.rules.known is None:
            return drawn
        with_human = _with_human(self.decoded, self.rules.known, self.rows[best], self.found.labels[best], drawn)
        return torch.where(self.found.source_labels[best, None] >= 0, with_human, drawn)

    def _agreed_scores(self, best: Tensor) -> Tensor:
        """Step 6: the scores (N,) of the best (N,) candidates: of the highest that the model and that the detector says of its
        class among the candidates that it suppresses, the weighted mean; without a detection the detector's is 0.
        """
        into, of = self.found.agreeing(best, self.rules.decoding.nms_iou)
        cells, share = (self.rows[of], self.found.labels[of]), self.rules.combining.detector_share
        model, detector = (
            each.new_zeros(len(best) + 1).scatter_reduce(0, into, each[cells], "amax")[:-1]
            for each in (self.scores.model, self.scores.detector)
        )
        return (1 - share) * model + share * detector


def _class_scores(decoded: DecodedProposals, rules: TargetRules) -> _Scores:
    """Step 1."""
    model, detector, share = decoded.class_scores, decoded.detector_scores, rules.combining.detector_share
    if rules.prior is not None:
        model, detector = (_multiplied_with_prior(decoded, each, rules.prior) for each in (model, detector))
    both = torch.where(decoded.is_detection[:, None], share * detector + (1 - share) * model, model)
    return _Scores(model, detector, both)


def _multiplied_with_prior(decoded: DecodedProposals, scores: Tensor, prior: ClassPrior) -> Tensor:
    """Scores (M, K_t + 1), those of proposals on a human box multiplied with the prior of its class."""
    support = decoded.known.support
    multiplied = prior.applied(scores, decoded.known.source_labels[support])
    return torch.where(support[:, None] >= 0, multiplied, scores)


@dataclass(frozen=True, eq=False)
class _Measured:
    """Step 2: boxes (C, 4) of proposals as one class each.

    Attributes:
        alone: the best that the proposal alone says: a human box averaged with what the model draws from it, a detection of the
            class with what the model draws from that; what the model draws for others.
        drawn: as the model draws it.
        detected: as the target's detector draws it, without its bias; only rows of detections of the class are meant.
    """

    alone: Tensor
    drawn: Tensor
    detected: Tensor

    @classmethod
    def of(cls, decoded: DecodedProposals, rules: TargetRules, rows: Tensor, labels: Tensor) -> _Measured:
        """Proposals `rows` (C,) as classes `labels` (C,). Where human boxes are not kept, they are left to the model, and
        detections are as they are.
        """
        detected, drawn = decoded.proposals.boxes_xyxy[rows], decoded.boxes_xyxy[rows, labels]
        alone = drawn
        if (conventions := rules.known) is not None:
            detected = conventions.unbiased(detected, labels, decoded.known.sizes_hw[decoded.known.images[rows]])
            is_human = decoded.known.source_labels[rows, None] >= 0
            alone = torch.where(is_human, _with_human(decoded, conventions, rows, labels, drawn), drawn)
        if rules.combining.fuse:
            share = rules.combining.detector_share * (decoded.detected_labels[rows] == labels)[:, None]
            alone = (1 - share) * alone + share * detected
        return cls(alone, drawn, detected)


def _with_human(decoded: DecodedProposals, conventions: BoxConventions, rows: Tensor, targets: Tensor, drawn: Tensor) -> Tensor:
    """Boxes (R, 4) that networks drew, averaged with the human boxes of rows (R,) moved to the convention of classes (R,).

    Where the two differ in extent, the human box follows no convention and the drawn one is used. Rows that are no human box
    mean nothing.
    """
    sources = decoded.known.source_labels[rows]
    sizes_hw = decoded.known.sizes_hw[decoded.known.images[rows]]
    moved = conventions.moved(decoded.proposals.boxes_xyxy[rows], sources, targets, sizes_hw)
    is_same = aligned_iou(moved, drawn) >= SAME_BOX_IOU
    share = conventions.human_share(moved, drawn, sources, targets) * is_same[:, None]
    return share * moved + (1 - share) * drawn
