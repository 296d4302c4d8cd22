"""The file `lat/class_shares.json`: class shares of every ordered pair of datasets, estimated in four ways."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict

import torch

from lat.core.documents import checked, read_json
from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.labelling.class_shares import ClassShares, equal_shares
from lat.workspace.paths import require
from lat.workspace.workspace import Workspace

_AGAIN = "write it again with `lat transfer CONFIG --force`"


class _Pair(TypedDict):
    source: str
    target: str


class _ClassShares(TypedDict):
    pairs: list[_Pair]


def write_class_shares(workspace: Workspace, pairs: Sequence[Sequence[ClassShares]]) -> None:
    """Write the class shares of each pair of datasets, keyed by how they were found, rounded to six digits."""
    lines = [json.dumps(_to_dict(found), ensure_ascii=False) for found in pairs]
    write_atomically(workspace.paths.class_shares, '{"pairs": [\n' + ",\n".join(lines) + "\n]}\n")


def read_class_shares(workspace: Workspace, source: str, target: str, found_by: str) -> ClassShares:
    """The class shares of a pair of datasets, as `write_class_shares` wrote them; equal ones if it did not yet write such.

    Raises:
        InputError: if the file does not exist yet, or is damaged.
    """
    path = require(workspace.paths.class_shares, "lat transfer")
    content = read_json(path, _ClassShares, _AGAIN)
    pair = next((pair for pair in content["pairs"] if (pair["source"], pair["target"]) == (source, target)), None)
    if pair is None:
        raise InputError(path, f"lacks the pair of {source} and {target}", _AGAIN)
    if found_by not in pair:  # a file of an earlier version has no `scored`
        return equal_shares(workspace.data.space(source), workspace.data.space(target))
    spaces = workspace.data.space(source), workspace.data.space(target)
    rows = checked(path, pair[found_by], list[list[float]], _AGAIN, f"{source}, {target}: {found_by}")
    if len(rows) != len(spaces[0]) or {len(row) for row in rows} != {len(spaces[1]) + 1}:
        raise InputError(path, f"{source}, {target}: {found_by} is not of their classes", _AGAIN)
    return ClassShares(*spaces, torch.tensor(rows), found_by)


def _to_dict(found: Sequence[ClassShares]) -> dict[str, object]:
    source, target = found[0].source, found[0].target
    return {
        "source": source.name,
        "target": target.name,
        "source_classes": source.class_names,
        "target_classes": [*target.class_names, None],
        **{one.found_by: [[round(share, 6) for share in row] for row in one.shares.tolist()] for one in found},
    }
