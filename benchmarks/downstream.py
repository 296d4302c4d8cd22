"""Downstream AP on street scenes: the paper's tables, with the cost of each way to use the sources.

    python benchmarks/downstream.py [--tables 1 2 3] [--targets city nu way] [--seeds 0 1 2] [--methods NAME ...] [--small 60]
                                    [--out FOLDER] [--json FILE] [key=value ...]

Table 1, diverging classes: each dataset in turn is a small target (--small images), the others, whole, are its sources.
Table 2, small and large: city is small, the others are large, and each is a target.
Table 3, training strategies, with the transferred labels of table 1.

AP / AP50 on the target's test images, mean and spread over seeds. All methods have the same number of training steps, the
same augmentation and averaged weights (student-teacher: its teacher). Labelling is everything before the downstream training,
including upstream detectors; training is the downstream detector alone; both in seconds, mean over targets and seeds. Runs are
kept under --out; up-to-date steps are not repeated and keep their recorded seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from markdown import print_rows, spread

from lat.commands.draw_street_scenes import draw_benchmark
from lat.config.load import load_config
from lat.core.files import write_atomically
from lat.pipeline.plan import ROUND, all_steps
from lat.pipeline.run import run_stages
from lat.street_scenes import DEFAULT_TRAIN_IMAGES
from lat.workspace.steps import Step
from lat.workspace.workspace import Workspace

RTDETR = ["downstream.model.detector=rtdetr", "downstream.training.learning_rate=3e-3"]
DEFORMABLE = ["downstream.model.detector=deformable_detr", "downstream.training.learning_rate=2e-3"]
METHODS = {
    "Faster R-CNN, target only": ["downstream.method=target_only"],
    "Faster R-CNN, classes matched by name": ["downstream.method=class_names"],
    "Faster R-CNN, hand-made class map": ["downstream.method=class_map"],
    "Faster R-CNN, box-statistics normalisation": ["downstream.method=box_statistics"],
    "Faster R-CNN, pseudo-labels": ["downstream.method=pseudo_label"],
    "Faster R-CNN, pseudo-labels, class-wise thresholds": ["downstream.method=class_thresholds"],
    "Faster R-CNN, union": ["downstream.method=union"],
    "Faster R-CNN, union averaged": ["downstream.method=union_averaged"],
    "Faster R-CNN, LGPL": ["downstream.method=lgpl"],
    "Faster R-CNN, student-teacher": ["downstream.method=student_teacher"],
    "Faster R-CNN, label transfer": ["downstream.method=label_transfer"],
    "RT-DETR, target only": [*RTDETR, "downstream.method=target_only"],
    "RT-DETR, label transfer": [*RTDETR, "downstream.method=label_transfer"],
    "Deformable-DETR, target only": [*DEFORMABLE, "downstream.method=target_only"],
    "Deformable-DETR, label unification": [*DEFORMABLE, "downstream.method=label_unification"],
}
OWN = ("train-upstream", "pseudo-label")
NEEDS = {"pseudo_label": OWN, "class_thresholds": OWN, "union": OWN, "union_averaged": OWN, "label_transfer": ROUND}
STRATEGIES = ("half_and_half", "mixed", "mixed_then_target")
# What a person who knows the protocols would write.
CLASS_MAPS = {
    "city": {
        "nu": {"adult": "person", "child": "person", **{name: name for name in ("bicycle", "bus", "car", "motorcycle", "truck")}},
        "way": {"vehicle": "car", "pedestrian": "person", "cyclist": "rider"},
    },
    "nu": {
        "city": {"person": "adult", "rider": None, **{name: name for name in ("bicycle", "bus", "car", "motorcycle", "truck")}},
        "way": {"vehicle": "car", "pedestrian": "adult", "cyclist": "bicycle"},
    },
    "way": {
        "city": {
            "person": "pedestrian",
            "rider": "cyclist",
            "bicycle": None,
            **dict.fromkeys(("bus", "car", "motorcycle", "truck"), "vehicle"),
        },
        "nu": {
            "adult": "pedestrian",
            "child": "pedestrian",
            "bicycle": "cyclist",
            **dict.fromkeys(("bus", "car", "motorcycle", "truck"), "vehicle"),
        },
    },
}


def main() -> None:
    """Print the chosen tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, nargs="+", choices=[1, 2, 3], default=[1, 2, 3])
    parser.add_argument("--targets", nargs="+", choices=["city", "nu", "way"], default=["city", "nu", "way"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="NAME")
    parser.add_argument("--small", type=int, default=60, help="training images of a small target")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_downstream"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    rows: list[dict[str, str]] = []
    for table in options.tables:
        settings_of = {name: METHODS[name] for name in options.methods}
        if table == 3:
            settings_of = {strategy: [f"downstream.strategy={strategy}"] for strategy in STRATEGIES}
        cells = {
            target: [Scene(options.out, target if table != 2 else "city", options.small, seed) for seed in options.seeds]
            for target in options.targets
        }
        for name, settings in settings_of.items():
            rows.append(row_of(table, name, [*settings, *options.overrides], cells))
    print_rows("downstream", rows, options.json)


class Scene:
    """The images of one seed, with one small dataset, and the runs on them."""

    def __init__(self, out: Path, small: str, images: int, seed: int) -> None:
        self.folder = out / f"{small}_{images}_{seed}"
        counts = {**DEFAULT_TRAIN_IMAGES, small: images}
        self.config = draw_benchmark(self.folder, seed=seed, train_images=counts)

    def figures(self, target: str, settings: Sequence[str]) -> dict[str, float]:
        """AP and AP50 of the target's downstream detector, and the seconds of labelling and training."""
        name = "_".join(setting.partition("=")[2] for setting in settings).replace(".", "_")
        named = [f"target={target}", f"downstream.name={name}", f"downstream.class_map={self._class_map(target)}"]
        workspace = Workspace(load_config(self.config, [*named, *settings]))
        labelling = self._seconds_before(workspace, target)
        labelling += self._timed(workspace, "train-downstream", lambda step: step.group == f"{target} labels")
        training = self._timed(workspace, "train-downstream", lambda step: step.group == target)
        metrics = json.loads(workspace.paths.downstream_metrics(target).read_text(encoding="utf-8"))
        return {"ap": metrics["ap"], "ap50": metrics["ap50"], "labelling": labelling, "training": training}

    def _seconds_before(self, workspace: Workspace, target: str) -> float:
        """Run the stages that the method's labels depend on; return their duration."""
        settings = workspace.config.downstream
        if not settings.uses_sources or settings.method not in NEEDS:
            return 0.0
        stages = NEEDS[settings.method]

        def select(step: Step) -> bool:
            """All steps, or those of the target's own upstream detector."""
            return stages == ROUND or (step.member or step.group) == target

        return sum(self._timed(workspace, stage, select) for stage in stages)

    def _timed(self, workspace: Workspace, stage: str, select: Callable[[Step], bool]) -> float:
        """Run the chosen steps of a stage one by one; return the seconds of their last execution."""
        path = self.folder / "seconds.json"
        known: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        total = 0.0
        for title in [step.title for step in all_steps(workspace, [stage]) if select(step)]:
            begin = time.perf_counter()
            if run_stages(workspace, [stage], select=lambda step, title=title: step.title == title):
                known[title] = time.perf_counter() - begin
                write_atomically(path, json.dumps(known, indent=2) + "\n")
            total += known[title]
        return total

    def _class_map(self, target: str) -> Path:
        path = self.folder / f"class_map.{target}.yaml"
        write_atomically(path, yaml.safe_dump(CLASS_MAPS[target]))
        return path


def row_of(table: int, name: str, settings: Sequence[str], scenes: dict[str, list[Scene]]) -> dict[str, str]:
    """One row: AP / AP50 of each target, and the costs."""
    figures: dict[str, list[dict[str, Any]]] = {
        target: [scene.figures(target, settings) for scene in of_seeds] for target, of_seeds in scenes.items()
    }
    row = {"table": str(table), "method": name}
    for target, seeds in figures.items():
        row[target] = " / ".join(spread([one[key] for one in seeds]) for key in ("ap", "ap50"))
    for cost in ("labelling", "training"):
        row[f"{cost}, s"] = f"{mean(one[cost] for seeds in figures.values() for one in seeds):.0f}"
    return row


if __name__ == "__main__":
    main()
