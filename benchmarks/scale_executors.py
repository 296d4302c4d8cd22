"""Who does the shards of a run: the same bytes whoever does, and how much of the processes' time is used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from markdown import Row
from stand_in_run import write_run

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
MADE_BY_SHARDS = ("pseudo_labels", "transferred", "lat/class_shares.json", ".work")
PROCESSES = 4


def executor_rows(folder: Path, images: int, executors: list[str]) -> list[Row]:
    """A row per executor: the hash of all labels files, and whether it is that of the run in one process."""
    first = folder / f"executors_{images}"
    shutil.rmtree(first, ignore_errors=True)
    config = write_run(first, images)
    _call([sys.executable, str(HERE / "stand_in_run.py"), "run", str(config), "--quiet"])
    expected, rows = _hash_of_labels(first / "run"), list[Row]()
    for executor in executors:
        output, note = first / "run", "1 process"
        if executor != "local":
            output = first / executor
            shutil.copytree(first / "run", output)
            for name in MADE_BY_SHARDS:
                shutil.rmtree(output / name) if (output / name).is_dir() else (output / name).unlink()
            note = DRIVERS[executor](config, output)
        found = _hash_of_labels(output)
        row = {"executor": executor, "how": note, "images": images, "labels files": len(_labels_files(output))}
        rows.append({**row, "SHA-256": found[:16], "same bytes": "yes" if found == expected else "NO"})
    return rows


def _labels_files(output: Path) -> list[Path]:
    return sorted(path for name in ("pseudo_labels", "transferred") for path in (output / name).rglob("*.json"))


def _hash_of_labels(output: Path) -> str:
    """SHA-256 over all pseudo-labels and transferred labels and their names."""
    whole = sha256()
    for path in _labels_files(output):
        whole.update(str(path.relative_to(output)).encode() + sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _run_in_processes(config: Path, output: Path) -> str:
    command = [*TORCHRUN, f"--nproc-per-node={PROCESSES}", str(HERE / "stand_in_run.py"), "run", str(config)]
    _call([*command, f"output_dir={output}", "--quiet"])
    return f"torchrun, {PROCESSES} processes"


def _run_on_ray(config: Path, output: Path) -> str:
    return _call([sys.executable, str(HERE / "scale_ray.py"), str(config), str(output)]).splitlines()[-1]


DRIVERS: dict[str, Callable[[Path, Path], str]] = {"processes": _run_in_processes, "ray": _run_on_ray}


def efficiency_rows() -> list[Row]:
    """A row per number of processes, without and with one that is half as fast."""
    return [_efficiency(*case) for case in ((1, False), (2, False), (2, True), (4, False), (4, True))]


def _efficiency(processes: int, straggler: bool) -> Row:
    row: Row = {"processes": processes, "one half as fast": "yes" if straggler else "no"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [str(HERE / "sleeping_shards.py"), str(file), *(["straggler"] if straggler else [])]
        _call([*TORCHRUN, f"--nproc-per-node={processes}", *command])
        figures = json.loads(file.read_text())
    named = {name: f"{100 * figures['ideal'] / figures[name]:.0f} %" for name in ("whoever is free", "equal shares")}
    return {**row, "ideal seconds": f"{figures['ideal']:.1f}", **named}


def _call(command: list[str]) -> str:
    """Run a command; returns its standard output.

    Raises:
        SystemExit: with what it says on standard error, if it fails.
    """
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout
