"""Worker processes read images; the frozen backbone runs in the main process alone, as it must on a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from tiny import draw_tiny, quiet, tiny_workspace
from torch import Tensor

from lat.models.backbones.frozen import FrozenBackbone
from lat.pipeline.run import run_stages
from lat.stages.shared.transfer_model import TransferItems, open_features

UNCACHED = ("lat.backbone.name=random", "lat.backbone.cache=none", "runtime.num_workers=2")
BEFORE_TRANSFER = ("train-upstream", "pseudo-label", "train-lat")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_tiny(tmp_path_factory.mktemp("workers"))


def test_the_backbone_runs_in_the_main_process_once_per_batch(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, original = tmp_path / "calls", FrozenBackbone.feature_maps

    def watched(self: FrozenBackbone, images: Tensor, dtype: torch.dtype) -> Tensor:
        with calls.open("a") as lines:  # a file, which other processes share
            lines.write(f"{os.getpid()} {len(images)}\n")
        return original(self, images, dtype)

    monkeypatch.setattr(FrozenBackbone, "feature_maps", watched)
    workspace = tiny_workspace(config, tmp_path / "run", *UNCACHED)
    run_stages(workspace, BEFORE_TRANSFER, say=quiet)
    processes, sizes = zip(*(line.split() for line in calls.read_text().splitlines()), strict=True)
    assert set(processes) == {str(os.getpid())}
    training = workspace.config.lat.training
    assert sizes == (str(training.batch_size),) * training.steps


def test_what_workers_read_becomes_the_map_that_is_computed_from_the_image(config: Path, tmp_path: Path) -> None:
    workspace = tiny_workspace(config, tmp_path / "run", *UNCACHED)
    run_stages(workspace, BEFORE_TRANSFER[:2], say=quiet)
    features = open_features(workspace)
    items = TransferItems(workspace, features, workspace.names)
    images, _ = items.collate([items.item(i, torch.Generator().manual_seed(i)) for i in range(len(items))])
    assert {image.features.dtype for image in images} == {torch.uint8}
    for flip in (False, True):
        (completed,) = features.complete([features.load("city", 0, flip)])
        torch.testing.assert_close(completed, features.get("city", 0, flip), rtol=0, atol=0)
