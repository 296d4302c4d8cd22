"""Scores are held back one stage after another: a threshold below that of an earlier stage could not act, and is an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lat.core.errors import InputError
from lat.data.data_settings import WeighingSettings

Pair = tuple[str, str]


def check_thresholds(config: Any) -> None:
    """Compare every threshold with those of earlier stages through which the same scores have come.

    Args:
        config: the `Config`.

    Raises:
        InputError: naming a threshold that cannot act and the earlier one that is higher.
    """
    for later, earlier in _pairs(config):
        low, high = _value(config, later), _value(config, earlier)
        if low < high:
            what = f"is {low:g} and cannot act, for {earlier} is {high:g}"
            raise InputError(later, what, f"raise it to {high:g} or more, or lower {earlier}")


def _pairs(config: Any) -> Iterator[Pair]:
    """Keys of a later and of an earlier threshold, where both are in use."""
    if not config.label_sets:  # theirs are labels that no detector of the run has held back
        yield "pseudo_label.threshold", "upstream.model.detection_threshold"
    yield "transfer.combine.sure_threshold", "pseudo_label.threshold"
    method = config.downstream.method if config.downstream.uses_sources else "target_only"
    if config.transfer.calibration == "none":  # it changes scores after the threshold
        yield "evaluation.counted_threshold", "transfer.decode.written_threshold"
        if config.rounds.count:
            yield from _weighing("rounds.labels", config.rounds.labels)
        if method == "label_transfer":
            yield from _weighing("downstream.labels", config.downstream.labels)
    if method in ("pseudo_label", "union", "union_averaged"):
        is_all = config.pseudo_label.filter.keeps_all
        yield "downstream.labels.trained_threshold", "upstream.model.detection_threshold" if is_all else "pseudo_label.threshold"
    if method == "student_teacher":
        yield "downstream.student_teacher.teacher_threshold", "downstream.model.detection_threshold"


def _weighing(section: str, settings: WeighingSettings) -> Iterator[Pair]:
    names = ["trained_threshold", "ignore_threshold"]
    if settings.silent_threshold < settings.ignore_threshold:
        names.append("silent_threshold")
    for name in names:
        yield f"{section}.{name}", "transfer.decode.written_threshold"


def _value(config: Any, key: str) -> float:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part)
    assert isinstance(value, int | float)
    return value
