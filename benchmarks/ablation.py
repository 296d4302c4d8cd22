"""What each part of label transfer contributes on street scenes: mean transfer AP over all six directions.

    python benchmarks/ablation.py [--seeds 0 1 2] [--difficulties easy hard] [--json FILE]
                                  [--backbones upstream random dinov2 dinov2_blocks] [key=value ...]

The first rows each train another variant of the label-transfer model; every model writes its labels twice: as in the paper
("alone"), and with all dataset-wide evidence ("with keep and fuse"). The last rows switch that off part by part for the default
model. DINOv2 has random weights here. Upstream detectors and pseudo-labels are made once per difficulty and seed. Runs are kept
under --out; up-to-date steps are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from markdown import print_rows, spread

from lat.commands.draw_street_scenes import draw_benchmark
from lat.config.load import load_config
from lat.config.sections import LabelTransferSettings
from lat.core.files import write_atomically
from lat.pipeline.run import run_stages
from lat.stages.evaluate import TRANSFER_METHODS, mean_ap
from lat.workspace.workspace import Workspace

DEFAULT = "semantic feature fusion (default)"
VARIANTS = {
    DEFAULT: [],
    "no attention": ["lat.fusion.attention=none"],
    "standard attention": ["lat.fusion.attention=standard"],
    "attending the whole image": ["lat.fusion.attend=image"],
    "no cap": ["lat.fusion.cap=none"],
    "cap on the feature branch": ["lat.fusion.cap_branch=feature"],
    "class vectors never hidden": ["lat.proposals.hide_class_vectors=0"],
    "class vectors hidden in all images": ["lat.proposals.hide_class_vectors=1"],
    "ground-truth boxes hidden in half of the images": ["lat.proposals.hide_ground_truth=0.5"],
}
DINOV2 = [
    "lat.backbone.name=dinov2_vits14",
    "lat.backbone.weights=none",
    "lat.backbone.image_size=280",
    "lat.backbone.cache=disk",
]
BACKBONES = {
    "upstream": ["lat.backbone.name=upstream"],
    "random": ["lat.backbone.name=random"],
    "dinov2": DINOV2,
    "dinov2_blocks": [*DINOV2, "lat.backbone.blocks=4"],
}
ALONE = [
    "transfer.combine.keep=false",
    "transfer.prior.method=none",
    "transfer.combine.fuse=false",
    "transfer.combine.detector_share=0",
]
PARTS = {
    "boxes of the source not kept": ["transfer.combine.keep=false"],
    "no class prior": ["transfer.prior.method=none"],
    "agreeing boxes not fused": ["transfer.combine.fuse=false"],
    "the target's detector has no say": ["transfer.combine.detector_share=0"],
}


def main() -> None:
    """Print a row per variant and two columns per difficulty and backbone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--difficulties", nargs="+", choices=["easy", "hard"], default=["easy", "hard"])
    parser.add_argument("--backbones", nargs="+", choices=list(BACKBONES), default=["upstream", "random"])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=LabelTransferSettings().training.steps, help="training steps of each model")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_ablation"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of every model and its transfer")
    options = parser.parse_intermixed_args()
    baselines = ("plain pseudo-labels", "union", "union averaged")
    rows: dict[str, dict[str, str]] = {name: {"": name} for name in (*baselines, *options.variants, *PARTS)}
    for difficulty in options.difficulties:
        bases = [prepare(options.out / f"{difficulty}_{seed}", difficulty, seed) for seed in options.seeds]
        for backbone in options.backbones:
            alone, fused = (f"{difficulty}, {backbone} features, {how}" for how in ("alone", "with keep and fuse"))
            train = [*BACKBONES[backbone], f"lat.training.steps={options.steps}", *options.overrides]
            tag = " ".join([backbone, *options.overrides])
            for name in options.variants:
                cells = [Cell(base, f"{tag} {name}", [*train, *VARIANTS[name]]) for base in bases]
                rows[name][fused] = spread([cell.transfer_ap([])["label_transfer"] for cell in cells])
                rows[name][alone] = spread([cell.transfer_ap(ALONE)["label_transfer"] for cell in cells])
            cells = [Cell(base, f"{tag} {DEFAULT}", train) for base in bases]
            for name, settings in PARTS.items():
                rows[name] |= {alone: "-", fused: spread([cell.transfer_ap(settings)["label_transfer"] for cell in cells])}
            for name, method in zip(baselines, ("pseudo_label", "union", "union_averaged"), strict=True):
                figure = spread([cell.transfer_ap([])[method] for cell in cells])
                rows[name] |= {alone: figure, fused: figure}
    columns = list(rows["union"])
    print_rows("ablation", [{column: row[column] for column in columns} for row in rows.values()], options.json)


def prepare(folder: Path, difficulty: str, seed: int) -> Path:
    """Draw the images of one seed, train its detectors and label with them; returns its configuration."""
    config = draw_benchmark(folder, difficulty=difficulty, seed=seed)
    run_stages(Workspace(load_config(config)), ["train-upstream", "pseudo-label"])
    return config


class Cell:
    """One model of one seed: a run that shares upstream detectors and pseudo-labels with the others of its seed."""

    def __init__(self, config: Path, name: str, settings: list[str]) -> None:
        self.config, self.settings = config, settings
        self.folder = config.parent / "cells" / "".join(c if c.isalnum() else "_" for c in name)
        for shared in ("upstream", "pseudo_labels", ".state"):
            if not (self.folder / shared).exists():
                shutil.copytree(config.parent / "run" / shared, self.folder / shared)

    def transfer_ap(self, settings: list[str]) -> dict[str, float]:
        """Mean transfer AP of each method over all directions, with labels written by `settings`; cached."""
        known = self.folder / f"ap {' '.join(settings) or 'default'}.json"
        if not known.is_file():
            workspace = Workspace(load_config(self.config, [*self.settings, *settings, f"output_dir={self.folder}"]))
            run_stages(workspace, ["train-lat", "transfer", "evaluate"])
            rows = json.loads(workspace.paths.evaluation.read_text(encoding="utf-8"))["transfer"]
            write_atomically(known, json.dumps({method: mean_ap(rows, method) for method in TRANSFER_METHODS}) + "\n")
        return json.loads(known.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
