"""The annotations of a sound COCO file as columns, from typed records."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, cast

import numpy as np
from msgspec import UNSET, UnsetType

from lat.core.collector import uncollected
from lat.core.label_space import LabelSpace
from lat.labels.class_scores import WHOLE_CLASSES, ClassScores, TopScores
from lat.labels.coco.pieces import Doubt, PairsAnnotation, PriorEntry, Rows, SoundFile
from lat.labels.coco.problems import Column
from lat.labels.coco.read_scores import kept_scores, scores_of_lists
from lat.labels.provenance import ORIGINS, AppliedPrior, Provenance

_ORIGINS = {name: int(origin) for name, origin in ORIGINS.items()}
_NO_LABELS = np.zeros(0, np.int64)


class TypedAnnotations:
    """What `Records` has of annotations, of a sound file; what `Records` would report raises `Doubt`.

    Args:
        file: the file.
        space: its label space.

    Raises:
        Doubt: if anything is not sound.
    """

    def __init__(self, file: SoundFile, space: LabelSpace) -> None:
        columns = _Columns(space)
        try:
            with uncollected():
                for rows in file.annotations():
                    columns.add(rows)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise Doubt from error
        self._columns = columns.joined()
        self._spaces, self._source_classes = list(columns.spaces), list(columns.source_classes)
        self.ids = self._columns["id"]
        self.sound = self.id_is_sound = np.ones(len(self.ids), dtype=bool)

    def __len__(self) -> int:
        return len(self.ids)

    def report(self, wrong: np.ndarray, what: Callable[[int], str], remedy: str = "") -> None:
        """Raise `Doubt` if anything is wrong."""
        _require(not wrong.any())

    def report_repeated_ids(self, remedy: str) -> None:
        """Raise `Doubt` if an id occurs more than once."""
        _require((np.diff(self.ids) > 0).all() or (np.diff(np.sort(self.ids)) > 0).all())

    def integers(self, key: str) -> Column:
        """The column `key`, (N,) int64, all valid."""
        return self._columns[key], self.sound

    def numbers(self, key: str, default: float | None = None) -> Column:
        """The column `key`, (N,) float64, all valid."""
        return self._columns[key], self.sound

    def optional_numbers(self, key: str) -> Column:
        """The column `key`, (N,) float64 with 0 for missing values, and (N,) bool: True if present."""
        there = ~np.isnan(self._columns[key])
        return np.where(there, self._columns[key], 0.0), there

    def number_rows(self, key: str, width: int) -> Column:
        """The column `key`, (N, width) float64, all valid."""
        return self._columns[key], self.sound

    def class_scores(self, space: LabelSpace) -> ClassScores | None:
        """Class scores; None if no annotation has any."""
        if "rest" in self._columns:
            return TopScores(self._columns["classes"], self._columns["scores"], self._columns["rest"], len(space))
        return self._columns.get("class_scores")

    def provenance(self) -> Provenance | None:
        """Provenance columns; None if no annotation has any."""
        columns = self._columns
        if "origin" not in columns:
            return None
        spaces, space = _in_order(self._spaces, columns["space"])
        prior = None
        if self._source_classes:
            names, source_class = _in_order(self._source_classes, columns["source_class"])
            prior = AppliedPrior(source_class.astype(np.int32), names, columns["factor"], columns["kept"])
        return Provenance(columns["origin"], space.astype(np.int16), spaces, columns["annotation_id"], prior)


def _require(is_sound: object) -> None:
    if not is_sound:
        raise Doubt


def _in_order(names: list[str], indices: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The names sorted, and the column of indices into them; -1 stays."""
    places = {name: i for i, name in enumerate(sorted(names))}
    return tuple(places), np.array([*(places[name] for name in names), -1])[indices]


class _Columns:
    """The columns of annotations, collected some rows at a time."""

    def __init__(self, space: LabelSpace) -> None:
        self._space = space
        self._index_of = {category_id: i for i, category_id in enumerate(space.category_ids)}
        self._parts: list[dict[str, np.ndarray]] = [self._of([])]
        self.spaces: dict[str, int] = {}
        self.source_classes: dict[str, int] = {}

    def add(self, rows: Rows) -> None:
        """Add the next rows.

        Raises:
            Doubt: if some rows have class scores or provenance and others have none, or values are out of range.
            KeyError: if a category is unknown.
            OverflowError: if an id has more than 64 bits.
        """
        if rows:
            self._parts.append(self._of(rows))

    def joined(self) -> dict[str, np.ndarray]:
        """The columns of all rows."""
        parts = self._parts[1:] or self._parts
        self._parts = []
        _require(all(part.keys() == parts[0].keys() for part in parts))
        return {key: np.concatenate([part.pop(key) for part in parts]) for key in list(parts[0])}

    def _of(self, rows: Rows) -> dict[str, np.ndarray]:
        corners = np.fromiter(chain.from_iterable([row.bbox for row in rows]), np.float64, 4 * len(rows))
        return {
            "id": np.array([row.id for row in rows], np.int64),
            "image_id": np.array([row.image_id for row in rows], np.int64),
            "category_id": np.array([row.category_id for row in rows], np.int64),
            "bbox": corners.reshape(-1, 4),
            "score": np.array([row.score for row in rows], np.float64),
            "iscrowd": np.array([row.iscrowd for row in rows], np.float64),  # NaN for None
            "area": _missing([row.area for row in rows]),
            **self._class_scores(rows),
            **self._provenance(rows),
        }

    def _class_scores(self, rows: Rows) -> dict[str, np.ndarray]:
        lists: list[Any] = [row.class_scores for row in rows]
        if rows and lists[0] is None:
            _require(all(each is None for each in lists))
            return {}
        if rows and isinstance(rows[0], PairsAnnotation):
            rest = np.array([row.class_scores_rest or 0.0 for row in rows], np.float64)
            scores = self._of_pairs(lists, rest, self._labels(rows))
        else:
            width = len(self._space)
            _require(set(map(len, lists)) <= {width})
            vectors = np.fromiter(chain.from_iterable(lists), np.float64, width * len(rows))
            _require(not rows or (vectors.min() >= 0 and vectors.max() <= 1))
            is_reduced = width > WHOLE_CLASSES
            scores = kept_scores(vectors.astype(np.float32).reshape(-1, width), self._labels(rows) if is_reduced else _NO_LABELS)
        return scores.columns() if isinstance(scores, TopScores) else {"class_scores": scores}

    def _labels(self, rows: Rows) -> np.ndarray:
        return np.array([self._index_of[row.category_id] for row in rows], np.int64)

    def _of_pairs(self, pairs: list[tuple[tuple[int, float], ...]], rest: np.ndarray, labels: np.ndarray) -> ClassScores:
        flat = np.array([score for each in pairs for _, score in each])
        _require(((flat >= 0) & (flat <= 1)).all() and ((rest >= 0) & (rest <= len(self._space))).all())
        _require(all(each and len({category_id for category_id, _ in each}) == len(each) for each in pairs))
        return scores_of_lists(pairs, rest, labels, self._index_of)

    def _provenance(self, rows: Rows) -> dict[str, np.ndarray]:
        entries = [row.provenance for row in rows if row.provenance is not None]
        if not entries:
            return {}
        _require(len(entries) == len(rows))
        ids = [entry.annotation_id for entry in entries]
        annotation_ids = np.array([-1 if number is None else number for number in ids], np.int64)
        _require((annotation_ids < 1).sum() == ids.count(None))
        return {
            "origin": np.array([_ORIGINS[entry.origin] for entry in entries], np.int8),
            "space": _indices([entry.space for entry in entries], self.spaces),
            "annotation_id": annotation_ids,
            **self._priors([entry.prior for entry in entries]),
        }

    def _priors(self, priors: list[PriorEntry | UnsetType]) -> dict[str, np.ndarray]:
        source_class, factor, kept = np.full(len(priors), -1), np.ones(len(priors)), np.zeros(len(priors), bool)
        places = [i for i, prior in enumerate(priors) if prior is not UNSET]
        if places:
            some = [cast(PriorEntry, priors[i]) for i in places]
            source_class[places] = _indices([one.source_class for one in some], self.source_classes)
            factor[places], kept[places] = [one.factor for one in some], [one.kept for one in some]
            _require((factor >= 0).all())
        return {"source_class": source_class, "factor": factor, "kept": kept}


def _missing(values: list[float | None]) -> np.ndarray:
    """NaN for None, 0 for any number: that there is one is all that is asked of it."""
    return np.array([np.nan if value is None else 0.0 for value in values]) if None in values else np.zeros(len(values))


def _indices(names: list[str], known: dict[str, int]) -> np.ndarray:
    """The column of indices of names, of which new ones are added to the known ones."""
    for name in set(names) - known.keys():
        known[name] = len(known)
    return np.array([known[name] for name in names], np.int64)
