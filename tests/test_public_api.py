"""Nothing private of another library is used: it may change with any release."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

LIBRARIES = ("torch", "torchvision", "transformers", "timm", "detectron2", "ultralytics", "omegaconf", "lightning_fabric")
PRIVATE = {"_get_node", "_shared_roi_transform", "_subsample_labels", "_foreach_copy_"}  # reached from objects of theirs
MODULES = sorted((Path(__file__).parents[1] / "lat").rglob("*.py"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            found += [name for name in (*(node.module or "").split("."), *(one.name for one in node.names)) if is_private(name)]
        elif isinstance(node, ast.Import):
            names = [one.name for one in node.names if one.name.split(".")[0] in LIBRARIES]
            found += [part for name in names for part in name.split(".") if is_private(part)]
        elif isinstance(node, ast.Attribute):
            of_library = isinstance(node.value, ast.Name) and node.value.id in LIBRARIES and is_private(node.attr)
            found += [node.attr] if of_library or node.attr in PRIVATE else []
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(MODULES[0].parents[0])))
def test_no_module_uses_a_private_name_of_a_library(path: Path) -> None:
    assert private_names(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_private_names_are_found() -> None:
    code = (
        "from torchvision.models.detection._utils import BoxCoder\nimport torch\ntorch._foreach_copy_([], [])\nx._get_node('a')"
    )
    assert private_names(ast.parse(code)) == ["_utils", "_foreach_copy_", "_get_node"]
