"""Any two files are scored as a run scores its labels."""

from __future__ import annotations

from dataclasses import fields

from lat.commands.evaluate_files import SCORE_THRESHOLD
from lat.config.sections import EvaluationSettings


def test_the_threshold_is_that_of_a_run() -> None:
    (threshold,) = fields(EvaluationSettings)
    assert threshold.default == SCORE_THRESHOLD
