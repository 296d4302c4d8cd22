"""What each part of the label-transfer model is worth on street scenes: mean transfer AP of all six directions.

    python benchmarks/ablation.py [--seeds 0 1 2] [--difficulties easy hard] [--backbones upstream random] [--json FILE]

Every cell trains the label-transfer model anew on the same upstream detectors and pseudo-labels, which are made once for each
difficulty and seed. Runs are kept under --out; what is up to date is not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from markdown import print_rows, spread

from lat.config import load_config
from lat.pipeline import run_stages
from lat.stages.evaluate import mean_ap
from lat.stages.street_scenes import draw_benchmark
from lat.stages.workspace import Workspace

VARIANTS = {
    "no attention": ["lat.attention=none"],
    "standard attention": ["lat.attention=standard"],
    "sff (default)": [],
    "sff, attending the whole image": ["lat.attend=image"],
    "sff, no cap": ["lat.cap=none"],
    "sff, rows clamped": ["lat.cap=clamp"],
    "sff, cap on the feature branch": ["lat.cap_branch=feature"],
    "sff, log confidence": ["lat.confidence=add_log"],
    "sff, no residual": ["lat.residual=false"],
    "sff, class vectors hidden in half of the images": ["lat.hide_class_vectors=0.5"],
    "sff, ground truth hidden in half of the images": ["lat.hide_ground_truth=0.5"],
    "sff, no background proposals": ["lat.background_proposals=0"],
}


def main() -> None:
    """Print a row for each variant and a column for each difficulty and backbone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--difficulties", nargs="+", choices=["easy", "hard"], default=["easy", "hard"])
    parser.add_argument("--backbones", nargs="+", default=["upstream", "random"])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=1200, help="training steps of the label-transfer model")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_ablation"))
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    rows: dict[str, dict[str, str]] = {
        name: {"label-transfer model": name} for name in ("plain pseudo-labels", *options.variants)
    }
    for difficulty in options.difficulties:
        bases = [prepare(options.out / f"{difficulty}_{seed}", difficulty, seed) for seed in options.seeds]
        for backbone in options.backbones:
            column = f"{difficulty}, {backbone} features"
            settings = [f"lat.backbone={backbone}", f"lat.training.steps={options.steps}"]
            for name in options.variants:
                cells = [transfer_ap(base, f"{backbone} {name}", [*settings, *VARIANTS[name]]) for base in bases]
                rows[name][column] = spread([ap for ap, _ in cells])
                rows["plain pseudo-labels"][column] = spread([plain for _, plain in cells])
    print_rows("ablation", list(rows.values()), options.json)


def prepare(folder: Path, difficulty: str, seed: int) -> Path:
    """Draw the images of one seed, train its detectors and label with them; returns its configuration."""
    config = draw_benchmark(folder, difficulty=difficulty, seed=seed)
    run_stages(Workspace(load_config(config)), ["train-upstream", "pseudo-label"])
    return config


def transfer_ap(config: Path, cell: str, settings: list[str]) -> tuple[float, float]:
    """Mean transfer AP of the label-transfer model and of plain pseudo-labels for one cell of the table."""
    folder = config.parent / "cells" / cell.replace(" ", "_").replace(",", "")
    for shared in ("upstream", "pseudo_labels", ".state"):
        if not (folder / shared).exists():
            shutil.copytree(config.parent / "run" / shared, folder / shared)
    workspace = Workspace(load_config(config, [*settings, f"output_dir={folder}"]))
    run_stages(workspace, ["train-lat", "transfer", "evaluate"])
    rows = json.loads(workspace.evaluation.read_text(encoding="utf-8"))["transfer"]
    ours, plain = mean_ap(rows, "label_transfer"), mean_ap(rows, "pseudo_label")
    assert ours is not None
    assert plain is not None
    return ours, plain


if __name__ == "__main__":
    main()
