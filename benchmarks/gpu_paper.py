"""One step of every stage of each configuration of the paper, on stand-in images at full size, and what memory it takes.

Of the targets only Cityscapes is left, whose images are the largest; the detectors of all datasets are trained.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from gpu_bench import Bench, mib, rounded
from gpu_data import write_dataset
from markdown import Row
from torchvision.models import resnet50

from lat.config.load import Config, load_config
from lat.formats.importers.class_lists import load_class_list
from lat.pipeline.run import run_stages
from lat.workspace.workspace import Workspace

CONFIGS = Path(__file__).parents[1] / "configs" / "paper"
NAMES = ("small_large", "class_divergent", "one_to_one")
STAGES = ("train-upstream", "pseudo-label", "train-lat", "transfer", "train-downstream")
SIZES_HW = {  # of the datasets' images
    "cityscapes": (1024, 2048),
    "acdc": (1080, 1920),
    "bdd100k": (720, 1280),
    "shift": (800, 1280),
    "nuimages": (900, 1600),
    "waymo": (1280, 1920),
    "synscapes": (720, 1440),
}
IMAGES, HELD_OUT = 4, 1
ONE_STEP = (
    *("upstream.training.steps=1", "lat.training.steps=1", "downstream.training.steps=1"),
    *("target=cityscapes", "training.tensorboard=false"),
)
MANY_DETECTIONS = (  # though nothing has been learnt
    *("upstream.model.detection_threshold=0.0", "downstream.model.detection_threshold=0.0"),
    *("pseudo_label.threshold=0.0", "pseudo_label.max_detections=50"),
)
TINY = (  # for a test on a CPU
    *("upstream.model.backbone=small", "upstream.model.weights=none", "upstream.model.image_size=0"),
    *("downstream.model.backbone=small", "downstream.model.weights=none", "downstream.model.image_size=0"),
    *("lat.backbone.name=dinov2_vits14", "lat.backbone.image_size=28", "runtime.num_workers=0"),
    *("upstream.training.batch_size=2", "lat.training.batch_size=2", "downstream.training.batch_size=2"),
)


def paper_rows(bench: Bench) -> Iterator[Row]:
    """A row per configuration and stage; where all is small, of one configuration."""
    for name in NAMES[-1:] if bench.small else NAMES:
        folder = bench.folder / name
        config = _config(bench, name, folder)
        _write_data(bench, config)
        workspace = Workspace(config)
        for stage in STAGES:
            with bench.memory() as memory:
                start = time.perf_counter()
                done = run_stages(workspace, [stage], say=_quiet)
                seconds = time.perf_counter() - start
            yield {"configuration": name, "stage": stage, "steps": len(done), "s": rounded(seconds), "peak MiB": mib(memory)}
        shutil.rmtree(folder)


def _config(bench: Bench, name: str, folder: Path) -> Config:
    """The configuration with one step per training, and random weights in place of ImageNet's, which freeze the same layers."""
    folder.mkdir()
    settings = [*ONE_STEP, f"data_root={folder}", f"output_dir={folder / 'run'}", f"runtime.accelerator={bench.device.type}"]
    settings += [*MANY_DETECTIONS, "lat.backbone.weights=none", "lat.training.learning_rate=0.0001"]
    if bench.small:
        settings += TINY
    else:
        weights = folder / "resnet50.pt"
        torch.save(resnet50(zero_init_residual=True).state_dict(), weights)
        for section in ("upstream", "downstream"):
            settings += [f"{section}.model.weights={weights}", f"{section}.training.learning_rate=0.0001"]
    return load_config(CONFIGS / f"{name}.yaml", settings)


def _write_data(bench: Bench, config: Config) -> None:
    """Images, annotations and held-out images of each dataset where the configuration expects them."""
    for seed, dataset in enumerate(config.datasets):
        size_hw = (48, 64) if bench.small else SIZES_HW[dataset.name]
        space, images = load_class_list(dataset.name).space, Path(dataset.images)
        write_dataset(images, {Path(dataset.annotations): IMAGES}, space, size_hw, seed)
        if dataset.validation:
            held_out = Path(dataset.validation_images or dataset.images)
            write_dataset(held_out, {Path(dataset.validation): HELD_OUT}, space, size_hw, 100 + seed)


def _quiet(line: str) -> None:
    """Say nothing."""
