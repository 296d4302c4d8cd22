"""Settings of labelling: what becomes of the model's scores, which prior weighs them, and which labels are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lat.core.errors import InputError

CALIBRATIONS = ("platt", "isotonic", "none")
FILTERS = ("score", "class_balanced", "validation", "dars", "da")
PRIORS = ("consistent", "learnt", "relations", "table", "cooccurrence", "none")


@dataclass(frozen=True)
class DecodeSettings:
    """What becomes of the model's scores at transfer."""

    written_threshold: float = 0.02  # boxes of a lower score are not written
    nms_iou: float = 0.5  # IoU at which the lower of two boxes of one class is suppressed
    max_detections: int = 300  # most boxes written for one image

    def __post_init__(self) -> None:
        for name in ("written_threshold", "nms_iou"):
            _check_share(name, getattr(self, name))
        if self.max_detections < 1:
            raise InputError("max_detections", f"is {self.max_detections}", "choose 1 or more")


@dataclass(frozen=True)
class CombineSettings:
    """How boxes are combined by what a whole dataset tells about them; the paper does none of it."""

    keep: bool = True  # keep human boxes, moved to the target's convention, as far as it is known
    fuse: bool = True  # average overlapping boxes of one class
    detector_share: float = 0.75  # share of the target's detector in boxes and scores of what it sees; the rest is the model's
    sure_threshold: float = 0.5  # detections of this score or more serve to compare two protocols

    def __post_init__(self) -> None:
        for name in ("detector_share", "sure_threshold"):
            _check_share(name, getattr(self, name))


@dataclass(frozen=True)
class PriorSettings:
    """What the class of a human box says about the labels that lie on it.

    Raises:
        InputError: if a value is out of its range, or a table is missing or unused.
    """

    method: str = (
        "consistent"  # consistent (learnt over all spaces together), learnt (from the model's scores, per pair of spaces),
    )
    # relations (of `lat relations`), table, cooccurrence or none
    table: str = ""  # of table: YAML file {source: {target: {source class: {target class: share} or [target classes]}}}
    floor: float = 0.02  # of relations, table and cooccurrence: a smaller share counts as this, so that an error forbids nothing
    veto: float = 0.0  # a target class whose share is below this is impossible on a box of that source class; 0 forbids none
    sources: Any = "all"  # a dataset's name, a list of names, or all: the sources to which the prior applies

    def __post_init__(self) -> None:
        if self.method not in PRIORS:
            raise InputError("method", f"is '{self.method}'", f"choose one of {', '.join(PRIORS)}")
        if self.method == "table" and not self.table:
            raise InputError("table", "is empty", "name the YAML file of shares, or choose another method")
        if self.method != "table" and self.table:
            raise InputError("table", f"is given, but the method is {self.method}", "leave it out, or choose method: table")
        for name in ("floor", "veto"):
            _check_share(name, getattr(self, name))

    @property
    def named_sources(self) -> tuple[str, ...] | None:
        """The sources that are named, or None for all."""
        if self.sources == "all":
            return None
        return (self.sources,) if isinstance(self.sources, str) else tuple(self.sources)

    @property
    def is_learnt(self) -> bool:
        """True if its shares are learnt from human boxes, in `lat/class_shares.json`."""
        return self.method in ("consistent", "learnt")

    def applies_to(self, source: str) -> bool:
        """True if labels of that source are weighed."""
        named = self.named_sources
        return self.method != "none" and (named is None or source in named)


@dataclass(frozen=True)
class FilterSettings:
    """Which labels of a set are kept, after its section's threshold, NMS and maximum per image.

    Raises:
        InputError: if a value is out of its range, or the temperature is true where nothing is chosen.
    """

    method: str = "score"  # score (all of them), class_balanced (CBST), validation (thresholds of highest F1 on held-out images),
    # dars, or da (dars that keeps all boxes that tie at its threshold)
    temperature: bool = False  # choose by scores scaled to held-out images; written scores do not change
    share: float = 0.5  # of class_balanced: share of each class's labels that is kept; of dars and da: labels wanted, as a share
    # of the boxes that as many images of the target have

    def __post_init__(self) -> None:
        if self.method not in FILTERS:
            raise InputError("method", f"is '{self.method}'", f"choose one of {', '.join(FILTERS)}")
        if not 0.0 < self.share < float("inf"):
            raise InputError("share", f"is {self.share}", "choose a number above 0")
        if self.method == "class_balanced" and self.share > 1.0:
            raise InputError("share", f"is {self.share}", "choose a number above 0, at most 1")
        if self.temperature and self.keeps_all:
            raise InputError("temperature", "is true, but method: score keeps all labels", "choose another method, or false")

    @property
    def keeps_all(self) -> bool:
        """True if no label is left out."""
        return self.method == "score"

    @property
    def needs_held_out(self) -> bool:
        """True if labels of held-out images, with their ground truth, go in."""
        return self.temperature or self.method == "validation"


def _check_share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise InputError(name, f"is {value}", "choose a number between 0 and 1")
