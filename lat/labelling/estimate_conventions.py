"""Estimate box conventions of two protocols that share no image, from what each one's detector draws on the other's images.

A difference between two protocols is the same seen from either side; a detector's bias on foreign images is not. The offset from
the source's boxes to the target's is measured with the target's detector on images of the source, and once more with the
source's detector, which may have learnt its protocol only in part, on images of the target: what the two disagree by tells how
far a detector is off on foreign images. Shape letters: K_s and K_t classes of the source's and of the target's label space, D
known offsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lat.labelling.box_pairs import FAR_OFF, MAD_ERROR, MIN_PAIRS, ROBUST, BoxPairs, ClassPairSummaries, OffsetSummary
from lat.labelling.conventions import MIN_SPREAD, BoxConventions
from lat.labelling.witnesses import NOBODY, Witnesses

PRIOR_PAIRS = 20  # weight, in pairs, of a detector's errors over all classes when those of one class are estimated
BIAS_SPREAD = 0.02  # how much a detector's bias differs between classes on images of its own dataset, as a share of a box's side
FOREIGN_BIAS = 0.03  # how far a detector is expected to be off on foreign images: what it is on real cells annotated twice
PRIOR_BIASES = 20  # weight, in offsets measured twice, of that expectation
AVERAGED = 1 / 2  # variance of the mean of all that networks draw of an object, as a share of the detector's own
SURELY = 1.0  # standard errors by which more sides must be far off than on held-out images


def estimate_conventions(
    on_source: BoxPairs,
    on_target: BoxPairs,
    held_out: BoxPairs,
    num_source: int,
    num_target: int,
    witnesses: Witnesses = NOBODY,
) -> BoxConventions:
    """Compare two protocols.

    An offset errs by chance and by a detector's bias on foreign images. As far as all offsets together, and it alone, may be
    nothing else, it is shrunk towards zero (by 1 less the square of the error's share of the variance: little where the offset
    is clear). What remains is the bias of the target's detector. Pairs scatter by the errors of both; the detector's part of
    it, as witnesses tell it, is the same share of what it scatters on held-out images for all classes and sides. The rest is
    the human boxes', for which the ratio of the variances here and there of each class and side is pulled towards that of
    all.

    Args:
        on_source: human boxes of the source and the target detector's boxes, on images of the source.
        on_target: the source detector's boxes and human boxes of the target, on images of the target.
        held_out: the target detector's boxes and human boxes of the target, on images that it has not seen, if there are any.
        num_source: K_s.
        num_target: K_t.
        witnesses: what other detectors tell of the first and the last pairs.
    """
    detector = _errors_of(held_out, num_target)
    seen = ClassPairSummaries.of(on_source, num_source, num_target)
    known = seen.count >= MIN_PAIRS
    offsets = _offsets(seen, known, on_target, detector).as_far_as_certain()
    ratio, usual = _scatter(seen, known, detector)
    follows = detector.variance * usual
    far_off = torch.zeros(known.shape)
    for (s, t), one in seen.occurring.items():
        far_off[s, t] = _share_far_off(one, follows[t])
    exceptions = _exceptions(far_off, seen.count, detector)
    own = witnesses.detector_share(usual)
    human = ((ratio - own).clamp(min=0.0) * detector.variance).masked_fill(~known, float("inf"))
    return BoxConventions(
        offsets=offsets,
        human_variance=human,
        detector_variance=AVERAGED * own * detector.variance,
        detector_bias=_bias(seen, known, offsets),
        exceptions=exceptions.masked_fill(~known, 0.0),
    )


@dataclass(frozen=True, eq=False)
class _Errors:
    """How a detector errs on held-out images of its own dataset: (K_t, 4) each.

    `bias` and `squared_error` are the correction of its boxes and its squared standard error.
    """

    bias: Tensor
    squared_error: Tensor
    variance: Tensor
    far_off: Tensor
    count: Tensor


def _errors_of(held_out: BoxPairs, num_target: int) -> _Errors:
    """Those of one class are pulled towards those of all, from which its bias differs by about `BIAS_SPREAD`."""
    overall, found = OffsetSummary.summary(held_out.offsets), []
    for target in range(num_target):
        alone = OffsetSummary.of(held_out, target, target)
        variance = alone.variance_near(overall, PRIOR_PAIRS).clamp(min=MIN_SPREAD**2)
        error = alone.squared_error_if(variance)
        trust = torch.where(alone.count > 0, BIAS_SPREAD**2 / (BIAS_SPREAD**2 + error), 0.0)
        bias = overall.median + trust * (alone.median - overall.median)
        error = torch.where(alone.count > 0, trust * error, BIAS_SPREAD**2)
        found.append((bias, error, variance, _share_far_off(alone, variance), alone.count))
    return _Errors(*(torch.stack(column) for column in zip(*found, strict=True)))


@dataclass(frozen=True, eq=False)
class MeasuredOffsets:
    """How far boxes of two protocols are apart as they look, before anything is shrunk; (K_s, K_t, 4) each.

    Attributes:
        offsets: medians of the offsets from human boxes of the source to boxes of the target, less the detector's bias at home.
        squared_errors: of these, a detector's bias on foreign images included; inf where too few pairs were seen.
        count: int64, pairs.
    """

    offsets: Tensor
    squared_errors: Tensor
    count: Tensor

    @property
    def known(self) -> Tensor:
        """(K_s, K_t, 4) bool: whether enough pairs were seen."""
        return self.count >= MIN_PAIRS

    def as_far_as_certain(self) -> Tensor:
        """(K_s, K_t, 4) the offsets, shrunk towards zero as far as all of them together, and each alone, may be chance."""
        known, squared_error = self.known, self.squared_errors
        spread = _true_spread(self.offsets[known], squared_error[known])
        chance_of_all = squared_error / (spread + squared_error).clamp(min=1e-12)
        chance = squared_error / self.offsets.square().clamp(min=1e-12)
        return torch.where(known, self.offsets * (1 - chance_of_all.square()) * (1 - chance.square()).clamp(min=0.0), 0.0)


def measure_offsets(
    on_source: BoxPairs, on_target: BoxPairs, held_out: BoxPairs, num_source: int, num_target: int
) -> MeasuredOffsets:
    """Measure the offsets between two protocols; the arguments are those of `estimate_conventions`."""
    seen = ClassPairSummaries.of(on_source, num_source, num_target)
    return _offsets(seen, seen.count >= MIN_PAIRS, on_target, _errors_of(held_out, num_target))


def _offsets(seen: ClassPairSummaries, known: Tensor, on_target: BoxPairs, detector: _Errors) -> MeasuredOffsets:
    back = ClassPairSummaries.of(on_target, *known.shape[:2])
    there, there_error = _medians(seen, known)
    there, there_error = there + detector.bias, there_error + detector.squared_error
    back_again, back_error = _medians(back, back.count >= MIN_PAIRS)
    both = (there_error + back_error).isfinite()
    squared_error = there_error + _bias_variance((there - back_again)[both], (there_error + back_error)[both])
    return MeasuredOffsets(there, squared_error, seen.count)


def _medians(seen: ClassPairSummaries, known: Tensor) -> tuple[Tensor, Tensor]:
    """(K_s, K_t, 4) medians and their squared standard errors, inf where unknown."""
    return seen.median, seen.squared_error.masked_fill(~known, float("inf"))


def _bias_variance(differences: Tensor, squared_errors: Tensor) -> Tensor:
    """Variance of a detector's bias on foreign images, from offsets measured twice that differ by (D,) with errors (D,)."""
    measured = torch.zeros(())
    if count := len(differences):
        measured = ((ROBUST**2 * differences.square().median() - squared_errors.median()) / 2).clamp(min=0.0)
    return (count * measured + PRIOR_BIASES * FOREIGN_BIAS**2) / (count + PRIOR_BIASES)


def _true_spread(offsets: Tensor, squared_errors: Tensor) -> Tensor:
    """How much offsets (D,) differ from zero beyond chance: a variance."""
    weights = 1 / squared_errors.clamp(min=1e-8)
    beyond = weights * (offsets.square() - squared_errors)
    return (beyond.sum() / weights.sum().clamp(min=1e-8)).clamp(min=0.0)


def _scatter(seen: ClassPairSummaries, known: Tensor, detector: _Errors) -> tuple[Tensor, Tensor]:
    """How many times a detector's variance on held-out images pairs on the source's images scatter.

    Returns:
        (K_s, K_t, 4) for each class and side; and () the weighted median of all, which a side that follows no convention does
        not move. As far as those of classes and sides differ by chance, each is the median.
    """
    if not known.any():
        return torch.ones(known.shape), torch.ones(())
    variance = seen.variance.clamp(min=MIN_SPREAD**2 / 4)
    logs = (variance / detector.variance).log()
    count = seen.count.clamp(min=1)
    errors = MAD_ERROR**2 * (1 / count + 1 / (detector.count + PRIOR_PAIRS))
    usual = _weighted_median(logs[known], 1 / errors[known])
    between = ((ROBUST * (logs[known] - usual).abs().median()).square() - errors[known].median()).clamp(min=0.0)
    return ((between * logs + errors * usual) / (between + errors)).exp(), usual.exp()


def _bias(seen: ClassPairSummaries, known: Tensor, offsets: Tensor) -> Tensor:
    """(K_t, 4) what remains of the detector's offset from human boxes once the convention is taken off, over source classes."""
    weights = torch.where(known, seen.count, 0)
    remains = seen.median - offsets
    return (weights * remains).sum(dim=0) / weights.sum(dim=0).clamp(min=1)


def _exceptions(far_off: Tensor, count: Tensor, detector: _Errors) -> Tensor:
    """(K_s, K_t, 4) by how much more sides of `count` pairs are far off than a detector's errors and chance explain."""
    variance = far_off * (1 - far_off) / (count + PRIOR_PAIRS) + detector.far_off * (1 - detector.far_off) / (
        detector.count + PRIOR_PAIRS
    )
    return (far_off - detector.far_off - SURELY * variance.sqrt()).clamp(min=0.0)


def _share_far_off(seen: OffsetSummary, variance: Tensor) -> Tensor:
    """(4,) share of the offsets that are `FAR_OFF` standard deviations or more from the median, as if `PRIOR_PAIRS` more had been
    seen that are not.
    """
    far = (seen.offsets - seen.median).abs() >= FAR_OFF * variance.sqrt().clamp(min=MIN_SPREAD)
    return far.sum(dim=0) / (seen.count + PRIOR_PAIRS)


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """() the value (D,) at which half of the weights (D,) are reached."""
    order = values.argsort()
    reached = weights[order].cumsum(dim=0)
    return values[order][torch.searchsorted(reached, reached[-1] / 2)]
