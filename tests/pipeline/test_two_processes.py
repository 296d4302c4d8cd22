"""Whole runs in two processes: the same files as in one, and what happens when one of them ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tiny import FEW_STEPS, draw_tiny, quiet, result_bytes, tiny_workspace

from lat.engine.checkpoint import load_checkpoint
from lat.pipeline.run import run_stages

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("two processes")]  # what all tests share is run once

CHECKPOINT_EVERY = 5
SETTINGS = [
    f"training.checkpoint_every={CHECKPOINT_EVERY}",
    "runtime.images_per_batch=1",
    "pseudo_label.filter.method=class_balanced",
    "transfer.filter.method=class_balanced",
    "downstream.in_run=true",
    "downstream.training.steps=2",
    "downstream.training.batch_size=2",
]
STAGES = ("train-upstream", "pseudo-label", "train-lat", "transfer")
LONGER_STEPS = 14
LONGER = f"lat.training.steps={LONGER_STEPS}"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENDED = str(Path(__file__).parents[1] / "ended_lat.py")


def start(launch: Sequence[str], arguments: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    return subprocess.Popen([*launch, *arguments], env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run_arguments(config: Path, run: Path, *settings: str) -> list[str]:
    return ["run", str(config), *FEW_STEPS, *SETTINGS, f"output_dir={run}", *settings]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration, and the folder of a run in one process up to its transferred labels."""
    folder = tmp_path_factory.mktemp("processes")
    config = draw_tiny(folder)
    run_stages(tiny_workspace(config, folder / "one", *SETTINGS), STAGES, say=quiet)
    return config, folder / "one"


@pytest.fixture(scope="module")
def two(one: tuple[Path, Path]) -> tuple[Path, str]:
    """The folder of the same run in two processes, which does all stages, and what it printed."""
    config, run = one[0], one[0].parent / "two"
    process = start([*TORCHRUN, "-m", "lat"], run_arguments(config, run))
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return run, out


def test_detectors_and_their_labels_are_the_same_bytes(one: tuple[Path, Path], two: tuple[Path, str]) -> None:
    ours, theirs = (
        {name: content for name, content in result_bytes(run).items() if name.startswith(("upstream", "pseudo_labels"))}
        for run in (one[1], two[0])
    )
    assert len(ours) == 3 * 3 + 6 + 9
    assert b'"bbox"' in ours["pseudo_labels/nu.city.json"]
    assert theirs == ours


def test_training_together_matches_training_alone(one: tuple[Path, Path], two: tuple[Path, str]) -> None:
    ours, theirs = (load_checkpoint(run / "lat" / "model.pt", "label_transfer")["model"] for run in (one[1], two[0]))
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=0, atol=1e-6)


def test_transferred_labels_are_the_same_bytes(one: tuple[Path, Path], two: tuple[Path, str], tmp_path: Path) -> None:
    for folder in ("upstream", "pseudo_labels", "lat"):
        shutil.copytree(two[0] / folder, tmp_path / "run" / folder)
    run_stages(tiny_workspace(one[0], tmp_path / "run", *SETTINGS), ["transfer"], say=quiet)
    paths = sorted((two[0] / "transferred").iterdir())
    assert len(paths) == 6
    for path in paths:
        assert (tmp_path / "run" / "transferred" / path.name).read_bytes() == path.read_bytes(), path.name
        assert b'"bbox"' in path.read_bytes()


def test_the_first_process_alone_prints_and_everything_is_up_to_date(one: tuple[Path, Path], two: tuple[Path, str]) -> None:
    run, out = two
    assert out.count("train-lat\n") == out.count("report: ") == 1
    assert all((run / "downstream" / name / "metrics.json").is_file() for name in ("city", "nu", "way"))
    assert run_stages(tiny_workspace(one[0], run, *SETTINGS), say=quiet) == []


def test_a_killed_process_ends_the_run_and_the_next_goes_on(one: tuple[Path, Path], tmp_path: Path) -> None:
    config, run = one[0], tmp_path / "run"
    shutil.copytree(one[1], run)
    checkpoint = run / "lat" / "checkpoint.pt"

    killed = start([*TORCHRUN, ENDED, "lat/checkpoint.pt", "sibling"], run_arguments(config, run, LONGER))
    _, err = killed.communicate(timeout=300)
    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL) received" in err
    assert load_checkpoint(checkpoint, "training_run")["step"] == CHECKPOINT_EVERY

    stopped = start([*TORCHRUN, ENDED, "a line of the log", "torchrun"], run_arguments(config, run, LONGER))
    _, err = stopped.communicate(timeout=300)
    assert stopped.returncode != 0
    assert CHECKPOINT_EVERY < load_checkpoint(checkpoint, "training_run")["step"] < 2 * CHECKPOINT_EVERY, err

    shutil.copytree(one[1], tmp_path / "undisturbed")
    for folder in (run, tmp_path / "undisturbed"):
        run_stages(tiny_workspace(config, folder, *SETTINGS, LONGER), ["train-lat"], say=quiet)
    models = [tmp_path / name / "lat" / "model.pt" for name in ("run", "undisturbed")]
    ours, theirs = (load_checkpoint(path, "label_transfer")["model"] for path in models)
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=0, atol=1e-4)
