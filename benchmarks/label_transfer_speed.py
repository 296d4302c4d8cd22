"""Training time of the label-transfer model, and images per second that it labels, from cached features.

    python benchmarks/label_transfer_speed.py --config FILE [--out FOLDER] [--json FILE] [key=value ...]

FILE is the configuration of a run with upstream detectors and pseudo-labels (`lat run FILE`). They are copied to --out, features
are computed once, and then three things are timed: `lat train-lat` with the run's settings; the class shares that `lat transfer`
learns first, on at most 2,000 images per dataset; and its work on every source: the model (which has already run on datasets of
up to 500 images), keep and fuse, calibration, and writing files.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from markdown import Row, print_rows

from lat.config.load import load_config
from lat.pipeline.run import run_stages
from lat.stages.label_transfer import train_label_transfer
from lat.stages.shared.transfer_model import open_features, open_held_out_features
from lat.stages.transfer.learn_shares import learn_class_shares
from lat.stages.transfer.transfer import transfer
from lat.workspace.workspace import Workspace


def main() -> None:
    """Print a row for training and three for transfer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="configuration of a finished run")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_label_transfer_speed"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    finished = Workspace(load_config(options.config, options.overrides))
    for shared in ("upstream", "pseudo_labels", ".state"):
        shutil.copytree(finished.paths.root / shared, options.out / shared, dirs_exist_ok=True)
    workspace = Workspace(load_config(options.config, [*options.overrides, f"output_dir={options.out}"]))
    run_stages(workspace, ["train-upstream", "pseudo-label"])  # does nothing, or labels the held-out images of an older run
    open_features(workspace).fill()
    for target in workspace.config.target_names:
        open_held_out_features(workspace, target).fill(flips=(False,))
    print(f"{torch.get_num_threads()} threads, {workspace.fabric.device}\n")
    print_rows("label_transfer_speed", [time_training(workspace), *time_transfer(workspace)], options.json)


def time_training(workspace: Workspace) -> Row:
    """The whole training, from the first batch to the written model."""
    training = workspace.config.lat.training
    took = seconds(lambda: train_label_transfer(workspace, due={"": ""}))
    return {
        "what": f"train-lat, {training.steps} steps of {training.batch_size} images",
        **_figures(took, training.steps, "steps"),
    }


def time_transfer(workspace: Workspace) -> list[Row]:
    """Class shares, every source to every target, and both together; each image counts once, whatever the number of targets."""
    targets_of: dict[str, list[str]] = {}
    for source, target in workspace.transfers():
        targets_of.setdefault(source, []).append(target)
    images = sum(len(workspace.data.train_part(source)) for source in targets_of)

    def transfer_all() -> None:
        for source, targets in targets_of.items():
            transfer(workspace, source=source, due=dict.fromkeys(targets, ""))

    learning, labelling = seconds(lambda: learn_class_shares(workspace, due={"": ""})), seconds(transfer_all)
    return [
        {
            "what": "what classes are in other spaces",
            **_figures(learning, sum(map(len, map(workspace.data.train_part, workspace.names))), "images"),
        },
        {"what": f"transfer, {images} images to all targets", **_figures(labelling, images, "images")},
        {"what": "both", **_figures(learning + labelling, images, "images")},
    ]


def _figures(took: float, count: int, unit: str) -> Row:
    return {"seconds": round(took, 1), "a second": f"{count / took:.0f} {unit}"}


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
