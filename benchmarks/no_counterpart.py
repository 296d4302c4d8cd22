"""A class that the target does not have: what its boxes become, without a class prior and with the default one.

    python benchmarks/no_counterpart.py [--data FOLDER] [--no-scenes] [--seed 0] [--difficulty hard] [--out FOLDER] [--json FILE]
                                        [key=value ...]

On street scenes, people on foot are taken out of the label spaces of `city` and `way`, so that of three datasets only `nu` knows
them: their pixels are still there, without boxes. With --data, also the blood cells of `configs/blood.yaml` in FOLDER, where only
`bccd` knows platelets. Both rows of a direction are of the same label-transfer model. A box became a class if a label with a
score of at least `evaluation.counted_threshold` matches it. Runs are kept under --out; up-to-date steps are not repeated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from markdown import Row, print_rows

from lat.commands.draw_street_scenes import draw_benchmark
from lat.config.load import load_config
from lat.core.files import write_atomically
from lat.evaluation.transfer_quality import agreement
from lat.pipeline.run import run_stages
from lat.workspace.label_files import counted_labels, read_transferred
from lat.workspace.workspace import Workspace

BLOOD = Path(__file__).parents[1] / "configs" / "blood.yaml"
ON_FOOT = {"city": "person", "way": "pedestrian"}
ODD_ON_FOOT, ODD_IN_BLOOD = ("adult", "child"), ("Platelets",)
PRIORS = {"none": ["transfer.prior.method=none"], "default": []}


def main() -> None:
    """Print a row per direction and prior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="the data_root of configs/blood.yaml")
    parser.add_argument("--no-scenes", action="store_true", help="leave out street scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--difficulty", choices=["easy", "hard"], default="easy")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_no_counterpart"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    rows: list[Row] = []
    if not options.no_scenes:
        folder = options.out / f"{options.difficulty}_{options.seed}"
        config = draw_benchmark(folder, difficulty=options.difficulty, seed=options.seed)
        for path in folder.glob("*/*.json"):
            leave_out(path, ON_FOOT)
        rows += compare(config, options.overrides, "nu", ODD_ON_FOOT)
    if options.data is not None:
        settings = [f"data_root={options.data}", f"output_dir={options.out / 'blood'}", *options.overrides]
        rows += compare(BLOOD, settings, "bccd", ODD_IN_BLOOD)
    if not rows:
        parser.error("give --data, or leave out --no-scenes")
    print_rows("no_counterpart", rows, options.json)


def leave_out(path: Path, left_out: Mapping[str, str]) -> None:
    """Take a class out of an annotation file, with its boxes: that of the label space that the file is in."""
    content = json.loads(path.read_text(encoding="utf-8"))
    space = path.name.split(".")[1] if path.name.startswith("truth.") else path.parent.name
    gone = {one["id"] for one in content["categories"] if one["name"] == left_out.get(space)}
    content["categories"] = [one for one in content["categories"] if one["id"] not in gone]
    content["annotations"] = [one for one in content["annotations"] if one["category_id"] not in gone]
    write_atomically(path, json.dumps(content, allow_nan=False) + "\n")


def compare(config: Path, overrides: Sequence[str], source: str, odd: Sequence[str]) -> list[Row]:
    """Rows of a run: each direction from the source of the odd classes, and from the others back to it."""
    rows: list[Row] = []
    for prior, settings in PRIORS.items():
        workspace = Workspace(load_config(config, [*overrides, *settings]))
        run_stages(workspace, ["train-upstream", "pseudo-label", "train-lat", "transfer"])
        rows += [row_of(workspace, pair, odd, prior) for pair in workspace.transfers() if source in pair]
    return sorted(rows, key=lambda row: str(row["direction"]))


def row_of(workspace: Workspace, pair: tuple[str, str], odd: Sequence[str], prior: str) -> Row:
    """What the boxes of a direction became: those of the odd classes, and all others."""
    human = workspace.data.train_part(pair[0]).labels
    labels = counted_labels(workspace, read_transferred(workspace, *pair))
    changes = agreement(human, labels).to_dict()["class_changes"]
    drawn = human.labels[~human.is_crowd].tolist()
    counts = {name: drawn.count(place) for place, name in enumerate(human.space.class_names)}
    odd_changes: dict[str, int] = {}
    for name in set(odd) & set(changes):
        for became, count in changes[name].items():
            odd_changes[became] = odd_changes.get(became, 0) + count
    others = [name for name in counts if name not in odd]
    return {
        "direction": " -> ".join(pair),
        "prior": prior,
        "boxes of the class": sum(counts.get(name, 0) for name in odd),
        "became a class": sum(odd_changes.values()),
        "which": ", ".join(f"{name} ({count})" for name, count in sorted(odd_changes.items())) or "–",
        "other boxes": sum(counts[name] for name in others),
        "of them became a class": sum(sum(changes[name].values()) for name in others),
        "labels in all": labels.num_boxes,
    }


if __name__ == "__main__":
    main()
