"""Commands that need no network on a device start without torch, and so do the modules that they are made of."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LIGHT = (
    *("lat.cli", "lat.config", "lat.labels", "lat.formats", "lat.street_scenes"),
    *("lat.data.dataset", "lat.data.dataset_check", "lat.data.label_sets"),
    *("lat.evaluation.label_figures", "lat.engine.announce", "lat.engine.progress", "lat.core.files", "lat.core.lazy_table"),
    *("lat.commands.export", "lat.commands.import_dataset", "lat.commands.import_corrections", "lat.commands.apply_review"),
    *("lat.commands.draw_street_scenes", "lat.commands.doctor", "lat.commands.evaluate_files"),
    *("lat.commands.check", "lat.commands.init", "lat.commands.compare", "lat.report.comparison"),
)
"""Modules, and packages with all their modules, that import no torch."""


@pytest.fixture
def startup(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, whose tiny uses of commands are those of this test."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("startup")


def told_in_one_process(commands: Sequence[Sequence[str]], folder: Path, heavy: Sequence[str]) -> tuple[list[str], str]:
    """Run commands one after the other; returns of each its exit status and what is imported by then, and standard error."""
    code = f"""
import contextlib, io, json, sys
from lat.cli import main
for arguments in json.loads(sys.argv[1]):
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main(arguments)
    except SystemExit as ended:
        print(ended.code or 0, *(name for name in {tuple(heavy)} if name in sys.modules))
"""
    command = [sys.executable, "-c", code, json.dumps(commands)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), done.stderr


def test_no_command_that_needs_no_network_imports_torch(startup: ModuleType, tmp_path: Path) -> None:
    startup.write_inputs(tmp_path)
    told, errors = told_in_one_process(list(startup.USES.values()), tmp_path, startup.HEAVY)
    assert dict(zip(startup.USES, told, strict=True)) == dict.fromkeys(startup.USES, "0"), errors


def test_a_torch_that_was_imported_is_told(startup: ModuleType, tmp_path: Path) -> None:
    imported = startup.run(["doctor"], tmp_path).split()
    assert imported[0] == "torch"
    assert "lightning_fabric" not in imported, "which takes as long as torch again"


def test_modules_import_no_torch(startup: ModuleType) -> None:
    modules = [module for name in LIGHT for module in modules_of(name)]
    code = f"import importlib, sys\nfor name in {modules}:\n    importlib.import_module(name)\n"
    code += f"print(*(name for name in {startup.HEAVY} if name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def modules_of(name: str) -> list[str]:
    """A module, and if it is a package all modules in it; tables of the command line print what networks have found."""
    path = getattr(importlib.import_module(name), "__path__", None)
    found = [] if path is None else [module.name for module in pkgutil.walk_packages(path, f"{name}.")]
    return [name, *(module for module in found if not module.startswith("lat.cli.tables."))]


def test_doctor_describes_the_machine_before_it_imports_torch() -> None:
    code = "import sys\nfrom pathlib import Path\nfrom lat.commands.doctor import describe_machine\n"
    code += "facts = describe_machine(Path('.'))\nprint(facts['torch'], 'torch' in sys.modules)"
    version, is_imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert version.split(".")[0].isdigit()
    assert is_imported == "False"


def test_wrong_settings_are_told_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("datasets: 5", encoding="utf-8")
    further = {"label": ["--model", "owlv2"], "work": ["--shard", "0/2"], "export": ["--to", "coco", "--out", "there"]}
    names = ["run", "transfer", "relations", "conventions", "ask", "label", "work", "export"]
    told, errors = told_in_one_process([[name, "c.yaml", *further.get(name, [])] for name in names], tmp_path, ["torch"])
    assert dict(zip(names, told, strict=True)) == dict.fromkeys(names, "2"), errors
    assert errors.count("'datasets' is '5', not a list") == len(names)
