"""Who may import whom; imports inside functions count too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lat

ROOT = Path(lat.__file__).parent
LABELS = {"core", "labels"}
DATA = LABELS | {"data", "formats", "street_scenes"}
NETWORKS = {"detectors", "models", "relations"}
RESULTS = {"labelling", "baselines", "evaluation"}
BELOW = DATA | NETWORKS | RESULTS | {"engine", "report"}
ALLOWED = {
    "core": set(),
    "labels": {"core"},  # of it, only `WITHOUT_TORCH`
    "data": LABELS,
    "formats": LABELS | {"data"},
    "street_scenes": LABELS,
    "detectors": DATA,
    "models": DATA,
    "relations": DATA,
    "labelling": DATA | NETWORKS,
    "evaluation": DATA | NETWORKS,
    "baselines": DATA | NETWORKS | {"evaluation"},
    "engine": {"core"},
    "report": DATA | {"evaluation"},
    "detectron2": DATA | {"models", "labelling"},
    "config": BELOW,
    "workspace": BELOW | {"config"},
    "stages": BELOW | {"config", "workspace"},
    "commands": BELOW | {"config", "workspace"},
    "pipeline": {"core", "detectors", "engine", "config", "workspace", "stages"},
    "api": {"core", "labels", "engine", "config", "workspace", "pipeline"},
    "cli": BELOW | {"config", "workspace", "stages", "pipeline", "commands"},
    "__main__": {"cli"},
}
WITHOUT_TORCH = {"errors", "files", "label_space", "origin"}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(source: str) -> set[str]:
    """Every module of ours that the source imports, anywhere; `from lat.a import b` counts as lat.a and lat.a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("lat.")}


def package_of(module: str) -> str:
    return module.split(".")[1]


def forbidden(importer: str, source: str) -> set[str]:
    own = package_of(importer)
    packages = {package_of(name) for name in imported_modules(source)} - {own, "__version__"}
    return packages - ALLOWED[own]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_follow_the_architecture(path: Path) -> None:
    assert forbidden(module_of(path), path.read_text(encoding="utf-8")) == set()


def test_a_forbidden_import_inside_a_function_is_found() -> None:
    source = "def f():\n    from lat.detectors import base\n    import lat.stages.transfer.transfer\n"
    assert forbidden("lat.models.feature_fusion", source) == {"detectors", "stages"}


def test_no_module_imports_itself_through_others() -> None:
    names = {module_of(path) for path in FILES}
    graph = {module_of(path): imported_modules(path.read_text(encoding="utf-8")) & names for path in FILES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for imported in sorted(graph[module]):
                visit(imported, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
