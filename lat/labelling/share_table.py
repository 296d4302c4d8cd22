"""Class shares as a person knows them: a YAML table.

way:                                      # a source
  city:                                   # a target
    vehicle: {car: 0.8, truck: 0.15}      # shares of the target's classes; the rest to 1 is none of them
    cyclist: [rider, bicycle]             # only these are possible, in any proportion
    sign: []                              # always none of them
                                          # unlisted classes keep their counted shares

Shape letters: K_s and K_t classes of the source's and of the target's label space; "none" is last, at index K_t.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lat.core.documents import read_yaml
from lat.core.errors import InputError, did_you_mean, looked_for
from lat.core.label_space import LabelSpace

ROUNDING = 1e-6  # the sum of a class's shares may exceed 1 by this


def read_share_table(path: Path, spaces: Mapping[str, LabelSpace]) -> dict[tuple[str, str], dict[int, Tensor]]:
    """Read a table of class shares.

    Args:
        path: the YAML file.
        spaces: label spaces of all datasets of the run by name; the file must not name others.

    Returns:
        By (source, target), then by index of each listed source class: (K_t + 1,) float32 shares, "none" last; or (K_t,) bool,
        the possible classes.

    Raises:
        InputError: if the file is missing or not YAML, names an unknown dataset or class (the nearest is suggested), or contains
            anything other than shares.
    """
    return share_table(path, _read_yaml(path), spaces)


def share_table(path: Path, content: Any, spaces: Mapping[str, LabelSpace]) -> dict[tuple[str, str], dict[int, Tensor]]:
    """The table that a file holds; see `read_share_table`.

    Raises:
        InputError: naming the file, if the content is no such table.
    """
    tables = {}
    for source, parts in _entries(path, content, "a source"):
        position_in(path, source, tuple(spaces), "dataset")
        for target, classes in _entries(path, parts, "a target", source):
            position_in(path, target, tuple(spaces), "dataset")
            rows = _entries(path, classes, "a class", f"{source}, {target}")
            tables[source, target] = dict(_row(path, spaces[source], spaces[target], *row) for row in rows)
    return tables


def overridden_by_table(counted: Tensor, rows: Mapping[int, Tensor]) -> Tensor:
    """Shares (K_s, K_t + 1), each row summing to 1: the counted ones, overridden by a table.

    Args:
        counted: (K_s, K_t + 1) shares; kept for classes not in the table, and in proportion among possible classes.
        rows: the result of `read_share_table` for two datasets.
    """
    shares = counted.clone()
    for i, row in rows.items():
        shares[i] = restricted(counted[i], row) if row.dtype == torch.bool else row
    return shares


def restricted(counted: Tensor, is_possible: Tensor) -> Tensor:
    """Shares (K_t + 1,) of a class that only possible (K_t,) bool classes can be, in proportion to the counted (K_t + 1,) ones.

    "None" gets everything if nothing is possible. If no possible class was ever counted, all have equal shares.
    """
    shares = counted * torch.cat([is_possible, is_possible.new_ones(1)])
    if not is_possible.any():
        shares[-1] = 1.0
    elif not shares[:-1].any():
        shares[:-1] = (1 - shares[-1]) * is_possible / is_possible.sum()
    return shares / shares.sum()


def _read_yaml(path: Path) -> Any:
    try:
        return read_yaml(path, Any)
    except FileNotFoundError:
        raise InputError(path, f"there is no such table of shares{looked_for(path)}", "correct transfer.prior.table") from None


def _entries(path: Path, value: object, key: str, where: str = "") -> list[tuple[str, Any]]:
    """The entries of a mapping; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, dict):
        remedy = "write {source: {target: {source class: {target class: share} or [target classes]}}}"
        raise InputError(path, f"{where or 'the file'} has no mapping from {key}", remedy)
    return [(str(name), entry) for name, entry in value.items()]


def position_in(path: Path, name: object, known: tuple[str, ...], what: str, where: str = "") -> int:
    """The position of a name, of what is called `what`, among the known ones.

    Raises:
        InputError: naming the file, what it says `where`, and the nearest known name, if this one is unknown.
    """
    if name not in known:
        raise InputError(path, f"{where}there is no {what} '{name}'", did_you_mean(name, known))
    return known.index(str(name))


def _row(path: Path, source: LabelSpace, target: LabelSpace, name: str, value: object) -> tuple[int, Tensor]:
    where = f"{source.name} {name}: "
    index = position_in(path, name, source.class_names, f"class of {source.name}")
    listed = [] if value is None else [value] if isinstance(value, str) else value
    if isinstance(listed, list):
        is_possible = torch.zeros(len(target), dtype=torch.bool)
        for each in listed:
            is_possible[position_in(path, each, target.class_names, f"class of {target.name}", where)] = True
        return index, is_possible
    if not isinstance(listed, dict):
        raise InputError(path, f"{where}is {value!r}", "write {target class: share} or a list of target classes")
    shares = torch.zeros(len(target) + 1, dtype=torch.float64)
    for each, share in listed.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
            raise InputError(path, f"{where}the share of {each} is {share!r}", "write a number between 0 and 1")
        shares[position_in(path, each, target.class_names, f"class of {target.name}", where)] = share
    total = float(shares.sum())
    if total > 1.0 + ROUNDING:
        raise InputError(path, f"{where}the shares are {total:g} together", "write shares that add up to at most 1")
    shares[-1] = max(0.0, 1.0 - total)
    return index, shares.float() / float(shares.sum())
