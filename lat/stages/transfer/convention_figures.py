"""How two protocols differ as far as a run has found out: what its transfer does to boxes, told to people.

Shape letters: K_s and K_t classes of the source's and of the target's label space, "none" last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lat.evaluation.side_shifts import SIDES, WITHIN_95, SideShift, clear_moves, most_apart
from lat.labelling.class_shares import ClassShares, counted
from lat.labelling.conventions import BoxConventions
from lat.labelling.estimate_conventions import MeasuredOffsets, measure_offsets
from lat.labelling.undecided_shares import contradiction, undecided
from lat.stages.transfer.evidence import RunEvidence, convention_pairs, conventions_of_pairs, count_at_home
from lat.stages.transfer.priors import find_answers
from lat.workspace.workspace import Workspace

ESTIMATES = ("consistent", "counted", "learnt", "scored")
"""The estimates of class shares in `lat/class_shares.json`, that which transfer uses by default first."""

MEETING_SHARE = 0.05  # two classes meet if so large a share of the one is the other
LEAST_SHARE = 0.005  # of a class, what is listed: 1 % after rounding
TOLD_SHARE = 0.05  # a share of hidden sides, or of objects without a box, from which a sentence tells it


def convention_figures(workspace: Workspace, source: str, target: str) -> dict[str, Any]:
    """How boxes and classes of `source` differ from those of `target`, as JSON types.

    `conventions` has two classes that meet each: `sides` says how much further out each side of the source's boxes lies than the
    target's, in percent of the source's box (median and 95 % interval, null where fewer than five pairs tell); `scatter` is the
    standard deviation of a human box around its convention and `hidden` the percentage of boxes with a side that follows none.
    `classes` has the class shares of each source class, whether they are undecided, and on what share of its objects the target
    has no box. `sentences` says all of it in words.

    Raises:
        InputError: if pseudo-labels are missing, or a file of the run is wrong.
    """
    evidence = RunEvidence(workspace, source, target)
    estimates, answers = _estimates(workspace, evidence), find_answers(workspace, source, target)
    pairs = convention_pairs(workspace, source, target)
    measured, known = measure_offsets(*pairs), conventions_of_pairs(workspace, source, target, pairs)
    if answers:
        estimates, known = answers.deciding(estimates), known.without_exceptions(answers.drawn_alike)
    classes = list(_classes(evidence, estimates, count_at_home(workspace, source)))
    conventions = [_convention(evidence, place, measured, known) for place in _meeting(estimates[0].shares, measured)]
    sentences = [line for one in (*conventions, *classes) for line in one.pop("sentences")]
    return {"source": source, "target": target, "conventions": conventions, "classes": classes, "sentences": sentences}


def _estimates(workspace: Workspace, evidence: RunEvidence) -> list[ClassShares]:
    """The class shares that the run has estimated, those that are told first; only counted ones before its first transfer."""
    if not workspace.paths.class_shares.is_file():
        return [counted(evidence)]
    return [evidence.learnt(found_by) for found_by in ESTIMATES]


def _meeting(shares: Tensor, measured: MeasuredOffsets) -> list[tuple[int, int]]:
    """The places (s, t) of classes that meet, in the order of both class lists."""
    meet = (shares[:, :-1] >= MEETING_SHARE) & measured.known.any(dim=2)
    return [(s, t) for s, t in meet.nonzero().tolist()]


@dataclass(frozen=True)
class _Names:
    """Two datasets, and a class of each."""

    source: str
    target: str
    source_class: str
    target_class: str


def _convention(
    evidence: RunEvidence, place: tuple[int, int], measured: MeasuredOffsets, known: BoxConventions
) -> dict[str, Any]:
    s, t = place
    names = _Names(evidence.source.name, evidence.target.name, evidence.source.class_names[s], evidence.target.class_names[t])
    scatter = 100 * known.human_variance[s, t].sqrt().numpy().astype(np.float64)
    sides = _sides(measured, place, scatter)
    told = {side: shift for side, shift in sides.items() if shift is not None}
    hidden = {side: 100 * float(share) for side, share in zip(SIDES, known.exceptions[s, t], strict=True)}
    mean = float(scatter[np.isfinite(scatter)].mean())
    return {
        "source_class": names.source_class,
        "target_class": names.target_class,
        "pairs": int(measured.count[s, t].max()),
        "sides": {side: None if shift is None else asdict(shift) for side, shift in sides.items()},
        "scatter": mean,
        "hidden": hidden,
        "sentences": list(_box_sentences(names, told, mean, hidden)),
    }


def _sides(measured: MeasuredOffsets, place: tuple[int, int], scatter: np.ndarray) -> dict[str, SideShift | None]:
    """How much further out the source's sides lie, in percent: offsets lead to the target's boxes, so signs are turned."""
    outwards = 100 * np.array([1, 1, -1, -1])
    medians = measured.offsets[place].numpy() * outwards + 0.0
    margins = 100 * WITHIN_95 * measured.squared_errors[place].sqrt().numpy()
    columns = zip(SIDES, medians.tolist(), margins.tolist(), scatter.tolist(), measured.known[place].tolist(), strict=True)
    return {
        side: SideShift(median, median - margin, median + margin, spread) if is_known else None
        for side, median, margin, spread, is_known in columns
    }


def _box_sentences(names: _Names, sides: dict[str, SideShift], scatter: float, hidden: dict[str, float]) -> Iterator[str]:
    boxes, others = f"boxes of `{names.source_class}` in `{names.source}`", f"`{names.target_class}` in `{names.target}`"
    spread = f"single ones scatter by {scatter:.1f} %"
    if moves := clear_moves(sides):
        yield f"{boxes} reach {moves} than those of {others}; {spread}"
    else:
        yield f"{boxes} end where those of {others} do, to within {most_apart(sides):.1f} %; {spread}"
    side, share = max(hidden.items(), key=lambda one: one[1])
    if share >= 100 * TOLD_SHARE:
        where = {"left": "left side", "top": "top", "right": "right side", "bottom": "bottom"}[side]
        yield (
            f"of {boxes}, {share:.0f} % have their {where} somewhere else altogether than {others}: "
            "one protocol draws what the other leaves out, such as a hidden part"
        )


def _classes(evidence: RunEvidence, estimates: Sequence[ClassShares], at_home: Tensor) -> Iterator[dict[str, Any]]:
    source, target, used = evidence.source, evidence.target, estimates[0].shares
    apart, are_undecided = contradiction(estimates), undecided(estimates)
    abroad, home = _without_box(evidence.counts_on_target), _without_box(at_home)
    for s, name in enumerate(source.class_names):
        shares = zip(target.class_names, used[s].tolist(), strict=False)
        listed = sorted((one for one in shares if one[1] >= LEAST_SHARE), key=lambda one: -one[1])
        yield {
            "class": name,
            "shares": dict(listed),
            "nothing": float(used[s, -1]),
            "undecided": bool(are_undecided[s]),
            "contradiction": float(apart[s]),
            "without_box": abroad[s],
            "without_box_at_home": home[s],
            "sentences": list(_class_sentences((source.name, target.name, name), abroad[s], home[s], bool(are_undecided[s]))),
        }


def _without_box(counts: Tensor) -> list[float | None]:
    """For each class, the share of sure detections, counted in (K_s, K + 1), on which there is no human box; None without any."""
    boxes = counts.sum(dim=1)
    shares = torch.where(boxes > 0, counts[:, -1] / boxes.clamp(min=1), -1.0).tolist()
    return [None if share < 0 else share for share in shares]


def _class_sentences(names: tuple[str, str, str], abroad: float | None, home: float | None, is_undecided: bool) -> Iterator[str]:
    source, target, name = names
    if is_undecided:
        yield f"what `{name}` of `{source}` is in `{target}` is undecided: detectors confuse it"
    if abroad is not None and abroad - (home or 0.0) >= TOLD_SHARE:
        usual = "" if home is None else f" ({100 * home:.0f} % in images of `{source}` itself)"
        share = f"{100 * abroad:.0f} %{usual} of what the detector of `{source}` is sure is `{name}`"
        yield f"`{target}` has no box on {share}: missed, or not of its protocol"
