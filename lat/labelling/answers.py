"""What a person has said about classes: the answers to the questions of `lat ask`, in the form of a table of shares.

way:                              # a source
  city:                           # a target
    cyclist: [rider, bicycle]     # all that it can be there
    sign: []                      # none of them

It may also say whether protocols box hidden parts (`lat.labelling.hidden_parts`).

An answer decides its class in that direction. In the other direction it rules out what it leaves out: if no `cyclist` is a
`motorcycle`, no `motorcycle` is a `cyclist`. Shape letters: K_s and K_t classes of the source's and of the target's label space;
"none" is last, at index K_t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lat.core.documents import read_yaml
from lat.core.errors import InputError, looked_for
from lat.core.label_space import LabelSpace
from lat.labelling.class_shares import ClassShares
from lat.labelling.hidden_parts import KEY, draw_alike, read_hidden_parts
from lat.labelling.share_table import restricted, share_table

_Rows = Mapping[int, Tensor]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a person has said about the classes of one source in the space of one target.

    Attributes:
        source: the source's label space.
        target: the target's label space.
        rows: by index of each answered source class, (K_t,) bool classes that it can be, or (K_t + 1,) float32 shares.
        impossible: (K_s, K_t) bool, what these and the answers of the other direction rule out.
        drawn_alike: (K_s, K_t) bool, classes in whose boxes both protocols treat hidden parts alike.
    """

    source: LabelSpace
    target: LabelSpace
    rows: _Rows
    impossible: Tensor
    drawn_alike: Tensor

    def __bool__(self) -> bool:
        return bool(self.rows) or bool(self.impossible.any()) or bool(self.drawn_alike.any())

    @property
    def concerned(self) -> Tensor:
        """(K_s,) bool: classes that were answered, or of which an answer of the other direction rules something out."""
        found = self.impossible.any(dim=1)
        found[list(self.rows)] = True
        return found

    def overriding(self, shares: Tensor, undamped: Tensor) -> Tensor:
        """Class shares (K_s, K_t + 1) with answers in place of estimates.

        An answered class has its shares as they are `undamped` (K_s, K_t + 1), among the classes that it can be: no rule has to
        find confusions there. A class of which the other direction rules something out keeps the proportions of the rest.
        """
        found = shares.clone()
        for i in self.impossible.any(dim=1).nonzero().flatten().tolist():
            found[i] = restricted(shares[i], ~self.impossible[i])
        for i, row in self.rows.items():
            found[i] = restricted(undamped[i], row) if row.dtype == torch.bool else row
        return found

    def deciding(self, estimates: Sequence[ClassShares]) -> list[ClassShares]:
        """Estimates of the class shares of this source and target with answers: on an answered class all say the same."""
        undamped = next((one for one in estimates if one.found_by == "learnt"), estimates[0]).shares
        return [replace(one, shares=self.overriding(one.shares, undamped)) for one in estimates]

    def to_dict(self) -> dict[str, Any]:
        """Plain types: what was said of each class, what follows from the other direction, and classes `drawn_alike`, if any."""
        columns = self.target.class_names
        said = {self.source.class_names[i]: _written(row, columns) for i, row in sorted(self.rows.items())}
        follows = [(i, row) for i, row in enumerate(self.impossible) if i not in self.rows and row.any()]
        found = {"said": said, "ruled_out": {self.source.class_names[i]: _written(row, columns) for i, row in follows}}
        alike = {self.source.class_names[i]: _written(row, columns) for i, row in enumerate(self.drawn_alike) if row.any()}
        return {**found, "drawn_alike": alike} if alike else found


def read_answers(path: Path, spaces: Mapping[str, LabelSpace]) -> dict[tuple[str, str], Answers]:
    """The answers in a file, for every ordered pair of label spaces.

    Args:
        path: the YAML file.
        spaces: label spaces of all datasets of the run by name; the file must not name others.

    Raises:
        InputError: if the file is missing or not YAML, names an unknown dataset or class (the nearest is suggested), has a class
            without an answer, or two answers that contradict each other.
    """
    try:
        content = read_yaml(path, Any)
    except FileNotFoundError:
        raise InputError(path, f"there is no such file of answers{looked_for(path)}", "`lat ask CONFIG` writes one") from None
    content, hidden_parts = _parted(content)
    _check_all_are_answered(path, content)
    tables, of_hidden = share_table(path, content, spaces), read_hidden_parts(path, hidden_parts, spaces)
    for source, target in tables:
        if source == target:
            raise InputError(path, f"asks what {source} is in {target}", "name two datasets")
    pairs = list(permutations(spaces, 2))
    can_be = {pair: {i: _can_be(row) for i, row in tables.get(pair, {}).items()} for pair in pairs}
    found = {}
    for source, target in pairs:
        a, b = spaces[source], spaces[target]
        _check_agreement(path, (a, b), can_be[source, target], can_be[target, source])
        impossible = _ruled_out(can_be[source, target], (len(a), len(b))) | _ruled_out(can_be[target, source], (len(b), len(a))).T
        drawn_alike = draw_alike(of_hidden[source], of_hidden[target])
        found[source, target] = Answers(a, b, tables.get((source, target), {}), impossible, drawn_alike)
    return found


def _parted(content: Any) -> tuple[Any, Any]:
    """What a file says of classes, and what of hidden parts."""
    if not isinstance(content, dict):
        return content, None
    return {name: value for name, value in content.items() if name != KEY}, content.get(KEY)


def _can_be(row: Tensor) -> Tensor:
    """(K_t,) bool classes that an answer names."""
    return row if row.dtype == torch.bool else row[:-1] > 0


def _ruled_out(rows: _Rows, size: tuple[int, int]) -> Tensor:
    """(K_s, K_t) bool classes that answers leave out."""
    found = torch.zeros(size, dtype=torch.bool)
    for i, row in rows.items():
        found[i] = ~row
    return found


def _check_agreement(path: Path, spaces: tuple[LabelSpace, LabelSpace], rows: _Rows, others: _Rows) -> None:
    """Raise an `InputError` for two answers of which one says that a class can be another, and the other says that it cannot."""
    source, target = spaces
    for i, row in rows.items():
        for j, other in others.items():
            if row[j] and not other[i]:
                one, two = f"{source.name} {source.class_names[i]}", f"{target.name} {target.class_names[j]}"
                what = f"{one} can be {target.class_names[j]} in {target.name}, but {two} cannot be {source.class_names[i]}"
                raise InputError(path, what, "make the two answers agree")


def _check_all_are_answered(path: Path, content: Any) -> None:
    """Raise an `InputError` for a class with nothing behind it, which says neither that it is unknown nor that it is none."""
    for source, parts in content.items() if isinstance(content, dict) else ():
        for target, classes in parts.items() if isinstance(parts, dict) else ():
            for name, value in classes.items() if isinstance(classes, dict) else ():
                if value is None:
                    remedy = "write [CLASS, ...], [] if it is none of them, or # before the line"
                    raise InputError(path, f"{source} {name}: there is no answer for {target}", remedy)


def _written(row: Tensor, classes: Sequence[str]) -> list[str] | dict[str, float]:
    """A row as a file has it."""
    if row.dtype == torch.bool:
        return [name for name, is_named in zip(classes, row.tolist(), strict=True) if is_named]
    return {name: round(share, 6) for name, share in zip(classes, row.tolist(), strict=False) if share > 0}
