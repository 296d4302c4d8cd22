"""Transfer AP on real images with a second protocol derived from a careful one, over several seeds.

    python benchmarks/degraded_protocol.py [key=value ...] --data FOLDER [--seeds 0 1 2] [--degradations NAME ...] [--json FILE]

FOLDER contains bloodcell_aslan/ as for configs/blood.yaml: 100 blood cell images, annotated completely and tightly. Real datasets
are rarely annotated twice, so there is no truth to score transferred labels against. Here a random half of the images keeps its
annotation (dataset `target`; a fifth of it held out), and the annotation of the other half is degraded (dataset `source`): boxes
loosened, shifted or left out, classes merged or renamed, by amounts that differ between classes (see `degradations.py`). The
original annotation of the source is the truth. No number of a degradation was tuned to a result.

Red and white cells alone would be too easy to tell apart. So red cells cut off by the image, with a box within 2 pixels of a
border, are a separate class `rbc_cut` in target and truth: about half of all red cells, by a rule visible in the image, like the
rules of real protocols for truncated objects. `merged` makes one class `cell` of all three.

The target's upstream detector is trained once per seed. Runs are kept under --out; up-to-date steps are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from degradations import DEGRADATIONS, degrade, with_cut_cells
from markdown import print_rows, spread

from lat.config.load import load_config
from lat.config.places import seen_from
from lat.core.files import write_atomically
from lat.data.tensors import boxes_per_image
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_labels
from lat.labels.table import LabelTable
from lat.pipeline.run import run_stages
from lat.stages.evaluate import TRANSFER_METHODS
from lat.workspace.workspace import Workspace

BASELINES = ("class_names", "pseudo_label", "union", "union_averaged")
STAGES = ("train-upstream", "pseudo-label", "train-lat", "transfer", "evaluate")
SETTINGS = {
    "upstream": {"model": {"image_size": 256}, "training": {"steps": 300, "batch_size": 4}},  # a minute on one core per detector
    # the target's detector is the same for every degradation; 600 steps see each image fifty times
    "lat": {"backbone": {"upstream_dataset": "target"}, "training": {"steps": 600}},
    "rounds": {"count": 0},  # unless overridden
}


def main() -> None:
    """Print a row per degradation: AP / AP50 of each method, mean and spread over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bloodcell_aslan/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--degradations", nargs="+", choices=list(DEGRADATIONS), default=list(DEGRADATIONS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_degraded_protocol"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    evaluations: dict[str, list[dict[str, Any]]] = {name: [] for name in options.degradations}
    for seed in options.seeds:
        folder = options.out / f"seed_{seed}"
        target_run = train_target(folder, options.data / "bloodcell_aslan", seed, options.overrides)
        for name in options.degradations:
            evaluations[name].append(run_degradation(folder, name, target_run, options.overrides))
    print_rows("degraded_protocol", [summarise(name, runs) for name, runs in evaluations.items()], options.json)


def train_target(folder: Path, data: Path, seed: int, overrides: list[str]) -> Path:
    """Write the datasets of one seed and train the target's upstream detector; return the folder of that run."""
    draw_datasets(folder, data, seed)
    target_run = folder / "target_run"
    workspace = Workspace(load_config(config_path(folder, "control"), [*overrides, f"output_dir={target_run}"]))
    run_stages(workspace, ["train-upstream"], select=lambda step: step.group == "target")
    return target_run


def draw_datasets(folder: Path, data: Path, seed: int) -> None:
    """Write target, truth, and a source and configuration per degradation."""
    table = with_cut_cells(read_labels(data / "annotations.json", "careful"), "target")
    order = np.random.default_rng(seed).permutation(len(table))
    half = len(table) // 2
    held_out, training, source = order[: half // 5], order[half // 5 : half], table.select(order[half:])
    _write_careful(folder / "val.json", table.select(held_out))
    _write_careful(folder / "train.json", table.select(training))
    _write_careful(folder / "truth.json", source)
    for name, degradation in DEGRADATIONS.items():
        config = config_path(folder, name)
        boxes = degrade(source, degradation, "source", seed)
        write_labels(config.with_name("source.json"), source, degradation.space("source"), boxes, info={"degradation": name})
        settings = seen_from(config.parent, _configuration(folder, config, data / "images", seed))
        write_atomically(config, yaml.safe_dump(settings, sort_keys=False))


def config_path(folder: Path, name: str) -> Path:
    """The configuration of one degradation."""
    return folder / name.replace(", ", "_") / "config.yaml"


def _write_careful(path: Path, table: LabelTable) -> None:
    write_labels(path, table, table.space, boxes_per_image(table), info={"degradation": "none"})


def _configuration(folder: Path, config: Path, images: Path, seed: int) -> dict[str, Any]:
    target = {"name": "target", "annotations": str(folder / "train.json"), "validation": str(folder / "val.json")}
    source = {"name": "source", "annotations": str(config.with_name("source.json"))}
    return {
        "output_dir": str(config.with_name("run")),
        "seed": seed,
        "target": "target",
        "datasets": [
            {**target, "images": str(images)},
            {**source, "images": str(images), "truth": {"target": str(folder / "truth.json")}},
        ],
        **SETTINGS,
    }


def run_degradation(folder: Path, name: str, target_run: Path, overrides: list[str]) -> dict[str, Any]:
    """Run one degradation with the target's detector of `target_run`; return its figures by method."""
    workspace = Workspace(load_config(config_path(folder, name), overrides))
    record = Path(".state", "train-upstream.target.json")
    shutil.copytree(target_run / "upstream", workspace.paths.root / "upstream", dirs_exist_ok=True)
    (workspace.paths.root / ".state").mkdir(exist_ok=True)
    shutil.copy2(target_run / record, workspace.paths.root / record)
    run_stages(workspace, STAGES)
    rows = json.loads(workspace.paths.evaluation.read_text(encoding="utf-8"))["transfer"]
    return {row["method"]: row for row in rows}


def summarise(name: str, runs: list[dict[str, Any]]) -> dict[str, str]:
    """The row of one degradation."""
    row = {"source's protocol": name}
    for method in TRANSFER_METHODS:
        row[method] = " / ".join(spread([run[method][key] for run in runs]) for key in ("ap", "ap50"))
    for method in (method for method in TRANSFER_METHODS if method not in BASELINES):
        gains = [run[method]["ap"] - max(run[baseline]["ap"] for baseline in BASELINES) for run in runs]
        row[f"{method} - best other"] = spread(gains)
    return row


if __name__ == "__main__":
    main()
