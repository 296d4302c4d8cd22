"""What each part of label transfer and each form of the model is worth, on the data of finished runs.

    python benchmarks/ablation.py RUN [RUN ...] [--variants NAME ...] [--json FILE]

RUN is the folder of a run with truth, such as those of benchmarks/annotated_twice.py and street_scenes.py; give those of several
seeds of the same data. Their first detectors and pseudo-labels are used as they are, without a further round. The first variants
train another form of the label-transfer model, the others leave out a part of the transfer. AP is the mean over directions with
truth; a difference is that with the default on the same run. Runs are kept under --out; up-to-date steps are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markdown import print_rows, spread

from lat.config.load import load_config
from lat.pipeline.run import run_stages
from lat.stages.evaluate import mean_ap
from lat.workspace.workspace import Workspace

DEFAULT = "default"
MODELS = {
    "no attention": ["lat.fusion.attention=none"],
    "standard attention": ["lat.fusion.attention=standard"],
    "attending the whole image": ["lat.fusion.attend=image"],
    "no cap": ["lat.fusion.cap=none"],
    "class vectors never hidden": ["lat.proposals.hide_class_vectors=0"],
    "class vectors hidden in all images": ["lat.proposals.hide_class_vectors=1"],
}
PARTS = {
    "human boxes not kept": ["transfer.combine.keep=false"],
    "no class prior": ["transfer.prior.method=none"],
    "class prior of each pair alone": ["transfer.prior.method=learnt"],
    "agreeing boxes not fused": ["transfer.combine.fuse=false"],
    "the target's detector has no say": ["transfer.combine.detector_share=0"],
    "none of these (the paper's transfer)": [
        "transfer.combine.keep=false",
        "transfer.prior.method=none",
        "transfer.combine.fuse=false",
        "transfer.combine.detector_share=0",
    ],
}
VARIANTS = MODELS | PARTS
BASELINES = {"pseudo-labels": "pseudo_label", "union": "union", "union averaged": "union_averaged"}
LINKED = ("upstream", "pseudo_labels", ".state")


def main() -> None:
    """Print a row per baseline, for the default, and per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_ablation"))
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    default = [evaluated(run, options.out, DEFAULT) for run in options.runs]
    rows = [row(title, [figures(found, method) for found in default]) for title, method in BASELINES.items()]
    wanted = [figures(found, "label_transfer") for found in default]
    rows.append(row(DEFAULT, wanted))
    for name in options.variants:
        found = [evaluated(run, options.out, name) for run in options.runs]
        rows.append(row(name, [figures(one, "label_transfer") for one in found], wanted))
    print_rows("ablation", rows, options.json)


def evaluated(run: Path, out: Path, name: str) -> list[dict[str, Any]]:
    """Transfer labels in a folder of their own, which is linked to the run's detectors, and for a part to the default's model."""
    folders = {of: out / "_".join(run.resolve().parts[-3:]) / of.replace(" ", "_") for of in (DEFAULT, name)}
    of, shared = (folders[DEFAULT], (*LINKED, "lat")) if name in PARTS else (run, LINKED)
    for part in shared:
        if not (folders[name] / part).exists():
            shutil.copytree(of / part, folders[name] / part, copy_function=shutil.copy2 if part == ".state" else os.link)
    settings = ["rounds.count=0", f"output_dir={folders[name].resolve()}", *VARIANTS.get(name, [])]
    workspace = Workspace(load_config(run / "config.yaml", settings))
    run_stages(workspace, ["train-lat", "transfer", "evaluate"])
    found: list[dict[str, Any]] = json.loads(workspace.paths.evaluation.read_text(encoding="utf-8"))["transfer"]
    return found


def figures(found: Sequence[dict[str, Any]], method: str) -> tuple[float, float]:
    """Mean AP and AP85 of a method over all directions, in percent."""
    ap, ap85 = (mean_ap(found, method, key) for key in ("ap", "ap85"))
    assert ap is not None
    assert ap85 is not None
    return ap, ap85


def row(title: str, found: Sequence[tuple[float, float]], default: Sequence[tuple[float, float]] = ()) -> dict[str, str]:
    """A row of the table: mean and spread over the runs, and of the difference with the default on each."""
    ap, ap85 = zip(*found, strict=True)
    cells = {"labels": title, "AP": spread(ap), "AP85": spread(ap85), "AP, difference": "", "AP85, difference": ""}
    if default:
        for cell, ours, theirs in zip(("AP", "AP85"), (ap, ap85), zip(*default, strict=True), strict=True):
            cells[f"{cell}, difference"] = spread([a - b for a, b in zip(ours, theirs, strict=True)])
    return cells


if __name__ == "__main__":
    main()
