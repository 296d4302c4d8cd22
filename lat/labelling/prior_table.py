"""What a person knows of the classes of two datasets, as a YAML table of shares.

way:                                      # a source
  city:                                   # a target
    vehicle: {car: 0.8, truck: 0.15}      # shares of the target's classes; what is left to 1 is none of them
    cyclist: [rider, bicycle]             # these are possible, however often; all others are not
    sign: []                              # none of them
                                          # of a class that is not named nothing is said
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from lat.core.errors import InputError, did_you_mean, invalid_yaml
from lat.core.label_space import LabelSpace

ABOVE_ONE = 1e-6  # by which shares may be more than 1 together, as rounded numbers are


def read_prior_table(path: Path, spaces: Mapping[str, LabelSpace]) -> dict[tuple[str, str], dict[int, Tensor]]:
    """What a table says of the classes of each source in each target that it names.

    Args:
        path: the YAML file.
        spaces: label spaces of all datasets of the run by name; the file names no others.

    Returns:
        By (source, target), and there for each source class that is named, by index: (K_t + 1,) float32 shares, none of them
        last; or (K_t,) bool, the classes that are possible.

    Raises:
        InputError: if the file is missing or no YAML, names an unknown dataset or class (the nearest is suggested), or holds
            what are no shares.
    """
    tables = {}
    for source, parts in _entries(path, _read(path), "a source"):
        _known(path, source, tuple(spaces), "dataset")
        for target, classes in _entries(path, parts, "a target", source):
            _known(path, target, tuple(spaces), "dataset")
            rows = _entries(path, classes, "a class", f"{source}, {target}")
            tables[source, target] = dict(_row(path, spaces[source], spaces[target], *row) for row in rows)
    return tables


def shares_of_table(rows: Mapping[int, Tensor], expected: Tensor) -> Tensor:
    """(K_s, K_t + 1) shares, rows sum to 1, of what `read_prior_table` returned for two datasets.

    Args:
        rows: for some classes of the source, by index, shares or what is possible.
        expected: (K_s, K_t + 1) shares as they are without the table: they hold for classes that are not named, and among
            classes that are possible.
    """
    shares = expected.clone()
    for i, row in rows.items():
        shares[i] = restricted(expected[i], row) if row.dtype == torch.bool else row
    return shares


def restricted(expected: Tensor, possible: Tensor) -> Tensor:
    """(K_t + 1,) shares `expected` of a class where only `possible` (K_t,) bool classes can be, in proportion.

    None of them is certain where nothing is possible. Where classes are possible that were never expected, all have equal shares.
    """
    shares = expected * torch.cat([possible, possible.new_ones(1)])
    if not possible.any():
        shares[-1] = 1.0
    elif not shares[:-1].any():
        shares[:-1] = (1 - shares[-1]) * possible / possible.sum()
    return shares / shares.sum()


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, "there is no such table of shares", "correct transfer.prior.table") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise invalid_yaml(path, error) from None


def _entries(path: Path, value: object, key: str, where: str = "") -> list[tuple[str, Any]]:
    """The entries of a mapping, which an empty one may leave out."""
    if value is None:
        return []
    if not isinstance(value, dict):
        remedy = "write {source: {target: {source class: {target class: share} or [target classes]}}}"
        raise InputError(path, f"{where or 'the file'} holds no mapping from {key}", remedy)
    return [(str(name), entry) for name, entry in value.items()]


def _known(path: Path, name: object, known: tuple[str, ...], what: str, where: str = "") -> int:
    """Position of a name."""
    if name not in known:
        raise InputError(path, f"{where}there is no {what} '{name}'", did_you_mean(name, known))
    return known.index(str(name))


def _row(path: Path, source: LabelSpace, target: LabelSpace, name: str, value: object) -> tuple[int, Tensor]:
    where = f"{source.name} {name}: "
    index = _known(path, name, source.class_names, f"class of {source.name}")
    listed = [] if value is None else [value] if isinstance(value, str) else value
    if isinstance(listed, list):
        possible = torch.zeros(len(target), dtype=torch.bool)
        for each in listed:
            possible[_known(path, each, target.class_names, f"class of {target.name}", where)] = True
        return index, possible
    if not isinstance(listed, dict):
        raise InputError(path, f"{where}is {value!r}", "write {target class: share} or a list of target classes")
    shares = torch.zeros(len(target) + 1, dtype=torch.float64)
    for each, share in listed.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
            raise InputError(path, f"{where}the share of {each} is {share!r}", "write a number between 0 and 1")
        shares[_known(path, each, target.class_names, f"class of {target.name}", where)] = share
    total = float(shares.sum())
    if total > 1.0 + ABOVE_ONE:
        raise InputError(path, f"{where}the shares are {total:g} together", "write shares of at most 1 in all")
    shares[-1] = max(0.0, 1.0 - total)
    return index, shares.float() / float(shares.sum())
