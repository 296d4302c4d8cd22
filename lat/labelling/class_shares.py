"""Class shares, P(target class | source class), and the ways to estimate them, which `ESTIMATORS` lists.

A class divides its objects among the classes of another label space: 80 % of `vehicle` may be `car`, 15 % `truck`, and the rest
nothing that the other protocol labels. Shape letters: K_s and K_t classes of the source's and of the target's label space;
"none" (no class of the target) is last, at index K_t.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lat.core.label_space import LabelSpace
from lat.labelling.share_table import overridden_by_table
from lat.labels.overlaps import overlaps
from lat.labels.table import LabelTable
from lat.relations.relation_matrix import RelationMatrix

NOTHING = 0.8  # a class of which surely a larger share than this is none of the target's classes may have no counterpart
SURE_DEVIATIONS = 1.64  # of the share of "none" as counted, below which it lies with a probability of only 5 %
SAME_OBJECT_IOU = 0.5  # boxes of two label spaces that overlap this much are the same object


@dataclass(frozen=True, eq=False)
class ClassShares:
    """P(target class | source class) for every class of two label spaces.

    Attributes:
        source: the source's label space.
        target: the target's label space.
        shares: (K_s, K_t + 1) float32; each row sums to 1, "none" last.
        found_by: how they were found: "counted", "scored", "equal" or a key of `ESTIMATORS`.

    Raises:
        ValueError: if the shares have another shape or dtype.
    """

    source: LabelSpace
    target: LabelSpace
    shares: Tensor
    found_by: str

    def __post_init__(self) -> None:
        shape = (len(self.source), len(self.target) + 1)
        if tuple(self.shares.shape) != shape or self.shares.dtype != torch.float32:
            raise ValueError(f"class shares must be {shape} float32, got {tuple(self.shares.shape)} {self.shares.dtype}")


class Evidence(Protocol):
    """What a run knows about the classes of one source and one target; each part is read or counted on first use."""

    source: LabelSpace
    target: LabelSpace

    @property
    def counts_on_target(self) -> Tensor:
        """(K_s, K_t + 1) float32 counts: the human box of the target under each sure detection of the source's detector."""
        ...

    @property
    def counts_on_source(self) -> Tensor:
        """(K_s, K_t + 1) float32 counts: the sure pseudo-label of the target on each human box of the source."""
        ...

    @property
    def relations(self) -> RelationMatrix:
        """The relations that `lat relations` found or a person reviewed."""
        ...

    @property
    def table(self) -> Mapping[int, Tensor]:
        """The rows of a person's table, as `read_share_table` returns them."""
        ...

    def learnt(self, found_by: str) -> ClassShares:
        """The shares learnt earlier for all pairs of datasets: `counted`, `learnt`, `consistent` or `scored`."""
        ...


def count_pairs(boxes: LabelTable, others: LabelTable) -> Tensor:
    """(K_s, K_t + 1) float32 counts: for each box, the class of the overlapping box in another label space, or "none".

    Args:
        boxes: in the source's space: detections on images of the target, or human boxes on images of the source.
        others: in the target's space, on the same images in the same order: human boxes, or detections.
    """
    num_target = len(others.space)
    best, best_iou = overlaps(boxes, others).best()
    partner = np.full(boxes.num_boxes, num_target)
    is_same = best_iou >= SAME_OBJECT_IOU
    partner[is_same] = others.labels[best[is_same]]
    counts = np.bincount(boxes.labels * (num_target + 1) + partner, minlength=len(boxes.space) * (num_target + 1))
    return torch.from_numpy(counts.reshape(-1, num_target + 1)).float()


def shares_of_counts(counts: Tensor) -> Tensor:
    """(K_s, K_t + 1) shares from counts; a class with few counts gets nearly the shares of all classes together."""
    total = counts.sum(dim=0) if counts.any() else torch.ones(counts.shape[1])
    overall = total / total.sum()
    return (counts + overall) / (counts.sum(dim=1, keepdim=True) + 1.0)


def equal_shares(source: LabelSpace, target: LabelSpace) -> ClassShares:
    """Shares of which nothing is known."""
    columns = len(target) + 1
    return ClassShares(source, target, torch.full((len(source), columns), 1 / columns), "equal")


def without_counterpart(counts: Tensor) -> Tensor:
    """Source classes (K_s,) bool that surely have no counterpart among the target's classes.

    Nearly all sure detections of such a class match no human box of the target, so many that it is no accident; and no class of
    the target has more boxes in it than in any other source class. The second keeps classes whose counterpart the target's
    annotators often miss, or that are rare there: what few boxes they have are found as that class.

    Args:
        counts: (K_s, K_t + 1) float32, the human box of the target under each sure detection of the source's detector.

    Source: the lower end of the interval of Wilson (1927) for a share.
    """
    boxes, z = counts.sum(dim=1), SURE_DEVIATIONS
    share = counts[:, -1] / boxes.clamp(min=1)
    spread = (share * (1 - share) / boxes + z * z / (4 * boxes * boxes)).sqrt()
    lowest = (share + z * z / (2 * boxes) - z * spread) / (1 + z * z / boxes)
    of_target = counts[:, :-1]
    is_best_partner = ((of_target > 0) & (of_target == of_target.amax(dim=0))).any(dim=1)
    return (boxes > 0) & (lowest > NOTHING) & ~is_best_partner


def counted(evidence: Evidence) -> ClassShares:
    """From the source's detector on images of the target: the shares that scores were learnt under, including its confusions."""
    return ClassShares(evidence.source, evidence.target, shares_of_counts(evidence.counts_on_target), "counted")


def learnt(evidence: Evidence) -> ClassShares:
    """From the model's scores of all human boxes of the source; see `learn_from_scores`."""
    return evidence.learnt("learnt")


def consistent(evidence: Evidence) -> ClassShares:
    """The learnt shares, made consistent over all label spaces; see `make_consistent`."""
    return evidence.learnt("consistent")


def from_relations(evidence: Evidence) -> ClassShares:
    """From the relations that `lat relations` found or a person reviewed."""
    shares = evidence.relations.class_shares_of(evidence.source.name)
    return ClassShares(evidence.source, evidence.target, shares, "relations")


def from_table(evidence: Evidence) -> ClassShares:
    """From a person's table; classes not in it keep the counted shares."""
    shares = overridden_by_table(counted(evidence).shares, evidence.table)
    return ClassShares(evidence.source, evidence.target, shares, "table")


def from_cooccurrence(evidence: Evidence) -> ClassShares:
    """From the target's pseudo-labels on human boxes of the source."""
    return ClassShares(evidence.source, evidence.target, shares_of_counts(evidence.counts_on_source), "cooccurrence")


ESTIMATORS: dict[str, Callable[[Evidence], ClassShares]] = {
    "consistent": consistent,
    "learnt": learnt,
    "relations": from_relations,
    "table": from_table,
    "cooccurrence": from_cooccurrence,
}
"""By the name that `transfer.prior.method` gives them."""
