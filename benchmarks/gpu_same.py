"""Whether a GPU writes the labels that a CPU writes, and whether two processes can share the work over NCCL."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from gpu_bench import Bench, rounded
from markdown import Row

from lat.commands.draw_street_scenes import benchmark_config
from lat.config.load import load_config
from lat.labels.coco.read import read_labels
from lat.labels.overlaps import overlaps
from lat.pipeline.run import run_stages
from lat.street_scenes import SceneSettings, draw_street_scenes
from lat.workspace.workspace import Workspace

CLOSE_IOU, CLOSE_SCORE, LEAST_SHARE = 0.98, 0.02, 0.99
"""Two labels are the same at this IoU and within this difference of scores; two runs, if this share of their labels is."""

SETTINGS = (
    *("rounds.count=0", "downstream.in_run=false", "training.trackers=[]", "lat.backbone.cache_dtype=float32"),
    *("upstream.training.batch_size=2", "upstream.model.max_detections=10", "lat.training.batch_size=2", "lat.head.dim=32"),
)


@dataclass
class Compared:
    """Labels of two runs side by side."""

    counts: list[tuple[int, int]] = field(default_factory=list)
    ious: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)

    def add(self, one: Path, other: Path) -> None:
        """Compare two labels files of the same images: each label with the one of its class that it overlaps most."""
        first, second = read_labels(one, "labels"), read_labels(other, "labels")
        pairs = overlaps(first, second)
        same_class = first.labels[pairs.first] == second.labels[pairs.second]
        best = np.zeros(first.num_boxes)
        difference = np.ones(first.num_boxes)
        for row, column, iou in zip(pairs.first[same_class], pairs.second[same_class], pairs.iou[same_class], strict=True):
            if iou > best[row]:
                best[row], difference[row] = iou, abs(first.scores[row] - second.scores[column])
        self.counts.append((first.num_boxes, second.num_boxes))
        self.ious.append(best)
        self.scores.append(difference)

    def row(self, what: str) -> Row:
        """The figures of all files, and the verdict."""
        iou, score = np.concatenate(self.ious), np.concatenate(self.scores)
        ours, theirs = (sum(column) for column in zip(*self.counts, strict=True))
        share = float(((iou >= CLOSE_IOU) & (score <= CLOSE_SCORE)).mean()) if ours else 0.0
        is_same = share >= LEAST_SHARE and abs(ours - theirs) <= (1 - LEAST_SHARE) * ours
        return {
            "labels": what,
            "on the CPU": ours,
            "here": theirs,
            f"same (IoU {CLOSE_IOU}, score {CLOSE_SCORE})": f"{100 * share:.2f} %",
            "median IoU": rounded(float(np.median(iou))),
            "verdict": "the same" if is_same else "different",
        }


def same_label_rows(bench: Bench) -> Iterator[Row]:
    """Transferred labels of one model, made on the CPU and on the device; on a CPU, in batches of other sizes."""
    folder = bench.folder / "same"
    config = _trained_run(folder, bench)
    cases = {"float32": "32-true"}
    if bench.is_gpu:
        cases["bfloat16, for comparison"] = "bf16-mixed"
    for what, precision in cases.items():
        other, found = folder / precision, Compared()
        shutil.copytree(folder / "run", other)
        settings = [
            *SETTINGS,
            f"output_dir={other}",
            f"runtime.accelerator={bench.device.type}",
            f"runtime.precision={precision}",
        ]
        settings += [] if bench.is_gpu else ["runtime.images_per_batch=3"]
        workspace = Workspace(load_config(config, settings))
        run_stages(workspace, ["transfer"], force=True, say=_quiet)
        for pair in workspace.transfers():
            name = f"{'.'.join(pair)}.json"
            found.add(folder / "run" / "transferred" / name, other / "transferred" / name)
        yield found.row(what if bench.is_gpu else f"{what}, in batches of 3 instead of 16")


def _trained_run(folder: Path, bench: Bench) -> Path:
    """Street scenes up to their transferred labels, all on the CPU; returns the configuration."""
    count, steps = (4, 3) if bench.small else (16, 30)
    draw_street_scenes(folder / "data", SceneSettings(train_images=dict.fromkeys(("city", "nu", "way"), count), val_images=2))
    config = folder / "config.yaml"
    config.write_text(benchmark_config("data", "run"), encoding="utf-8")
    settings = [*SETTINGS, f"output_dir={folder / 'run'}", "runtime.accelerator=cpu"]
    settings += [f"upstream.training.steps={steps}", f"lat.training.steps={steps}"]
    stages = ["train-upstream", "pseudo-label", "train-lat", "transfer"]
    run_stages(Workspace(load_config(config, settings)), stages, say=_quiet)
    return config


def process_rows(bench: Bench) -> Iterator[Row]:
    """Two processes that train together and label in shards, over NCCL where there are two GPUs, over gloo on a CPU."""
    if bench.is_gpu and torch.cuda.device_count() < 2:
        yield {"processes": 1, "over": "NCCL", "s": "-", "result": "not done: one GPU"}
        return
    folder = bench.folder / "processes"
    draw_street_scenes(folder / "data", SceneSettings(train_images=dict.fromkeys(("city", "nu", "way"), 4), val_images=1))
    config = folder / "config.yaml"
    config.write_text(benchmark_config("data", "run"), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "lat", "run"]
    command += [str(config), *SETTINGS, "upstream.training.steps=3", "lat.training.steps=3"]
    command.append(f"runtime.accelerator={bench.device.type}")
    start, most = time.perf_counter(), max(60.0, bench.left())
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=most)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    result = "every stage done" if done.returncode == 0 else f"status {done.returncode}"
    over = "NCCL" if bench.is_gpu else "gloo"
    yield {"processes": 2, "over": over, "s": rounded(time.perf_counter() - start), "result": result}


def _quiet(line: str) -> None:
    """Say nothing."""
