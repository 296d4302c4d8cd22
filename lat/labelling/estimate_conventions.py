"""Estimate box conventions of two protocols that share no image, from what each one's detector draws on the other's images.

A difference between two protocols is the same seen from either side; a detector's bias on foreign images is not. So the offset
from the source's boxes to the target's is measured twice, with the target's detector on images of the source and with the
source's detector on images of the target, and what the two disagree about is bias. Shape letters: K_s and K_t classes of the
source's and of the target's label space, D known offsets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lat.labelling.box_pairs import MAD_ERROR, ROBUST, BoxPairs, OffsetSummary
from lat.labelling.conventions import MIN_SPREAD, BoxConventions

MIN_PAIRS = 5  # with fewer pairs of boxes, a side's convention stays unknown
PRIOR_PAIRS = 20  # weight, in pairs, of a detector's errors over all classes when those of one class are estimated
BIAS_SPREAD = 0.02  # how much a detector's bias differs between classes, and is expected to on foreign images, of a box's side
PRIOR_BIASES = 8  # weight, in offsets measured twice, of that expectation
REDRAWN = 2.0  # a detector's variance is about so many times that of what the model changes when it redraws its boxes
FAR_OFF = 4.0  # a side this many standard deviations away does not follow the convention


def estimate_conventions(
    on_source: BoxPairs, on_target: BoxPairs, held_out: BoxPairs, num_source: int, num_target: int
) -> BoxConventions:
    """Compare two protocols.

    The convention is the mean of the two measured offsets, each of which errs by chance and by a detector's bias on foreign
    images. It is shrunk towards zero to the extent that it may be nothing else (empirical Bayes). What remains of the target's
    detector's offset is its bias. Its scatter is that on held-out images; pairs on the source's images scatter more by the
    human boxes' share, for which the ratio of the two variances of each class and side is pulled towards that of all.

    Args:
        on_source: human boxes of the source and the target detector's boxes, on images of the source.
        on_target: the source detector's boxes and human boxes of the target, on images of the target.
        held_out: the target detector's boxes and human boxes of the target, on images that it has not seen, if there are any.
        num_source: K_s.
        num_target: K_t.
    """
    detector = _errors_of(held_out, num_target)
    seen = [[OffsetSummary.of(on_source, s, t) for t in range(num_target)] for s in range(num_source)]
    count = torch.stack([torch.stack([one.count for one in row]) for row in seen])
    known = count >= MIN_PAIRS
    offsets = _offsets(seen, known, on_target, detector)
    ratio, usual = _scatter(seen, known, detector)
    follows = detector.variance * usual
    exceptions = torch.stack([torch.stack([_share_far_off(one, follows[t]) for t, one in enumerate(row)]) for row in seen])
    human = ((ratio - 1).clamp(min=0.0) * detector.variance).masked_fill(~known, float("inf"))
    return BoxConventions(
        offsets=offsets,
        human_variance=human,
        detector_variance=detector.variance,
        detector_bias=_bias(seen, known, offsets),
        exceptions=(exceptions - detector.far_off).clamp(min=0.0).masked_fill(~known, 0.0),
    )


def with_scatter_of_target(known: BoxConventions, redrawn: BoxPairs) -> BoxConventions:
    """Part a detector's variance on held-out images into its own and that of the target's annotators.

    Whatever annotators do, the detector and the model, which redraws its boxes, differ by their own errors alone, and about half
    of the detector's variance is common to both (`REDRAWN`). What the annotators of the target add to a detector's variance is
    taken off its own, and what is taken off is human scatter on the source's images. One share serves all classes and sides.

    Args:
        known: conventions as `estimate_conventions` finds them.
        redrawn: detections on held-out images and what the model redraws of them (`BoxPairs.redrawn`); without any nothing
            changes.
    """
    ratios = []
    for target, variance in enumerate(known.detector_variance):
        seen = OffsetSummary.of(redrawn, target, target)
        ratios.append((seen.variance / variance)[seen.count >= MIN_PAIRS])
    every = torch.cat(ratios)
    if not len(every):
        return known
    detector = (REDRAWN * every.median()).clamp(max=1.0) * known.detector_variance
    return replace(known, detector_variance=detector, human_variance=known.human_variance + known.detector_variance - detector)


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


def _offsets(seen: list[list[OffsetSummary]], known: Tensor, on_target: BoxPairs, detector: _Errors) -> Tensor:
    """(K_s, K_t, 4) offsets from human boxes of the source to boxes of the target, as far as they are certain."""
    back = [[OffsetSummary.of(on_target, s, t) for t in range(known.shape[1])] for s in range(known.shape[0])]
    there = _stacked([[one.median for one in row] for row in seen]) + detector.bias
    there_error = (_stacked([[one.squared_error for one in row] for row in seen]) + detector.squared_error).masked_fill(
        ~known, float("inf")
    )
    is_known_back = _stacked([[one.count for one in row] for row in back]) >= MIN_PAIRS
    back_error = _stacked([[one.squared_error for one in row] for row in back]).masked_fill(~is_known_back, float("inf"))
    back_again = _stacked([[one.median for one in row] for row in back])
    both = known & is_known_back
    bias = _bias_variance((there - back_again)[both], (there_error + back_error)[both])
    weights = torch.stack([1 / (there_error + bias), 1 / (back_error + bias)])
    squared_error = 1 / weights.sum(dim=0).clamp(min=1e-12)
    mean = (weights * torch.stack([there, back_again])).sum(dim=0) * squared_error
    spread = _true_spread(mean[known], squared_error[known])
    trust = spread / (spread + squared_error).clamp(min=1e-12)
    certain = (1 - squared_error / mean.square().clamp(min=1e-12)).clamp(min=0.0)
    return torch.where(known, mean * trust * certain, 0.0)


def _bias_variance(differences: Tensor, squared_errors: Tensor) -> Tensor:
    """Variance of a detector's bias on foreign images, from offsets measured twice that differ by (D,) with errors (D,)."""
    measured = torch.zeros(())
    if count := len(differences):
        measured = ((ROBUST**2 * differences.square().median() - squared_errors.median()) / 2).clamp(min=0.0)
    return (count * measured + PRIOR_BIASES * BIAS_SPREAD**2) / (count + PRIOR_BIASES)


def _true_spread(offsets: Tensor, squared_errors: Tensor) -> Tensor:
    """How much offsets (D,) differ from zero beyond chance: a variance."""
    weights = 1 / squared_errors.clamp(min=1e-8)
    beyond = weights * (offsets.square() - squared_errors)
    return (beyond.sum() / weights.sum().clamp(min=1e-8)).clamp(min=0.0)


def _scatter(seen: list[list[OffsetSummary]], known: Tensor, detector: _Errors) -> tuple[Tensor, Tensor]:
    """How many times a detector's variance on held-out images pairs on the source's images scatter.

    Returns:
        (K_s, K_t, 4) for each class and side; and () the weighted median of all, which a side that follows no convention does
        not move. As far as those of classes and sides differ by chance, each is the median.
    """
    if not known.any():
        return torch.ones(known.shape), torch.ones(())
    variance = _stacked([[one.variance for one in row] for row in seen]).clamp(min=MIN_SPREAD**2 / 4)
    logs = (variance / detector.variance).log()
    count = _stacked([[one.count for one in row] for row in seen]).clamp(min=1)
    errors = MAD_ERROR**2 * (1 / count + 1 / (detector.count + PRIOR_PAIRS))
    usual = _weighted_median(logs[known], 1 / errors[known])
    between = ((ROBUST * (logs[known] - usual).abs().median()).square() - errors[known].median()).clamp(min=0.0)
    return ((between * logs + errors * usual) / (between + errors)).exp(), usual.exp()


def _bias(seen: list[list[OffsetSummary]], known: Tensor, offsets: Tensor) -> Tensor:
    """(K_t, 4) what remains of the detector's offset from human boxes once the convention is taken off, over source classes."""
    weights = torch.where(known, _stacked([[one.count for one in row] for row in seen]), 0)
    remains = _stacked([[one.median for one in row] for row in seen]) - offsets
    return (weights * remains).sum(dim=0) / weights.sum(dim=0).clamp(min=1)


def _share_far_off(seen: OffsetSummary, variance: Tensor) -> Tensor:
    """(4,) share of the offsets that are `FAR_OFF` standard deviations or more from the median, as if `PRIOR_PAIRS` more had been
    seen that are not.
    """
    far = (seen.offsets - seen.median).abs() >= FAR_OFF * variance.sqrt().clamp(min=MIN_SPREAD)
    return far.sum(dim=0) / (seen.count + PRIOR_PAIRS)


def _stacked(rows: list[list[Tensor]]) -> Tensor:
    """(K_s, K_t, 4) from the (4,) of each pair of classes."""
    return torch.stack([torch.stack(row) for row in rows])


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """() the value (D,) at which half of the weights (D,) are reached."""
    order = values.argsort()
    reached = weights[order].cumsum(dim=0)
    return values[order][torch.searchsorted(reached, reached[-1] / 2)]
