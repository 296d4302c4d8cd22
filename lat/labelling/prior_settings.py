"""Which prior weighs the classes of labels on a source's own boxes, and how far it may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lat.core.errors import InputError

PRIORS = ("consistent", "learnt", "relations", "table", "cooccurrence", "none")


@dataclass(frozen=True)
class PriorSettings:
    """What a source's own box tells by its class about the labels that lie on it.

    Raises:
        InputError: if a value is out of its range, or the table is missing or not asked for.
    """

    method: str = "consistent"  # consistent (learnt, over all spaces together), learnt (from the model's scores, for each pair of
    # spaces), relations (of `lat relations`), table, cooccurrence or none
    table: str = ""  # of table: YAML file {source: {target: {source class: {target class: share} or [target classes]}}}
    floor: float = 0.02  # of relations, table and cooccurrence: a smaller share counts as this, so that an error forbids nothing
    veto: float = 0.0  # a target class whose share is below this is impossible on a box of that source class; 0 forbids none
    keep_supported: float = 0.0  # a source's box without a label keeps its best class of at least this share, whatever its score;
    # 0 keeps none below transfer.score_threshold
    sources: Any = "all"  # a dataset's name, a list of names, or all: the sources whose boxes are asked

    def __post_init__(self) -> None:
        if self.method not in PRIORS:
            raise InputError("transfer.prior.method", f"is '{self.method}'", f"choose one of {', '.join(PRIORS)}")
        if self.method == "table" and not self.table:
            raise InputError("transfer.prior.table", "is empty", "name the YAML file of shares, or choose another method")
        if self.method != "table" and self.table:
            what = f"is given, but transfer.prior.method is {self.method}"
            raise InputError("transfer.prior.table", what, "leave it out, or choose method: table")
        for name in ("floor", "veto", "keep_supported"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"transfer.prior.{name}", f"is {getattr(self, name)}", "choose a number between 0 and 1")

    @property
    def named_sources(self) -> tuple[str, ...] | None:
        """The sources that are named, or None for all."""
        if self.sources == "all":
            return None
        return (self.sources,) if isinstance(self.sources, str) else tuple(self.sources)

    @property
    def is_learnt(self) -> bool:
        """True if it is one of the shares that are learnt from own boxes, in `lat/class_shares.json`."""
        return self.method in ("consistent", "learnt")

    def applies_to(self, source: str) -> bool:
        """True if labels of that source are weighed."""
        named = self.named_sources
        return self.method != "none" and (named is None or source in named)
