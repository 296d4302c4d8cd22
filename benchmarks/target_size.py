"""How many target images it takes: transfer AP by the number of the target's training images, as a curve.

    python benchmarks/target_size.py [--images 10 20 40 80 160] [--data FOLDER] [--seeds 0 1] [--difficulty easy]
                                     [--out FOLDER] [--json FILE] [key=value ...]

Street scenes drawn with real annotators, the target being `city` and the others whole; with --data, in their place, the blood
cells of configs/blood_twice.yaml in FOLDER (see benchmarks/annotated_twice.py), of whose target some training images are kept,
drawn by seed: fewer images are part of more. Held-out images and truth are the same in every row; what does not depend on the
target's images, the sources' detectors and the labels in their spaces, is taken from the row before. A number that the target
does not have counts as all of its images. Runs are kept under --out; up-to-date steps are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import yaml
from annotated_twice import CONFIG
from markdown import Row, print_rows, spread

from lat.commands.draw_street_scenes import draw_benchmark
from lat.config.load import load_config
from lat.config.places import seen_from
from lat.core.files import write_atomically
from lat.data.tensors import boxes_per_image
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_labels
from lat.pipeline.run import run_stages
from lat.street_scenes import DEFAULT_TRAIN_IMAGES
from lat.workspace.workspace import Workspace

TARGET = "city"
STAGES = ["train-upstream", "pseudo-label", "train-lat", "transfer", "evaluate"]

Evaluation = list[dict[str, Any]]


def main() -> None:
    """Print a row per number of images and data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10, 20, 40, 80, 160], help="training images of the target")
    parser.add_argument("--data", type=Path, default=None, help="folder with source/ and target/ of blood cells")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--difficulty", choices=["easy", "hard"], default="easy")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_target_size"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()

    def street_scenes(count: int, seed: int) -> Path:
        folder = options.out / f"{options.difficulty}_{count}_{seed}"
        sizes = {**DEFAULT_TRAIN_IMAGES, TARGET: count}
        return draw_benchmark(folder, difficulty=options.difficulty, seed=seed, train_images=sizes, annotators="real")

    def blood(count: int, seed: int) -> Path:
        return blood_config(options.out / f"blood_{count}_{seed}", options.data, count, seed)

    target, make = (TARGET, street_scenes) if options.data is None else ("cells", blood)
    rows: list[Row] = []
    before = dict.fromkeys(options.seeds, Path())
    for count in options.images:
        runs = []
        for seed in options.seeds:
            workspace = Workspace(load_config(make(count, seed), [*options.overrides, f"target={target}"]))
            take_over(before[seed], workspace.paths.root)
            before[seed] = workspace.paths.root
            runs.append(evaluated(workspace))
        rows.append(row_of(count, runs))
    print_rows("target_size", rows, options.json)


def blood_config(folder: Path, data: Path, count: int, seed: int) -> Path:
    """Write the configuration of a run whose target has so many training images, and their labels."""
    settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    table = read_labels(data / "target" / "train.json", "cells")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(table))[:count])
    part = table.select(chosen)
    write_labels(folder / "train.json", part, part.space, boxes_per_image(part), info={"images": len(part)})
    settings |= {"output_dir": str(folder / "run"), "data_root": str(data.resolve()), "seed": seed}
    settings["datasets"][0]["annotations"] = str(folder / "train.json")
    path = folder / "blood.yaml"
    write_atomically(path, yaml.safe_dump(seen_from(folder, settings), sort_keys=False))
    return path


def take_over(done: Path, run: Path) -> None:
    """Copy the detectors and their labels of a finished run into a new one, which does again what differs."""
    if done != Path() and not run.exists():
        for part in ("upstream", "pseudo_labels", ".state"):
            shutil.copytree(done / part, run / part)


def evaluated(workspace: Workspace) -> Evaluation:
    """Transfer AP of every direction and method of one run."""
    run_stages(workspace, STAGES)
    rows: Evaluation = json.loads(workspace.paths.evaluation.read_text(encoding="utf-8"))["transfer"]
    return rows


def row_of(count: int, runs: Sequence[Evaluation]) -> Row:
    """One point of a curve: the mean over the sources, its spread over seeds."""

    def figure(method: str, name: str) -> str:
        return spread([mean(row[name] for row in run if row["method"] == method) for run in runs])

    return {
        "target images": count,
        "label transfer AP": figure("label_transfer", "ap"),
        "AP50": figure("label_transfer", "ap50"),
        "plain pseudo-labels AP": figure("pseudo_label", "ap"),
        "union averaged AP": figure("union_averaged", "ap"),
    }


if __name__ == "__main__":
    main()
