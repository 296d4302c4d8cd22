"""Read the relations that `lat relations` wrote or a person reviewed, as the table that a loss needs."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor

from lat.core.documents import read_json
from lat.core.errors import InputError, looked_for
from lat.models.model_settings import LOSSES_OF_RELATIONS
from lat.relations.joint_tables import positive_sets, universal_members
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.reviewed_file import from_yaml
from lat.workspace.workspace import Workspace


class _Category(TypedDict):
    id: int
    name: str


class _Space(TypedDict):
    name: str
    categories: list[_Category]


class _Relation(TypedDict):
    first: str
    second: str
    relation: str
    score: float


class _Relations(TypedDict):
    first: _Space
    second: _Space
    relations: list[_Relation]
    first_to_second: list[list[float]]
    second_to_first: list[list[float]]
    edges: list[tuple[int, int]] | None


def relation_files(workspace: Workspace) -> tuple[Path, ...]:
    """The relation files that the training of the label-transfer model depends on, whether they exist or not.

    Raises:
        InputError: if `relations.file` is set to a file that does not exist.
    """
    if workspace.config.lat.head.classification_loss not in LOSSES_OF_RELATIONS:
        return ()
    return tuple(dict.fromkeys(relation_file(workspace, a, b) for a, b in combinations(workspace.names, 2)))


def relation_file(workspace: Workspace, one: str, other: str) -> Path:
    """The file with the relations of two label spaces: `relations.file` if set, else the one that `lat relations` writes.

    Raises:
        InputError: if `relations.file` is set to a file that does not exist.
    """
    return _reviewed_file(workspace) if workspace.config.relations.file else workspace.paths.relations(one, other)


def joint_relation_table(workspace: Workspace) -> Tensor | None:
    """The table of `lat.head.classification_loss`, bool, as `Classification` takes it; None where it needs none.

    Classes of outside label sets are related to nothing.

    Raises:
        InputError: if a file is missing, is for other label spaces, or lacks a pair of them.
    """
    if not relation_files(workspace):
        return None
    matrices = [read_relations(workspace, a, b) for a, b in combinations(workspace.names, 2)]
    if workspace.config.lat.head.classification_loss == "class_relational_bce":
        return positive_sets(matrices, workspace.data.joint, workspace.config.relations.threshold)
    return universal_members(matrices, workspace.data.joint)


def read_relations(workspace: Workspace, one: str, other: str) -> RelationMatrix:
    """The relations of two label spaces, in either order, from `relation_file`.

    Raises:
        InputError: if the file is missing, is for other label spaces, or lacks the pair.
    """
    return _read(workspace.paths.relations(one, other), workspace)


def read_relation_content(path: Path) -> dict[str, Any]:
    """The content of a file of `lat relations`, as `RelationMatrix.to_dict` gives it.

    Raises:
        InputError: if the file is damaged.
    """
    remedy = "run `lat relations` again"
    content: dict[str, Any] = read_json(path, _Relations, remedy)
    try:
        RelationMatrix.from_dict(content)
    except InputError as error:
        raise InputError(path, f"{error.where}: {error.what}", remedy) from None
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InputError(path, f"is damaged ({' '.join(str(error).split())[:120]})", remedy) from None
    return content


def require_relations(path: Path) -> Path:
    """The path of a relations file, if it exists.

    Raises:
        InputError: naming the command that writes it, if it does not exist.
    """
    if not path.is_file():
        raise InputError(path, "does not exist yet", "run `lat relations` first: the settings need it")
    return path


def _read(path: Path, workspace: Workspace) -> RelationMatrix:
    """The relations of one file of `lat relations`, or of `relations.file` in its place."""
    if workspace.config.relations.file:
        return _read_reviewed(path, workspace)
    matrix = RelationMatrix.from_dict(read_relation_content(require_relations(path)))
    if any(space != workspace.data.space(space.name) for space in (matrix.first, matrix.second)):
        raise InputError(path, "is for other label spaces", "run `lat relations` again")
    return matrix


def _read_reviewed(path: Path, workspace: Workspace) -> RelationMatrix:
    reviewed, names = _reviewed_file(workspace), path.name.split(".")[:2]
    for matrix in from_yaml(reviewed, [workspace.data.space(name) for name in workspace.names]):
        if {matrix.first.name, matrix.second.name} == set(names):
            return matrix
    remedy = "add it, with `relations: []` if nothing is related"
    raise InputError(reviewed, f"has no pair [{', '.join(names)}]", remedy)


def _reviewed_file(workspace: Workspace) -> Path:
    path = Path(workspace.config.relations.file)
    if not path.is_file():
        raise InputError(path, f"no such relations file{looked_for(path)}", "`lat relations CONFIG --review` writes one")
    return path
