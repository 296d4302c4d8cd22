"""What a GPU makes of `lat`: each stage beside its ceiling, frozen features, memory of the paper's configurations, and more.

    python benchmarks/gpu.py [--device cuda] [--parts stages features ...] [--budget SECONDS] [--json FILE]

Nothing is downloaded: weights are random, images are noise. All parts together are estimated to take six minutes on one GPU, and
end before eight. They come in order of value; once the budget is spent, the rest is left out with a line that says so. A row is
printed as soon as it is measured, and is then in the JSON file, which also names the parts that were not reached: whatever ends
the command loses nothing. On a CPU everything is as small as it can be, which shows that it works and nothing else.

`stages`: images per second of each stage of a run while it works, so without building models and writing the last file, beside a
ceiling: the same model and precision on a batch that lies on the device already.
`features`: frozen DINOv2 of three sizes, one image at a time in float32 with its map on the CPU, against batches in bfloat16.
`same`: transferred labels of one model made on the CPU and on the device.
`pseudo-labels`: the stage against one loop per detector (`pseudo_labelling.py`).
`paper`: one step of every stage of each configuration of the paper, at full size, and of further detectors that it names; "steps"
are those of the run, "s" is seconds.
`training`: label-transfer training with cached and recomputed features (`label_transfer_training.py`).
`decoding`: JPEG files decoded by `lat`, and by PyTorch on the device, and how far the pixels are apart.
`processes`: a run in two processes, over NCCL, where there are two GPUs.
"Peak MiB" is the most that PyTorch had allocated on the GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_bench import Bench
from gpu_decoding import decoding_rows
from gpu_features import feature_rows
from gpu_paper import paper_rows
from gpu_same import process_rows, same_label_rows
from gpu_stages import stage_rows, what_it_is
from label_transfer_training import CASES as TRAINING_CASES
from label_transfer_training import Case as TrainingCase
from label_transfer_training import measure as measure_training
from markdown import Row, print_rows
from pseudo_labelling import Case as LabellingCase
from pseudo_labelling import measure as measure_labelling

from lat.core.files import write_atomically
from lat.detectors.base import detectron2_problem
from lat.models.model_settings import BackboneSettings

BUDGETS = {"cuda": 460.0, "cpu": 170.0}


@dataclass(frozen=True)
class Part:
    """A part of the benchmark: what measures it, and the seconds that it should take on a fast GPU: see docs/benchmarks.md."""

    rows: Callable[[Bench], Iterator[Row]]
    seconds: float


def labelling_rows(bench: Bench) -> Iterator[Row]:
    """A row for torchvision's detectors and, where it imports, Detectron2's."""
    case = LabellingCase("small", (48, 64), 0, 8) if bench.small else LabellingCase("resnet50", (720, 1280), 720, 64)
    for library in ("torchvision",) if detectron2_problem() else ("torchvision", "detectron2"):
        yield measure_labelling(case, library, bench.device.type)


def training_rows(bench: Bench) -> Iterator[Row]:
    """A row per backbone."""
    large = TrainingCase(
        "DINOv2 ViT-B/14", BackboneSettings(name="dinov2_vitb14", weights="none", image_size=518), (1080, 1920), 10
    )
    small = TrainingCase("upstream (small)", BackboneSettings(), (48, 64), 2)
    for case in (small,) if bench.small else (TRAINING_CASES[0], large):
        yield measure_training(case, bench.device.type)


PARTS = {
    "stages": Part(stage_rows, 75),
    "features": Part(feature_rows, 25),
    "same": Part(same_label_rows, 30),
    "pseudo-labels": Part(labelling_rows, 45),
    "paper": Part(paper_rows, 130),
    "training": Part(training_rows, 20),
    "decoding": Part(decoding_rows, 12),
    "processes": Part(process_rows, 30),
}


def main() -> None:
    """Measure the parts, print a table of each, and write all to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(BUDGETS), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="default: 460 on a GPU, 170 on a CPU")
    parser.add_argument("--json", type=Path, metavar="FILE", default=Path("runs/gpu.json"), help="default: runs/gpu.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        budget = BUDGETS[options.device] if options.budget is None else options.budget
        bench = Bench(torch.device(options.device), options.device == "cpu", budget, Path(folder))
        print(bench.describe())
        results = measure(bench, {name: PARTS[name] for name in PARTS if name in options.parts}, options.json)
    if any("error" in part for part in results.values()):
        sys.exit(1)


def measure(bench: Bench, parts: Mapping[str, Part], file: Path) -> dict[str, dict[str, Any]]:
    """Measure some parts as long as the budget lasts; a part that fails ends alone.

    Returns:
        For each part its `rows`, its `seconds`, and `skipped` or `error`, in words; also in the file, after every row.
    """
    results: dict[str, dict[str, Any]] = {name: {"rows": [], "skipped": "not reached"} for name in parts}
    for name, part in parts.items():
        print(f"\n{name}\n", flush=True)
        result = results[name]
        del result["skipped"]
        _measure_part(bench, part, result, lambda: _write(bench, results, file))
        for word in ("skipped", "error"):
            if word in result:
                print(f"{name}: {result[word]}", flush=True)
        if result["rows"]:
            print_rows(name, result["rows"])
        print(f"\n{result['seconds']} s", flush=True)
    return results


def _measure_part(bench: Bench, part: Part, result: dict[str, Any], write: Callable[[], None]) -> None:
    start = time.monotonic()
    if bench.left() <= 0 or (bench.is_gpu and bench.left() < 0.8 * part.seconds):
        result["skipped"] = f"left out: {max(0, bench.left()):.0f} s of the budget of {bench.budget:.0f} s are left"
    else:
        try:
            for row in part.rows(bench):
                result["rows"].append(dict(row))
                write()
                print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
                if bench.left() <= 0:
                    result["skipped"] = "stopped: the budget is spent"
                    break
        except Exception as error:
            traceback.print_exc()
            result["error"] = f"failed: {type(error).__name__}: {error}"
    result["seconds"] = round(time.monotonic() - start, 1)
    write()


def _write(bench: Bench, results: Mapping[str, Any], file: Path) -> None:
    content = {"benchmark": "gpu", "device": bench.describe(), "budget": bench.budget, "stages": what_it_is(bench)}
    write_atomically(file, json.dumps({**content, "parts": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
