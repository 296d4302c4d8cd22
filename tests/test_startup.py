"""Commands that need no network on a device start without torch, and so do the modules that they are made of."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
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


@pytest.mark.parametrize(
    "name",
    [
        *("schema", "init", "check"),
        *("--version", "--help", "import", "import --labels", "export", "review apply", "evaluate --truth --labels"),
        "compare",
    ],
)
def test_a_command_that_needs_no_network_imports_no_torch(name: str, startup: ModuleType, tmp_path: Path) -> None:
    startup.write_inputs(tmp_path)
    assert startup.run(startup.USES[name], tmp_path) == ""


def test_every_use_is_tested_and_a_torch_that_was_imported_is_told(startup: ModuleType, tmp_path: Path) -> None:
    tested = test_a_command_that_needs_no_network_imports_no_torch.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert set(tested) == set(startup.USES)
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


@pytest.mark.parametrize("command", ["run", "transfer", "relations", "conventions", "ask", "label", "work", "export"])
def test_wrong_settings_are_told_before_torch_is_imported(command: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("datasets: 5", encoding="utf-8")
    further = {"label": ["--model", "owlv2"], "work": ["--shard", "0/2"], "export": ["--to", "coco", "--out", "there"]}.get(
        command, []
    )
    code = "import sys; from lat.cli.app import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    called = [sys.executable, "-c", code, command, str(tmp_path / "c.yaml"), *further]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
    assert "'datasets' is '5', not a list" in done.stderr
