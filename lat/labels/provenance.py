"""The provenance of transferred labels: the proposal, and the effect of a prior on its class. As JSON objects and columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lat.core.origin import Origin

ORIGINS = {"ground_truth": Origin.GROUND_TRUTH, "pseudo_label": Origin.PSEUDO_LABEL, "person": Origin.PERSON}
"""The possible values of `provenance.origin` in a file."""

MEANING = (
    "it must hold origin (ground_truth, pseudo_label or person), space, and annotation_id or null; "
    "a prior has source_class, factor and kept"
)
FACTOR_DECIMALS = 6


@dataclass(frozen=True, eq=False)
class AppliedPrior:
    """What the class of a human box did to the labels that lie on it, for each annotation.

    Attributes:
        source_class: (A,) int32 index into `source_classes`; -1 where no prior was applied.
        source_classes: class names in the source's label space.
        factor: (A,) float64, by which the score of the label's class was multiplied before scores were made to sum to 1; 1 where
            no prior was applied.
        is_kept: (A,) bool, whether the label is below the score threshold and there only because that box supports it.
    """

    source_class: np.ndarray
    source_classes: tuple[str, ...]
    factor: np.ndarray
    is_kept: np.ndarray

    @classmethod
    def concatenated(cls, parts: Sequence[AppliedPrior]) -> AppliedPrior:
        """All rows of some, at least one, with the same names."""
        columns = ("source_class", "factor", "is_kept")
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
        return cls(source_classes=parts[0].source_classes, **joined)

    def __getitem__(self, rows: np.ndarray | slice) -> AppliedPrior:
        return AppliedPrior(self.source_class[rows], self.source_classes, self.factor[rows], self.is_kept[rows])


@dataclass(frozen=True, eq=False)
class Provenance:
    """For each annotation, the proposal that it came from.

    Attributes:
        origin: (A,) int8 values of `lat.core.structures.Origin`.
        space: (A,) int16 index into `spaces`.
        spaces: names of the label spaces that proposals came from.
        annotation_ids: (A,) int64 ids in the file of that proposal; -1 for none.
        prior: the effect of a prior, or None if the file has none.
    """

    origin: np.ndarray
    space: np.ndarray
    spaces: tuple[str, ...]
    annotation_ids: np.ndarray
    prior: AppliedPrior | None = None

    @classmethod
    def concatenated(cls, parts: Sequence[Provenance]) -> Provenance:
        """All rows of some, at least one, with the same names, of which all have a prior or none has."""
        columns = ("origin", "space", "annotation_ids")
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
        priors = [part.prior for part in parts if part.prior is not None]
        assert len(priors) in (0, len(parts)), "a prior for all rows or none"
        return cls(spaces=parts[0].spaces, prior=AppliedPrior.concatenated(priors) if priors else None, **joined)

    def __len__(self) -> int:
        return len(self.origin)

    def __getitem__(self, rows: np.ndarray | slice) -> Provenance:
        prior = None if self.prior is None else self.prior[rows]
        return Provenance(self.origin[rows], self.space[rows], self.spaces, self.annotation_ids[rows], prior)

    def entries(self) -> list[dict[str, Any]]:
        """As in a file, one object per annotation."""
        names = {value: name for name, value in ORIGINS.items()}
        columns = zip(self.origin.tolist(), self.space.tolist(), self.annotation_ids.tolist(), strict=True)
        entries: list[dict[str, Any]] = [
            {"origin": names[origin], "space": self.spaces[space], "annotation_id": None if number < 0 else number}
            for origin, space, number in columns
        ]
        if (prior := self.prior) is not None:
            applied = zip(entries, prior.source_class.tolist(), prior.factor.tolist(), prior.is_kept.tolist(), strict=True)
            for entry, k, factor, kept in applied:
                if k >= 0:
                    entry["prior"] = {"source_class": prior.source_classes[k], "factor": factor, "kept": kept}
        return entries


def file_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The object of one annotation with the keys of a file, and a rounded prior factor."""
    written = {key: entry[key] for key in ("origin", "space", "annotation_id")}
    if "prior" in entry:
        prior = {key: entry["prior"][key] for key in ("source_class", "factor", "kept")}
        written["prior"] = {**prior, "factor": round(prior["factor"], FACTOR_DECIMALS)}
    return written


def is_provenance(value: object) -> bool:
    """True if a value of a file is one of these objects."""
    if not isinstance(value, dict):
        return False
    annotation_id = value.get("annotation_id")
    has_id = annotation_id is None or (type(annotation_id) is int and 0 < annotation_id < 2**63)
    origin, space = value.get("origin"), value.get("space")
    return isinstance(origin, str) and origin in ORIGINS and isinstance(space, str) and has_id and _has_sound_prior(value)


def _has_sound_prior(value: dict[str, Any]) -> bool:
    if "prior" not in value:
        return True
    prior = value["prior"]
    if not isinstance(prior, dict) or not isinstance(prior.get("source_class"), str) or type(prior.get("kept")) is not bool:
        return False
    factor = prior.get("factor")
    return isinstance(factor, int | float) and not isinstance(factor, bool) and 0 <= factor <= sys.float_info.max


def columns_of(entries: Sequence[Mapping[str, Any]]) -> Provenance:
    """Columns of objects that all satisfy `is_provenance`."""
    spaces = tuple(sorted({entry["space"] for entry in entries}))
    index_of = {space: index for index, space in enumerate(spaces)}
    return Provenance(
        origin=np.array([ORIGINS[entry["origin"]] for entry in entries], dtype=np.int8),
        space=np.array([index_of[entry["space"]] for entry in entries], dtype=np.int16),
        spaces=spaces,
        annotation_ids=np.array([-1 if (i := entry.get("annotation_id")) is None else i for entry in entries], dtype=np.int64),
        prior=_prior_columns([entry.get("prior") for entry in entries]),
    )


def _prior_columns(priors: Sequence[Mapping[str, Any] | None]) -> AppliedPrior | None:
    names = tuple(sorted({prior["source_class"] for prior in priors if prior}))
    if not names:
        return None
    index_of = {name: index for index, name in enumerate(names)}
    return AppliedPrior(
        source_class=np.array([index_of[prior["source_class"]] if prior else -1 for prior in priors], dtype=np.int32),
        source_classes=names,
        factor=np.array([prior["factor"] if prior else 1.0 for prior in priors], dtype=np.float64),
        is_kept=np.array([bool(prior and prior["kept"]) for prior in priors]),
    )
