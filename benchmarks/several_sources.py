"""The gain of further sources: transfer AP to one target as datasets are added, on street scenes.

    python benchmarks/several_sources.py [--target city] [--seeds 0 1 2] [--difficulty hard] [--steps N] [--out FOLDER]
                                         [--json FILE] [key=value ...]

The target and one source, then a second source, then a third: each column is one direction, with labels from the same source
boxes in every row. The last row uses the third source's detector without its images or ground truth: its pseudo-labels for the
other datasets' images are the files of an outside label set. Every row trains a new label-transfer model for the same number of
steps, on the same upstream detectors and pseudo-labels, made once per seed, and on the features of the target's detector. Runs
are kept under --out; up-to-date steps are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from markdown import Row, print_rows, spread

from lat.commands.draw_street_scenes import benchmark_config, draw_benchmark
from lat.config.load import load_config
from lat.core.files import write_atomically
from lat.pipeline.run import run_stages
from lat.street_scenes import SPACES
from lat.workspace.workspace import Workspace

TransferAp = dict[str, dict[str, float]]
"""AP[.5:.95] by method and source."""


def main() -> None:
    """Print a row per number of spaces and a column per direction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=list(SPACES), default="city")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--difficulty", choices=["easy", "hard"], default="easy")
    parser.add_argument("--steps", type=int, default=1200, help="training steps of the label-transfer model")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_several_sources"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    names = (options.target, *(name for name in SPACES if name != options.target))
    overrides = [*options.overrides, f"lat.training.steps={options.steps}"]
    cells: dict[str, list[TransferAp]] = {}
    for seed in options.seeds:
        folder = options.out / f"{options.difficulty}_{options.target}_{seed}"
        config = draw_benchmark(folder, difficulty=options.difficulty, seed=seed, datasets=names)
        run_stages(Workspace(load_config(config, options.overrides)), ["train-upstream", "pseudo-label"])
        for count in range(2, len(names) + 1):
            row = f"{count}: {', '.join(names[:count])}"
            cells.setdefault(row, []).append(transfer_ap(folder, seed, names[:count], "", overrides))
        row = f"{len(names)}: {', '.join(names[:-1])}; {names[-1]} as a label set"
        cells.setdefault(row, []).append(transfer_ap(folder, seed, names[:-1], names[-1], overrides))
    print_rows("several_sources", table(names, cells), options.json)


def transfer_ap(folder: Path, seed: int, datasets: tuple[str, ...], label_set: str, overrides: list[str]) -> TransferAp:
    """Train and transfer among `datasets`, adding the detections of the dataset that `label_set` names, if any."""
    cell = folder / "cells" / "_".join([*datasets, *(["with", label_set] if label_set else [])])
    text = benchmark_config(str(folder.resolve()), ".", seed, datasets)
    if label_set:
        files = {name: str(folder.resolve() / "run" / "pseudo_labels" / f"{name}.{label_set}.json") for name in datasets}
        text += f"label_sets: {json.dumps([{'name': label_set, 'files': files}])}\n"
    write_atomically(cell / "cell.yaml", text)
    for shared in ("upstream", "pseudo_labels"):
        shutil.copytree(folder / "run" / shared, cell / shared, dirs_exist_ok=True)
    workspace = Workspace(load_config(cell / "cell.yaml", [*overrides, f"target={datasets[0]}"]))
    run_stages(workspace, ["train-lat", "transfer", "evaluate"])
    found: TransferAp = {}
    for row in json.loads(workspace.paths.evaluation.read_text(encoding="utf-8"))["transfer"]:
        found.setdefault(row["method"], {})[row["source"]] = row["ap"]
    return found


def table(names: tuple[str, ...], cells: dict[str, list[TransferAp]]) -> list[Row]:
    """Plain pseudo-labels, then a row per entry of `cells`, mean and spread over seeds."""
    target, *sources = names
    with_all = next(runs for runs in cells.values() if set(runs[0]["label_transfer"]) == set(sources))
    rows = {"plain pseudo-labels": ("pseudo_label", with_all)} | {row: ("label_transfer", runs) for row, runs in cells.items()}
    return [
        {
            "label spaces": name,
            **{
                f"{source} -> {target}": spread([run[method][source] for run in runs]) if source in runs[0][method] else "-"
                for source in sources
            },
        }
        for name, (method, runs) in rows.items()
    ]


if __name__ == "__main__":
    main()
