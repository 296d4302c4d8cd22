"""A small target beside large sources: transfer AP on street scenes by how often label-transfer training draws each dataset.

    python benchmarks/small_target.py [--target city] [--images 20] [--powers 1 0.5 0] [--seeds 0 1] [--difficulty hard]
                                      [--out FOLDER] [--json FILE] [key=value ...]

The target has only so many images (0 leaves it whole); the other datasets are whole. A dataset is drawn in proportion to its
number of images to the power of a row (`lat.dataset_power`). Every row trains a new label-transfer model for the same number of
steps, on the same upstream detectors and pseudo-labels, made once per seed. The column "the target's share" says how large a part
of all draws is of the target's images. Runs are kept under --out; up-to-date steps are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from markdown import Row, print_rows, spread

from lat.commands.draw_street_scenes import draw_benchmark
from lat.config.load import load_config
from lat.engine.sampling import Group
from lat.pipeline.run import run_stages
from lat.street_scenes import DEFAULT_DATASETS, DEFAULT_TRAIN_IMAGES
from lat.workspace.workspace import Workspace

Evaluation = list[dict[str, Any]]


def main() -> None:
    """Print a row per power."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=DEFAULT_DATASETS, default="city")
    parser.add_argument("--images", type=int, default=20, help="training images of the target; 0 for all")
    parser.add_argument("--powers", type=float, nargs="+", default=[1.0, 0.5, 0.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--difficulty", choices=["easy", "hard"], default="easy")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_small_target"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    sizes = {**DEFAULT_TRAIN_IMAGES, **({options.target: options.images} if options.images else {})}
    cells: dict[float, list[Evaluation]] = {power: [] for power in options.powers}
    for seed in options.seeds:
        folder = options.out / f"{options.difficulty}_{options.target}_{sizes[options.target]}_{seed}"
        config = draw_benchmark(folder, difficulty=options.difficulty, seed=seed, train_images=sizes)
        run_stages(Workspace(load_config(config, options.overrides)), ["train-upstream", "pseudo-label"])
        for power in options.powers:
            cells[power].append(evaluate_power(folder, power, options.overrides))
    counts = [sizes[name] for name in DEFAULT_DATASETS]
    place = DEFAULT_DATASETS.index(options.target)
    shares = {power: Group.by_power(counts, power)[place].draws / sum(counts) for power in options.powers}
    print_rows("small_target", table(options.target, cells, shares), options.json)


def evaluate_power(folder: Path, power: float, overrides: Sequence[str]) -> Evaluation:
    """Transfer AP of every direction and method, with a label-transfer model trained at this power."""
    cell = folder / f"power_{power:g}"
    for shared in ("upstream", "pseudo_labels"):
        shutil.copytree(folder / "run" / shared, cell / shared, dirs_exist_ok=True)
    chosen = [*overrides, f"lat.dataset_power={power}", f"output_dir={cell}"]
    workspace = Workspace(load_config(folder / "config.yaml", chosen))
    run_stages(workspace, ["train-lat", "transfer", "evaluate"])
    rows: Evaluation = json.loads(workspace.paths.evaluation.read_text(encoding="utf-8"))["transfer"]
    return rows


def table(target: str, cells: dict[float, list[Evaluation]], shares: dict[float, float]) -> list[Row]:
    """Plain pseudo-labels, then a row per power: mean and spread over seeds, by direction and all together."""
    some = next(iter(cells.values()))
    sources = list(dict.fromkeys(row["source"] for row in some[0] if row["target"] == target))

    def figures(runs: list[Evaluation], method: str) -> dict[str, str]:
        into = {f"{source} -> {target}": [(source, target)] for source in sources}
        elsewhere = [(row["source"], row["target"]) for row in runs[0] if row["target"] != target]
        columns = {**into, f"all into {target}": [one for pair in into.values() for one in pair], "all others": elsewhere}
        return {name: spread([_mean_ap(run, method, pairs) for run in runs]) for name, pairs in columns.items()}

    rows: list[Row] = [{"dataset_power": "(plain pseudo-labels)", "the target's share": "", **figures(some, "pseudo_label")}]
    for power, runs in cells.items():
        rows.append(
            {"dataset_power": f"{power:g}", "the target's share": f"{shares[power]:.0%}", **figures(runs, "label_transfer")}
        )
    return rows


def _mean_ap(run: Evaluation, method: str, pairs: Sequence[tuple[str, str]]) -> float:
    return mean(row["ap"] for row in run if row["method"] == method and (row["source"], row["target"]) in pairs)


if __name__ == "__main__":
    main()
