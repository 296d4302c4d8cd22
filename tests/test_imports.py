"""Who may import whom; imports inside functions count too."""

from __future__ import annotations

import ast
import re
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
    "commands": BELOW | {"config", "workspace", "stages"},
    "pipeline": {"core", "engine", "config", "workspace", "stages"},
    "api": {"core", "labels", "engine", "config", "workspace", "pipeline", "commands"},
    "cli": {"core", "engine", "config", "workspace", "pipeline", "commands", "formats"},  # of formats, only `FACES`
    "cli.tables": {"core", "labels", "formats", "relations", "commands"},
    "__main__": {"cli"},
}
WITHOUT_TORCH = {"lat.core.errors", "lat.core.files", "lat.core.label_space", "lat.core.origin"}
WITHOUT_TORCH |= {"lat.core.file_cache", "lat.core.remote", "lat.core.regular_files", "lat.core.documents", "lat.core.collector"}
FACES = {"lat.formats.importers", "lat.formats.exports", "lat.formats.corrections"}  # the tables of formats
LAZY = re.compile(r"(lat(?:\.\w+)+):\w+")  # an entry of a `LazyTable`
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(source: str) -> set[str]:
    """Every module of ours that the source imports, anywhere; `from lat.a import b` counts as lat.a and lat.a.b.

    Entries of lazy tables count as well.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (entry := LAZY.fullmatch(node.value)):
            found.add(entry.group(1))
    return {name for name in found if name.startswith("lat.")}


def package_of(module: str) -> str:
    return module.split(".")[1]


def forbidden(importer: str, source: str) -> set[str]:
    own = package_of(importer)
    row = "cli.tables" if importer.startswith("lat.cli.tables") else own
    packages = {package_of(name) for name in imported_modules(source)} - {own, "__version__"}
    return packages - ALLOWED[row]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_follow_the_architecture(path: Path) -> None:
    assert forbidden(module_of(path), path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("path", [path for path in FILES if package_of(module_of(path)) == "labels"], ids=module_of)
def test_labels_need_no_torch(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    modules = {name for name in imported_modules(source) if name.startswith("lat.core.")}
    assert {name for name in modules if name.count(".") == 2} <= WITHOUT_TORCH
    assert not {alias for alias in imported_names(source) if alias.split(".")[0].startswith(("torch", "lightning", "timm"))}


def imported_names(source: str) -> set[str]:
    """Every module that the source imports, anywhere."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("path", [path for path in FILES if module_of(path).startswith("lat.cli.")], ids=module_of)
def test_the_command_line_knows_of_formats_only_what_there_are(path: Path) -> None:
    if module_of(path).startswith("lat.cli.tables"):
        pytest.skip("tables print types of formats")
    modules = {name for name in imported_modules(path.read_text(encoding="utf-8")) if name.startswith("lat.formats.")}
    assert modules <= FACES


def test_an_entry_of_a_lazy_table_is_an_import() -> None:
    assert forbidden("lat.models.heads", 'TABLE = LazyTable({"a": "lat.detectors.base:Detector"})') == {"detectors"}


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
