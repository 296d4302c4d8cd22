"""What it is worth to say whether protocols box hidden parts (`answers`): transfer AP and AP85 on street scenes.

    python benchmarks/hidden_parts.py [--seeds 0 1 2] [--runs FOLDER] [--out FOLDER] [--json FILE] [key=value ...]

Hard scenes, annotators who never err, means over six directions and seeds; what is said is true. Riders share a box with their
bicycle in some protocols: what is said of all classes concerns these boxes too. Runs are those of `benchmarks/questions.py`;
copies are under --out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from statistics import mean

import yaml
from markdown import print_rows
from questions import copied_run, figures_of, finished_run

from lat.config.load import load_config
from lat.labelling.hidden_parts import KEY
from lat.pipeline.run import run_stages
from lat.workspace.workspace import Workspace

STAGES = ["train-upstream", "pseudo-label", "train-lat", "transfer"]
SAID = {"city": "left out", "way": "left out", "nu": "included"}
WITH_RIDERS = {"bicycle", "motorcycle", "rider", "cyclist"}
CELLS = {"nothing is said": None, "of cars, trucks, buses and people": WITH_RIDERS, "of all classes": set[str]()}
"""What is said, and the classes of which nothing is."""


def main() -> None:
    """Print a row per cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark_street_scenes"))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_hidden_parts"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    runs = [finished_run(options.runs, "hard", "exact", seed, options.overrides) for seed in options.seeds]
    seeds = [figures(run, copied_run(run, options.out / run.name), options.overrides) for run in runs]
    rows = []
    for name in CELLS:
        row: dict[str, object] = {"hidden parts": name}
        for key in ("AP", "AP85"):
            more = [one[name][key] - one["nothing is said"][key] for one in seeds]
            row[key] = f"{mean(one[name][key] for one in seeds):.1f}"
            row[f"{key}, more (each seed)"] = ", ".join(f"{each:+.2f}" for each in more)
        rows.append(row)
    print_rows("hidden_parts", rows, options.json)


def figures(run: Path, copy: Path, overrides: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean AP and AP85 of the six directions with each cell."""
    return {name: _means(run, copy, without, overrides) for name, without in CELLS.items()}


def _means(run: Path, copy: Path, without: set[str] | None, overrides: Sequence[str]) -> dict[str, float]:
    settings = [*overrides, f"output_dir={copy}"]
    if without is not None:
        spaces = {name: Workspace(load_config(run / "config.yaml", settings)).data.space(name) for name in SAID}
        said = {name: {one: SAID[name] for one in space.class_names if one not in without} for name, space in spaces.items()}
        (copy.parent / "answers.yaml").write_text(yaml.safe_dump({KEY: said}, sort_keys=False))
        settings.append(f"answers={copy.parent / 'answers.yaml'}")
    workspace = Workspace(load_config(run / "config.yaml", settings))
    run_stages(workspace, STAGES)
    found = [figures_of(workspace, *pair) for pair in permutations(SAID, 2)]
    return {name: sum(one[name.lower()] for one in found) / len(found) for name in ("AP", "AP85")}


if __name__ == "__main__":
    main()
