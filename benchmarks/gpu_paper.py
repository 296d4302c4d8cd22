"""One step of every stage of each configuration of the paper, on stand-in images at full size, and what memory it takes.

Of the targets only the first is left, Cityscapes, whose images are the largest, or `city`. Its detector is trained for one step,
those of the other datasets are as they are before. The other downstream detectors are those that the configurations name in their
first lines, each once, with random weights.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from gpu_bench import Bench, mib, rounded
from gpu_data import write_dataset, write_untrained
from markdown import Row
from torchvision.models import resnet50

from lat.config.load import Config, load_config
from lat.core.errors import InputError
from lat.detectors.base import transformers_problem
from lat.detectors.ultralytics.yolo_detector import load_ultralytics
from lat.formats.importers.class_lists import load_class_list
from lat.pipeline.run import run_stages
from lat.street_scenes import SceneSettings, draw_street_scenes
from lat.workspace.steps import Step
from lat.workspace.workspace import Workspace

CONFIGS = Path(__file__).parents[1] / "configs" / "paper"
NAMES = tuple(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
DRAWN = "street_scenes"  # its images are drawn, and its detectors small
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
    *("training.trackers=[]", "upstream.training.learning_rate=0.0001", "lat.training.learning_rate=0.0001"),
    *("downstream.training.learning_rate=0.0001", "lat.backbone.weights=none"),
)
MANY_DETECTIONS = (  # though nothing has been learnt
    *("upstream.model.detection_threshold=0.0", "downstream.model.detection_threshold=0.0"),
    *("pseudo_label.threshold=0.0", "upstream.model.max_detections=50"),
)
TINY = (  # for a test on a CPU
    *("upstream.model.backbone=small", "upstream.model.weights=none", "upstream.model.image_size=0"),
    *("downstream.model.backbone=small", "downstream.model.weights=none", "downstream.model.image_size=0"),
    *("lat.backbone.name=random", "lat.backbone.image_size=28", "runtime.num_workers=0"),
    *("upstream.training.batch_size=2", "lat.training.batch_size=2", "downstream.training.batch_size=2"),
)


def paper_rows(bench: Bench) -> Iterator[Row]:
    """A row per configuration and stage, and one per further downstream detector."""
    seen: list[list[str]] = []
    for name in NAMES:
        folder = bench.folder / name
        settings = _settings(bench, name, folder)
        config = load_config(CONFIGS / f"{name}.yaml", settings)
        _write_data(bench, name, config)
        workspace = Workspace(config)
        for stage in STAGES:
            yield {"configuration": name, "stage": stage, **_measured(bench, workspace, stage)}
            if stage == "train-upstream":
                for other in workspace.names:
                    if other != _target(name):
                        write_untrained(workspace, other)
        for options in further_detectors(name):
            if options in seen:
                continue
            seen.append(options)
            kind = _value(options, "downstream.model.detector")
            row = {"configuration": name, "stage": f"train-downstream {kind}"}
            if problem := _missing(kind):
                yield {**row, "steps": 0, "s": f"not done: {problem}", "peak MiB": "-"}
                continue
            other = load_config(CONFIGS / f"{name}.yaml", [*settings, *_one_step(bench, options)])
            yield {**row, **_measured(bench, Workspace(other), "train-downstream")}
        shutil.rmtree(folder)


def further_detectors(name: str) -> list[list[str]]:
    """The settings of each `lat train-downstream` in the first lines of a configuration."""
    lines = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comments = "\n".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    commands = comments.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[3:] for line in commands if line.startswith(f"lat train-downstream configs/paper/{name}.yaml ")]


def _measured(bench: Bench, workspace: Workspace, stage: str) -> Row:
    with bench.memory() as memory:
        start = time.perf_counter()
        done = run_stages(workspace, [stage], select=partial(_is_measured, workspace), say=_quiet)
        seconds = time.perf_counter() - start
    return {"steps": len(done), "s": rounded(seconds), "peak MiB": mib(memory)}


def _is_measured(workspace: Workspace, step: Step) -> bool:
    """All steps but the trainings of other detectors than the target's."""
    return step.stage != "train-upstream" or step.group in workspace.config.target_names


def _value(options: Sequence[str], key: str) -> str:
    return next(one.split("=", 1)[1] for one in options if one.startswith(f"{key}="))


def _missing(detector: str) -> str | None:
    """Why a detector cannot be built here."""
    if detector != "yolo":
        return transformers_problem()
    try:
        load_ultralytics()
    except InputError:
        return "ultralytics does not import"
    return None


def _one_step(bench: Bench, options: Sequence[str]) -> list[str]:
    """The settings of a further detector for one step, with random weights and a backbone of the same size."""
    kept = [one for one in options if not one.startswith(("downstream.training.steps=", "downstream.model.weights="))]
    kept = ["downstream.model.backbone=resnet50" if one == "downstream.model.backbone=small" else one for one in kept]
    small = ["downstream.model.backbone=small", "downstream.model.image_size=64", "downstream.training.batch_size=2"]
    small += ["downstream.yolo.image_size=64"] if "downstream.model.detector=yolo" in options else []
    return [*kept, "downstream.model.weights=none", "downstream.training.learning_rate=0.0001", *(small if bench.small else [])]


def _settings(bench: Bench, name: str, folder: Path) -> list[str]:
    """One step per training, and random weights in place of ImageNet's, which freeze the same layers."""
    folder.mkdir()
    settings = [*ONE_STEP, f"data_root={folder}", f"output_dir={folder / 'run'}", f"runtime.accelerator={bench.device.type}"]
    settings += [*MANY_DETECTIONS, f"target={_target(name)}"]
    if bench.small:
        return settings + list(TINY)
    if name != DRAWN:
        weights = folder / "resnet50.pt"
        torch.save(resnet50(zero_init_residual=True).state_dict(), weights)
        settings += [f"{section}.model.weights={weights}" for section in ("upstream", "downstream")]
    return settings


def _target(name: str) -> str:
    return "city" if name == DRAWN else "cityscapes"


def _write_data(bench: Bench, name: str, config: Config) -> None:
    """Images, annotations and held-out images of each dataset where the configuration expects them."""
    if name == DRAWN:
        names = [dataset.name for dataset in config.datasets]
        draw_street_scenes(
            Path(config.datasets[0].images).parents[1],
            SceneSettings(train_images=dict.fromkeys(names, IMAGES), val_images=HELD_OUT),
        )
        return
    for seed, dataset in enumerate(config.datasets):
        size_hw = (48, 64) if bench.small else SIZES_HW[dataset.name]
        space, images = load_class_list(dataset.name).space, Path(dataset.images)
        write_dataset(images, {Path(dataset.annotations): IMAGES}, space, size_hw, seed)
        if dataset.validation:
            held_out = Path(dataset.validation_images or dataset.images)
            write_dataset(held_out, {Path(dataset.validation): HELD_OUT}, space, size_hw, 100 + seed)


def _quiet(line: str) -> None:
    """Say nothing."""
