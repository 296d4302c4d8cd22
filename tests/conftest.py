"""Fixtures of whole runs. Its place puts this folder on the import path: any test can say `from factories import coco_dict`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copied(finished: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The configuration and a copy of the run that the module's fixture `finished` has made, to be changed at will."""
    config, run = finished
    shutil.copytree(run, tmp_path / "run")
    return config, tmp_path / "run"
