"""A whole run in a few seconds: three datasets of a handful of street scenes, a few steps of training each."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from lat.commands.draw_street_scenes import benchmark_config
from lat.config.load import load_config
from lat.core.structures import LabeledBoxes
from lat.labels.coco.write import write_labels
from lat.street_scenes import SceneSettings, draw_street_scenes
from lat.workspace.workspace import Workspace

FEW_STEPS = [
    "upstream.training.steps=4",
    "upstream.training.batch_size=2",
    "training.checkpoint_every=1",
    "upstream.model.max_detections=10",
    "pseudo_label.threshold=0.05",
    "pseudo_label.max_detections=5",
    "lat.training.steps=6",
    "lat.training.batch_size=2",
    "training.checkpoint_every=1",
    "training.log_every=2",
    "lat.head.dim=16",
    "lat.head.pooled_size=3",
    "transfer.decode.written_threshold=0.0",
    "transfer.decode.max_detections=10",
]
DATASETS = ("city", "nu", "way")
PAIRS = [(s, t) for s in DATASETS for t in DATASETS if s != t]


OTHERS = {".state", ".work", "tensorboard", "wandb", "mlflow", "trackers.json", "config.yaml"}


def quiet(line: str) -> None:
    """Swallow progress."""


def draw_tiny(folder: Path, images: int = 3) -> Path:
    """Draw so many images per dataset and write a configuration that trains a few steps; returns its path."""
    draw_street_scenes(
        folder / "data", SceneSettings(train_images=dict.fromkeys(DATASETS, images), val_images=1, annotators="exact")
    )
    path = folder / "config.yaml"
    path.write_text(benchmark_config(str(folder / "data"), str(folder / "run")), encoding="utf-8")
    return path


def tiny_workspace(config: Path, output_dir: Path | str, *overrides: str) -> Workspace:
    return Workspace(load_config(config, [*FEW_STEPS, f"output_dir={output_dir}", *overrides]))


def labelled_workspace(config: Path, output_dir: Path, scores: Mapping[str, float]) -> Workspace:
    """A run towards city whose transferred labels are one truck per image, of one score in each source."""
    workspace = tiny_workspace(config, output_dir, "target=city")
    space = workspace.data.space("city")
    for source, score in scores.items():
        images = workspace.data.train_part(source).labels
        box = LabeledBoxes(torch.tensor([[1.0, 2, 11, 22]]), torch.tensor([1]), space, torch.tensor([score]))
        write_labels(workspace.paths.transferred(source, "city"), images, space, [box] * len(images), info={})
    return workspace


def result_bytes(output_dir: Path) -> dict[str, bytes]:
    """Every result of a run by relative path: all but trackers' time-stamped figures, shards and the records of the run.

    The way from the report to the images is left out, for it depends on where the run lies.
    """
    return {
        str(path.relative_to(output_dir)): re.sub(rb'"folder":"[^"]*"', b"", path.read_bytes())
        for path in sorted(output_dir.rglob("*"))
        if path.is_file() and OTHERS.isdisjoint(path.parts)
    }


def kill_when_there(config: Path, run: Path, file: Path, *settings: str) -> None:
    """Run in another process, and kill it as soon as `file` is there."""
    kill_when(config, run, file.exists, *settings)


def kill_when(config: Path, run: Path | str, is_time: Callable[[], bool], *settings: str, seconds: float = 300) -> None:
    """Run in another process, and kill it as soon as it is time, or after so many seconds."""
    command = [sys.executable, "-m", "lat", "run", str(config), *FEW_STEPS, f"output_dir={run}", *settings]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + seconds
    while not is_time() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "killed before it was done"
