"""A threshold that an earlier one keeps from acting is an error."""

from __future__ import annotations

import pytest

from lat.config.load import config_from
from lat.core.errors import InputError

DATASETS = [{"name": name, "images": f"{name}/images", "annotations": f"{name}.json"} for name in "ab"]


@pytest.mark.parametrize(
    ("options", "later", "earlier"),
    [
        (["pseudo_label.threshold=0.01"], "pseudo_label.threshold", "upstream.model.detection_threshold"),
        (["transfer.combine.sure_threshold=0.04"], "transfer.combine.sure_threshold", "pseudo_label.threshold"),
        (
            ["transfer.calibration=none", "evaluation.counted_threshold=0.01"],
            "evaluation.counted_threshold",
            "transfer.decode.written_threshold",
        ),
        (
            ["transfer.calibration=none", "rounds.labels.ignore_threshold=0.01"],
            "rounds.labels.ignore_threshold",
            "transfer.decode.written_threshold",
        ),
        (
            ["transfer.calibration=none", "rounds.count=0", "downstream.labels.silent_threshold=0.01"],
            "downstream.labels.silent_threshold",
            "transfer.decode.written_threshold",
        ),
        (
            [
                "downstream.method=pseudo_label",
                "downstream.labels.trained_threshold=0.04",
                "downstream.labels.ignore_threshold=0.04",
            ],
            "downstream.labels.trained_threshold",
            "upstream.model.detection_threshold",
        ),
        (
            [
                "downstream.method=union",
                "pseudo_label.threshold=0.3",
                "pseudo_label.filter.method=dars",
                "downstream.labels.trained_threshold=0.25",
            ],
            "downstream.labels.trained_threshold",
            "pseudo_label.threshold",
        ),
        (
            ["downstream.method=student_teacher", "downstream.student_teacher.teacher_threshold=0.01"],
            "downstream.student_teacher.teacher_threshold",
            "downstream.model.detection_threshold",
        ),
    ],
)
def test_both_thresholds_and_the_remedy_are_named(options: list[str], later: str, earlier: str) -> None:
    with pytest.raises(InputError) as caught:
        config_from({"datasets": DATASETS}, options)
    message = str(caught.value)
    assert message.startswith(f"configuration: {later} is ")
    assert f"cannot act, for {earlier} is " in message
    assert message.endswith(f"or lower {earlier}")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["pseudo_label.threshold=0.05"],  # the same as that of the detector
        ["evaluation.counted_threshold=0.01"],  # a calibration comes in between
        ["transfer.calibration=none", "rounds.count=0", "rounds.labels.ignore_threshold=0.01"],  # there is no round
        ["transfer.calibration=none", "transfer.decode.written_threshold=0.2"],
        [
            "pseudo_label.threshold=0.3",
            "downstream.method=pseudo_label",
            "downstream.labels.trained_threshold=0.25",
        ],  # a pseudo-label's score may be lower
        *(
            [f"downstream.method={method}"]
            for method in ("class_names", "pseudo_label", "union", "union_averaged", "student_teacher", "lgpl")
        ),
    ],
)
def test_thresholds_that_can_act_are_taken(options: list[str]) -> None:
    config_from({"datasets": DATASETS}, options)


def test_a_label_set_may_have_labels_below_the_detectors_threshold() -> None:
    label_sets = [{"name": "sam", "files": {"a": "sam.json"}}]
    config_from({"datasets": DATASETS, "label_sets": label_sets}, ["pseudo_label.threshold=0.01"])
