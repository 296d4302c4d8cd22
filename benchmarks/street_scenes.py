"""Transfer AP on street scenes over several seeds: a whole run per seed, with newly drawn images.

    python benchmarks/street_scenes.py --seeds 0 1 2 [--difficulty hard] [--annotators careful] [--out FOLDER]
                                       [--json FILE] [key=value ...]

Annotators are real by default: they miss and misplace boxes as people do; careful ones do so less, exact ones never.
Each seed takes about as long as `make demo`. Runs are kept under --out; up-to-date runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

from markdown import print_rows, spread

from lat.commands.draw_street_scenes import draw_benchmark
from lat.config.load import load_config
from lat.pipeline.run import run_stages
from lat.stages.evaluate import TRANSFER_METHODS
from lat.street_scenes import ANNOTATORS
from lat.workspace.workspace import Workspace


def main() -> None:
    """Run every seed; print mean and spread of each direction and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--difficulty", choices=["easy", "hard"], default="easy")
    parser.add_argument("--annotators", choices=ANNOTATORS, default="real")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_street_scenes"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_intermixed_args()
    evaluations = [
        run_seed(
            arguments.out / f"{arguments.difficulty}_{arguments.annotators}_{seed}",
            {"difficulty": arguments.difficulty, "seed": seed, "annotators": arguments.annotators},
            arguments.overrides,
        )
        for seed in arguments.seeds
    ]
    print_rows("street_scenes", summarise([evaluation["transfer"] for evaluation in evaluations]), arguments.json)


def run_seed(folder: Path, drawing: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Draw and run one seed; return its evaluation.json."""
    config = draw_benchmark(folder, **drawing)
    workspace = Workspace(load_config(config, overrides))
    run_stages(workspace)
    return json.loads(workspace.paths.evaluation.read_text(encoding="utf-8"))


def summarise(runs: list[list[dict[str, Any]]]) -> list[dict[str, str]]:
    """A row per direction and one for their mean: AP[.5:.95] as mean +- standard deviation over the runs."""
    directions = list(dict.fromkeys((row["source"], row["target"]) for row in runs[0]))
    rows = []
    for direction in [*directions, None]:
        row = {"source -> target": " -> ".join(direction) if direction else "mean of all"}
        for method in TRANSFER_METHODS:
            row[method] = spread([_mean_ap(run, method, direction) for run in runs])
        row["label_transfer - pseudo_label"] = spread(
            [_mean_ap(run, "label_transfer", direction) - _mean_ap(run, "pseudo_label", direction) for run in runs]
        )
        rows.append(row)
    return rows


def _mean_ap(run: list[dict[str, Any]], method: str, direction: tuple[str, str] | None) -> float:
    chosen = [row for row in run if row["method"] == method and direction in (None, (row["source"], row["target"]))]
    return mean(row["ap"] for row in chosen)


if __name__ == "__main__":
    main()
