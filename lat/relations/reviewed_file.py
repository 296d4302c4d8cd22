"""The reviewed file: relations as YAML for a person to edit, written with scores and read back as given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from lat.core.documents import read_yaml
from lat.core.errors import InputError, did_you_mean, looked_for
from lat.core.label_space import LabelSpace
from lat.relations.relation_matrix import RelationMatrix, RelationType
from lat.relations.taxonomies import with_standalone

HEADER = """\
# Relations between classes, proposed from pictures. Correct them, then set relations.file to this file.
# Each line says how a class of `first` relates to one of `second`: equal, narrower (it lies inside), broader, or overlapping.
# Delete a line to say that two classes are unrelated; add one to relate them. Scores are for your eyes and need not be kept.
"""
CHOICES = tuple(kind.value for kind in RelationType if kind is not RelationType.UNRELATED)


def to_yaml(matrices: Sequence[RelationMatrix]) -> str:
    """The relations of some pairs of label spaces as YAML, surest first, with an explaining comment."""
    pairs = []
    for matrix in matrices:
        content = matrix.to_dict()
        relations = sorted(content["relations"], key=lambda relation: -relation["score"])
        shown = [{**relation, "score": round(relation["score"], 3)} for relation in relations]
        pairs.append({"spaces": [matrix.first.name, matrix.second.name], "relations": shown})
    return HEADER + yaml.safe_dump({"pairs": pairs}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=200)


def from_yaml(path: Path, spaces: Sequence[LabelSpace]) -> list[RelationMatrix]:
    """Read the relations that a person has edited; every pair's edges are then decided.

    A class marked equal or narrower lies entirely inside the other; any other related class has equal shares, of at most a half,
    in the classes that it is related to.

    Args:
        path: the file.
        spaces: the label spaces of the run.

    Raises:
        InputError: if the file is missing or not YAML, or names an unknown label space, class or relation (the nearest name is
            suggested).
    """
    by_name = {space.name: space for space in spaces}
    matrices: list[RelationMatrix] = []
    for pair in _pairs(path):
        names = pair.get("spaces")
        if not isinstance(names, list) or len(names) != 2 or names[0] == names[1]:
            raise InputError(path, f"`spaces` is {names}", "name two label spaces")
        first, second = (by_name[_known(path, "label space", name, tuple(by_name))] for name in names)
        if any({first, second} == {one.first, one.second} for one in matrices):
            raise InputError(path, f"has the pair [{first.name}, {second.name}] twice", "put their relations under one")
        matrices.append(_matrix(path, first, second, pair.get("relations") or []))
    return matrices


def _pairs(path: Path) -> list[dict[str, Any]]:
    try:
        content = read_yaml(path, Any)
    except FileNotFoundError:
        raise InputError(
            path, f"no such relations file{looked_for(path)}", "`lat relations CONFIG --review` writes one"
        ) from None
    pairs = content.get("pairs") if isinstance(content, dict) else None
    if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
        raise InputError(path, "has no `pairs` list", "start from what `lat relations CONFIG --review` writes")
    return pairs


def _known(path: Path, what: str, name: object, known: Sequence[str], owner: str = "") -> str:
    """Return the name if it is known."""
    if isinstance(name, str) and name in known:
        return name
    raise InputError(path, f"there is no {what} '{name}'{owner}", did_you_mean(name, known))


def _matrix(path: Path, first: LabelSpace, second: LabelSpace, relations: object) -> RelationMatrix:
    if not isinstance(relations, list) or not all(isinstance(relation, dict) for relation in relations):
        raise InputError(
            path, f"`relations` of {first.name} and {second.name} is not a list", "write `- {first: …, second: …, relation: …}`"
        )
    k1, k2 = len(first), len(second)
    kinds: dict[tuple[int, int], str] = {}
    for relation in relations:
        sides = (("first", first), ("second", second))
        names = [_known(path, "class", relation.get(side), space.class_names, f" in {space.name}") for side, space in sides]
        i, j = first.class_names.index(names[0]), second.class_names.index(names[1])
        if (i, j) in kinds:
            raise InputError(path, f"{first.name} {names[0]} and {second.name} {names[1]} are related twice", "keep one line")
        kinds[i, j] = _known(path, "relation", relation.get("relation"), CHOICES)
    related = torch.zeros(k1, k2, dtype=torch.bool)
    inside_second, inside_first = torch.zeros(k1, k2), torch.zeros(k2, k1)
    for (i, j), kind in kinds.items():
        related[i, j] = True
        inside_second[i, j] = float(kind in (RelationType.EQUAL, RelationType.NARROWER))
        inside_first[j, i] = float(kind in (RelationType.EQUAL, RelationType.BROADER))
    edges = with_standalone(related)
    return RelationMatrix(first, second, _inside_shares(inside_second, related), _inside_shares(inside_first, related.T), edges)


def _inside_shares(inside: torch.Tensor, related: torch.Tensor) -> torch.Tensor:
    """(K, K' + 1): 1 if a class lies inside another, else equal shares of at most a half, the rest of the world last."""
    even = related / related.sum(dim=1, keepdim=True).clamp(min=2)
    shares = torch.where(inside > 0, 1.0, even)
    rest = torch.where(related.any(dim=1), 0.0, 1.0)
    return torch.cat([shares, rest[:, None]], dim=1)
