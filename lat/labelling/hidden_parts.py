"""Whether protocols box the hidden part of an object too, as a person says in the file of answers.

hidden parts:
  city: {car: left out, truck: left out}     # a dataset, and classes of it
  way: {vehicle: left out}
  nu: {truck: included}

Where both protocols do the same, no side of a box is an exception from the convention of the two classes. Where they differ, how
often a side is one stays an estimate. Shape letters: K_s and K_t classes of the source's and of the target's label space.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.labelling.share_table import position_in

KEY = "hidden parts"  # no dataset can be called so
WORDS = ("left out", "included")
UNSAID = -1


def read_hidden_parts(path: Path, content: Any, spaces: Mapping[str, LabelSpace]) -> dict[str, Tensor]:
    """By dataset, for each of its classes (K,) int64: the index of one of `WORDS`, or `UNSAID`.

    Args:
        path: the file, for errors.
        content: what the file has under `KEY`.
        spaces: label spaces of all datasets of the run by name.

    Raises:
        InputError: if it names an unknown dataset or class (the nearest is suggested), or says anything but `WORDS`.
    """
    found = {name: torch.full((len(space),), UNSAID) for name, space in spaces.items()}
    for dataset, classes in _entries(path, content):
        position_in(path, dataset, tuple(spaces), "dataset", f"{KEY}: ")
        for name, word in _entries(path, classes):
            place = position_in(path, name, spaces[dataset].class_names, f"class of {dataset}", f"{KEY}: ")
            if word not in WORDS:
                raise InputError(path, f"{KEY}: {dataset} {name} is {word!r}", f"write {' or '.join(WORDS)}")
            found[dataset][place] = WORDS.index(word)
    return found


def draw_alike(source: Tensor, target: Tensor) -> Tensor:
    """(K_s, K_t) bool: the classes of which a person says that both protocols do the same, from what was said of each."""
    alike: Tensor = (source[:, None] == target) & (source[:, None] != UNSAID)
    return alike


def _entries(path: Path, value: Any) -> list[tuple[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, dict):
        raise InputError(path, f"{KEY}: has {value!r} in place of a mapping", f"write {{dataset: {{class: {WORDS[0]}}}}}")
    return [(str(name), entry) for name, entry in value.items()]
