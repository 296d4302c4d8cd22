"""What a training on a CPU gains where memory that a step frees is kept for the next one (`lat/engine/allocation.py`).

    python benchmarks/kept_memory.py [--times 3] [--json FILE] [key=value ...]

Each training is a process of its own: the detectors of two datasets of street scenes, with the overrides that are given, such as
`upstream.model.backbone=efficientnet_lite0`. In every second process a variable of glibc leaves memory to glibc. The ratio is the
median over pairs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from markdown import Row, print_rows, spread

from lat.commands.draw_street_scenes import draw_benchmark

LEFT_TO_GLIBC = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=7"}  # its default
IMAGES = {"city": 40, "nu": 40}
SIZE = "upstream.model.image_size=288"  # on images as small as they are drawn, glibc keeps all by itself
SETTINGS = [SIZE, "upstream.training.steps=40", "rounds.count=0", "training.trackers=[]"]


def main() -> None:
    """Print a row for either way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    kept, left = [], []
    with tempfile.TemporaryDirectory() as folder:
        config = draw_benchmark(Path(folder) / "scenes", datasets=list(IMAGES), train_images=IMAGES)
        for number in range(options.times):
            for found, variables in ((kept, {}), (left, LEFT_TO_GLIBC)):
                run = Path(folder) / f"{number}_{len(variables)}"
                found.append(train(config, run, options.overrides, variables))
    ratio = median(one["seconds"] / other["seconds"] for one, other in zip(kept, left, strict=True))
    rows = [row("kept", kept, f"{ratio:.2f}"), row("left to glibc", left, "1")]
    print_rows("kept_memory", rows, options.json)


def train(config: Path, run: Path, overrides: list[str], variables: dict[str, str]) -> dict[str, float]:
    """Seconds, CPU seconds and peak memory of a training."""
    command = [sys.executable, "-m", "lat", "train-upstream", str(config), f"output_dir={run}", *SETTINGS, *overrides]
    start = perf_counter()
    process = subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return {"seconds": perf_counter() - start, "cpu": used.ru_utime + used.ru_stime, "gib": used.ru_maxrss / 2**20}


def row(name: str, found: list[dict[str, float]], ratio: str) -> Row:
    """Means and spreads of one way."""
    columns = {"seconds": "seconds", "CPU seconds": "cpu", "peak GiB": "gib"}
    return {"memory": name, **{title: spread([one[key] for one in found]) for title, key in columns.items()}, "ratio": ratio}


if __name__ == "__main__":
    main()
