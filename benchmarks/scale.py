"""How `lat` behaves as datasets grow: time and memory of whole runs, executors, and the parts that see all labels at once.

    python benchmarks/scale.py [--parts run executors efficiency store average-precision tails] [--images 5000 20000 60000 215440]
                               [--keep FOLDER] [--json FILE]

`run`: `lat run` on the paper's benchmark of small and large datasets (four datasets in its proportions, with their own classes,
ten objects on each image, every dataset a target, one round, no downstream detector) with detectors that cost nothing, on images
of 32 x 24 pixels. "CPU ms per image" and "peak" are of the process during the stage, the hashing of its inputs included; "x" is
the ratio to the size before, whose images are in the last column as a ratio too.
`executors`: SHA-256 of all labels files of a run of 2,000 images whose shards one process did, four that torchrun started, and
the workers of a Ray cluster of three nodes, one of which is killed in the middle.
`efficiency`: processes that sleep instead of computing, one of which is half as fast: the shortest possible time as a share of
the time taken, with shards that each takes when it is free and with equal shares.
The others are benchmarks of their own: `label_store.py`, `average_precision.py`, `tails.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from markdown import Row, print_rows
from scale_executors import efficiency_rows, executor_rows
from scale_run import run_rows

from lat.core.files import write_atomically

HERE = Path(__file__).parent
SCRIPTS = {"store": "label_store.py", "average-precision": "average_precision.py", "tails": "tails.py"}


def main() -> None:
    """Print a table per part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ["run", "executors", "efficiency", *SCRIPTS]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--images", type=int, nargs="+", default=[5000, 20000, 60000, 215440], help="of `run`, over all datasets")
    parser.add_argument("--executors", nargs="+", choices=["local", "processes", "ray"], default=["local", "processes", "ray"])
    parser.add_argument("--executor-images", type=int, default=2000, help="of `executors`")
    parser.add_argument("--settings", nargs="*", default=[], metavar="KEY=VALUE", help="other settings of `run`")
    parser.add_argument("--keep", type=Path, help="folder to write runs to, and to leave them in")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    work: dict[str, Callable[[Path], list[Row]]] = {
        "run": lambda folder: run_rows(folder, options.images, options.settings),
        "executors": lambda folder: executor_rows(folder, options.executor_images, options.executors),
        "efficiency": lambda folder: efficiency_rows(),
    }
    tables: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for part in options.parts:
            print(f"\n{part}\n", flush=True)
            folder = options.keep or Path(temporary)
            tables[part] = _of_script(SCRIPTS[part]) if part in SCRIPTS else work[part](folder)
            if part in work:
                print_rows(part, tables[part])
    if options.json is not None:
        write_atomically(options.json, json.dumps({"benchmark": "scale", "parts": tables}, indent=2) + "\n")


def _of_script(name: str) -> list[Row]:
    """Let another benchmark print its table; returns its rows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        subprocess.run([sys.executable, str(HERE / name), "--json", str(file)], check=True)
        rows: list[Row] = json.loads(file.read_text())["rows"]
        return rows


if __name__ == "__main__":
    main()
