"""The file `lat/class_shares.json`: class shares of every ordered pair of datasets, estimated in four ways."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch

from lat.core.files import write_atomically
from lat.labelling.class_shares import ClassShares, equal_shares
from lat.workspace.paths import require
from lat.workspace.workspace import Workspace


def write_class_shares(workspace: Workspace, pairs: Sequence[Sequence[ClassShares]]) -> None:
    """Write the class shares of each pair of datasets, keyed by how they were found, rounded to six digits."""
    lines = [json.dumps(_to_dict(found), ensure_ascii=False) for found in pairs]
    write_atomically(workspace.paths.class_shares, '{"pairs": [\n' + ",\n".join(lines) + "\n]}\n")


def read_class_shares(workspace: Workspace, source: str, target: str, found_by: str) -> ClassShares:
    """The class shares of a pair of datasets, as `write_class_shares` wrote them; equal ones if it did not yet write such.

    Raises:
        InputError: if the file does not exist yet.
    """
    content = json.loads(require(workspace.paths.class_shares, "lat transfer").read_text(encoding="utf-8"))
    pair = next(pair for pair in content["pairs"] if (pair["source"], pair["target"]) == (source, target))
    if found_by not in pair:  # a file of an earlier version has no `scored`
        return equal_shares(workspace.data.space(source), workspace.data.space(target))
    return ClassShares(workspace.data.space(source), workspace.data.space(target), torch.tensor(pair[found_by]), found_by)


def _to_dict(found: Sequence[ClassShares]) -> dict[str, object]:
    source, target = found[0].source, found[0].target
    return {
        "source": source.name,
        "target": target.name,
        "source_classes": source.class_names,
        "target_classes": [*target.class_names, None],
        **{one.found_by: [[round(share, 6) for share in row] for row in one.shares.tolist()] for one in found},
    }
