"""Settings of the baselines."""

from __future__ import annotations

from dataclasses import dataclass

from lat.core.errors import InputError

UNIFICATION_LOSSES = ("masked_softmax", "null_bce")


@dataclass(frozen=True)
class LgplSettings:
    """Label-guided pseudo-labelling: the class-conditioned head, what it is trained on, and which boxes are kept.

    Raises:
        InputError: if a value is out of its range.
    """

    pairs_per_image: int = 128  # pairs of a region and a class that the head is trained on in each target image
    valid_share: float = 0.5  # of the pairs of a class that the image has, about this share is valid
    match_iou: float = 0.5  # a region is valid for a class if its IoU with a target box of that class is at least this
    jittered_copies: int = 2  # moved copies of each target box that are regions in training, beside the proposals; 0 for none
    jitter_scale: float = 0.2  # largest move of a side of such a copy, as a share of the box's width or height
    least_precision: float = 0.5  # validity thresholds are the lowest at which this share of held-out proposals is valid

    def __post_init__(self) -> None:
        for name, least in (("pairs_per_image", 1), ("jittered_copies", 0)):
            if getattr(self, name) < least:
                raise InputError(name, f"is {getattr(self, name)}", f"choose {least} or more")
        for name in ("valid_share", "match_iou", "least_precision"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise InputError(name, f"is {getattr(self, name)}", "choose a number above 0 and at most 1")
        if not 0.0 <= self.jitter_scale < 0.5:
            raise InputError("jitter_scale", f"is {self.jitter_scale}", "choose a share of at least 0 and below 0.5")


@dataclass(frozen=True)
class StudentTeacherSettings:
    """How a student learns from its teacher.

    Raises:
        InputError: if a value is out of its range.
    """

    burn_in_steps: int = 200  # first steps on labelled images alone; the teacher is a copy of the student until then
    teacher_threshold: float = 0.7  # the teacher's detections with this score or more are pseudo-labels

    def __post_init__(self) -> None:
        if self.burn_in_steps < 0:
            raise InputError("burn_in_steps", f"is {self.burn_in_steps}", "choose 0 or more")
        if not 0.0 <= self.teacher_threshold <= 1.0:
            raise InputError("teacher_threshold", f"is {self.teacher_threshold}", "choose a number from 0 to 1")


@dataclass(frozen=True)
class LabelUnificationSettings:
    """What the one detector of all label spaces is trained with.

    Raises:
        InputError: if the loss is none of the choices.
    """

    classification_loss: str = "masked_softmax"  # or null_bce, a sigmoid per class; DETRs have sigmoids of their own

    def __post_init__(self) -> None:
        if self.classification_loss not in UNIFICATION_LOSSES:
            remedy = f"choose one of {', '.join(UNIFICATION_LOSSES)}"
            raise InputError("classification_loss", f"is '{self.classification_loss}'", remedy)

    @property
    def is_binary(self) -> bool:
        """True if every class has a sigmoid of its own."""
        return self.classification_loss == "null_bce"
