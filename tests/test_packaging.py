"""Wheel and sdist hold the whole package, and the wheel works where the source tree is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from oldest_versions import declared, oldest

import lat

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, f'build_{sys.argv[1]}')(sys.argv[2])"


def run(command: list[str], cwd: Path) -> str:
    """What a command prints, run without the source tree on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def build(kind: str, tree: Path, out: Path) -> Path:
    """Build a `wheel` or an `sdist` of a tree as pip does, but without a network: setuptools is that of this environment."""
    run([sys.executable, "-c", BUILD, kind, str(out)], cwd=tree)
    (built,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("sdist")
    tree = folder / "tree"
    shutil.copytree(ROOT / "lat", tree / "lat", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    return build("sdist", tree, folder)


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    return build("wheel", sdist.parent / "tree", sdist.parent)


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    files = [path for path in (ROOT / "lat").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}
    packed = {name: content for name, content in contents(wheel).items() if ".dist-info/" not in name}
    assert packed.keys() == expected.keys(), "see packages and package_data in setup.py"
    assert packed == expected


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    again = build("wheel", tree, tmp_path)
    assert again.name == wheel.name
    assert contents(again) == contents(wheel)


def test_the_wheel_works_without_the_source_tree(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", str(venv)], cwd=tmp_path)
    python = str(venv / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    run([*pip, str(wheel)], cwd=tmp_path)
    (packages,) = venv.glob("lib/python*/site-packages")
    # Dependencies are those of this environment. Its own .pth files, which lead to an editable `lat`, are not read from here.
    (packages / "dependencies.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n")
    where = run([python, "-c", "import lat; print(lat.__file__)"], cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(packages)
    script = str(venv / "bin" / "lat")
    assert run([script, "--version"], cwd=tmp_path).strip() == lat.__version__
    assert "train-upstream" in run([script, "--help"], cwd=tmp_path)


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    assert oldest(["numpy>=1.26", "omegaconf>=2.3,<2.4"]) == ["numpy==1.26", "omegaconf==2.3"]
    with pytest.raises(ValueError, match="torch: needs one lower bound"):
        oldest(["torch"])
    names = {pin.partition("==")[0] for pin in oldest(declared())}
    assert {"torch", "numpy", "pandas", "pyarrow", "transformers"} <= names
