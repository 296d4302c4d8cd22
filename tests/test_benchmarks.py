"""Every benchmark can be started: what it imports is there."""

from __future__ import annotations

import ast
import runpy
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torchvision.ops import box_iou

from lat.config.load import load_config
from lat.data.dataset import load_dataset
from lat.detectors.detector_settings import DetectorSettings

FOLDER = Path(__file__).parents[1] / "benchmarks"


def has_main(path: Path) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in ast.parse(path.read_text()).body)


SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if has_main(path))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_tells_what_it_does(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code in (0, None)
    assert f"python benchmarks/{path.name}" in capsys.readouterr().out


def test_there_are_benchmarks() -> None:
    assert len(SCRIPTS) > 10


def test_the_stand_in_finds_what_was_annotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    stand_in = import_module("stand_in_run")
    settings = load_config(stand_in.write_run(tmp_path, 40)).datasets[3]
    part, _ = load_dataset(settings)
    detector = stand_in.StandInDetector(DetectorSettings(), part.space, load_weights=False)
    images = [part.image(i) for i in range(len(part))]
    found = detector.predict(images)
    again = detector.predict(images[::-1])[::-1]
    assert all(torch.equal(one.boxes_xyxy, other.boxes_xyxy) for one, other in zip(found, again, strict=True))
    overlaps = torch.cat(
        [box_iou(one.boxes_xyxy, part.boxes(i).boxes_xyxy).max(dim=1).values for i, one in enumerate(found) if len(one)]
    )
    assert len(overlaps) > 4 * len(part)
    assert (overlaps > 0.5).float().mean() > 0.9
