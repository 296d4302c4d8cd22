"""Label quality on real images that were annotated twice, over several seeds.

    python benchmarks/annotated_twice.py --data FOLDER [key=value ...] [--seeds 0 1 2] [--classes matched merged] [--json FILE]

FOLDER has source/ and target/, each with images/ and annotations, as configs/blood_twice.yaml reads them:
    source/train.json   what one team drew on the source's images
    source/merged.json  the same boxes, with classes merged so that none has a name of the target
    source/truth.json   what another team, whose protocol is the target's, drew on the same images; only evaluation reads it
    target/train.json and target/val.json  annotations of other images in the target's protocol

Every method labels the source's images in the target's protocol and is scored against the truth. With `merged`, the methods that
match class names have no human box to use. The target's first detectors are trained once per seed. Runs are kept under --out;
up-to-date steps are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from markdown import print_rows, spread

from lat.config.load import load_config
from lat.config.places import seen_from
from lat.core.files import write_atomically
from lat.pipeline.run import run_stages
from lat.workspace.workspace import Workspace

SOURCE_FILES = {"matched": "train.json", "merged": "merged.json"}
FIGURES = {"AP": "ap", "AP50": "ap50", "AP75": "ap75", "AP85": "ap85"}
CONFIG = Path(__file__).parents[1] / "configs" / "blood_twice.yaml"


def main() -> None:
    """Print a row per class list and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with source/ and target/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--classes", nargs="+", choices=list(SOURCE_FILES), default=list(SOURCE_FILES))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_annotated_twice"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    found: dict[str, list[list[dict[str, Any]]]] = {classes: [] for classes in options.classes}
    for seed in options.seeds:
        first: Path | None = None
        for classes in options.classes:
            folder = options.out / f"seed_{seed}" / classes
            workspace = prepare(folder, options.data.resolve(), classes, seed, options.overrides)
            if first is not None:
                take_target_detectors(first, folder / "run")
            run_stages(workspace)
            found[classes].append(json.loads(workspace.paths.evaluation.read_text(encoding="utf-8"))["transfer"])
            first = folder / "run"
    print_rows("annotated_twice", [row for classes, runs in found.items() for row in summarise(classes, runs)], options.json)


def prepare(folder: Path, data: Path, classes: str, seed: int, overrides: list[str]) -> Workspace:
    """Write the configuration of one run."""
    settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    settings |= {"output_dir": str(folder / "run"), "data_root": str(data), "seed": seed}
    settings["datasets"][1]["annotations"] = "${data_root}/source/" + SOURCE_FILES[classes]
    path = folder / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, yaml.safe_dump(seen_from(folder, settings), sort_keys=False))
    return Workspace(load_config(path, overrides))


def take_target_detectors(other: Path, run: Path) -> None:
    """Copy the target's detectors of round 0 from another run of the same seed: they do not depend on the source."""
    records = [path for path in (other / ".state").glob("train-upstream.cells*.json") if ".round." not in path.name]
    if all((run / ".state" / record.name).is_file() for record in records):
        return
    shutil.copytree(other / "upstream" / "cells", run / "upstream" / "cells", dirs_exist_ok=True)
    (run / ".state").mkdir(parents=True, exist_ok=True)
    for record in records:
        shutil.copy2(record, run / ".state" / record.name)


def summarise(classes: str, runs: list[list[dict[str, Any]]]) -> list[dict[str, str]]:
    """A row per method: the mean of each figure over the runs, and its standard deviation."""
    rows = []
    for method in dict.fromkeys(row["method"] for row in runs[0]):
        found = [row for run in runs for row in run if row["method"] == method]
        row = {"classes": classes, "labels": method}
        row |= {title: spread([one[key] for one in found]) for title, key in FIGURES.items()}
        rows.append(row | {"boxes": f"{mean(one['labels'] for one in found):.0f}"})
    return rows


if __name__ == "__main__":
    main()
