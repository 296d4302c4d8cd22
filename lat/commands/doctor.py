"""Report what this machine offers, and what a run would use."""

from __future__ import annotations

import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lat import __version__
from lat.core.convnet_names import ALIASES, packaged_file
from lat.engine.reading import available_cores

OPTIONAL_PACKAGES = {
    "transformers": "RT-DETR and Deformable-DETR",
    "scipy": "the losses of RT-DETR and Deformable-DETR",
    "ultralytics": "YOLO as downstream detector",
    "pandas": "lat.load_labels(...).frame()",
    "supervision": "lat.load_labels(...)[i].detections()",
    "fiftyone": "viewing exports made with --to fiftyone",
}
_GIB = 2**30


def diagnose(folder: Path) -> dict[str, Any]:
    """Facts about this machine as JSON values; sizes in GiB, null for what cannot be known.

    The system and package metadata are asked first; only then are torch, and Detectron2 if installed, imported.

    Args:
        folder: where runs will write; its disk is checked.
    """
    return {**describe_machine(folder), **_ask_torch()}


def describe_machine(folder: Path) -> dict[str, Any]:
    """Facts that need no torch: versions, cores, memory, disk."""
    disk = shutil.disk_usage(_existing(folder))
    return {
        "lat": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "torch": _version("torch"),
        "torchvision": _version("torchvision"),
        "pretrained": [name for name in ALIASES if packaged_file(name) is not None],
        "packages": {name: _version(name) for name in OPTIONAL_PACKAGES},
        "cpu_cores": available_cores(),
        "memory_gib": _memory(),
        "disk": {"folder": str(folder), "free_gib": round(disk.free / _GIB, 1), "total_gib": round(disk.total / _GIB, 1)},
    }


def _ask_torch() -> dict[str, Any]:
    """GPUs, threads, whether Detectron2 imports, and what a run would use: what only torch can tell."""
    import torch

    from lat.detectors.base import detectron2_problem
    from lat.engine.precision import precision_of
    from lat.engine.training_settings import RuntimeSettings

    problem = detectron2_problem()
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda if gpus else None,
        "gpus": [{"name": gpu.name, "memory_gib": round(gpu.total_memory / _GIB, 1)} for gpu in gpus],
        "detectron2": {"version": _version("detectron2") if problem is None else None, "problem": problem},
        "threads": torch.get_num_threads(),
        "used": {
            "accelerator": "cuda" if gpus else "mps" if torch.backends.mps.is_available() else "cpu",
            "precision": precision_of(RuntimeSettings()),
            "auto_detector": "torchvision" if problem else "detectron2",
        },
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return next(place for place in (folder, *folder.parents) if place.exists())


def _memory() -> dict[str, float | None]:
    """Memory of the machine, and how much of it is available, in GiB."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        known = {name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":", 1) for line in lines)}
    except (OSError, ValueError, IndexError):
        known = {}
    found = {"total": known.get("MemTotal"), "available": known.get("MemAvailable")}
    return {name: None if value is None else round(value / _GIB, 1) for name, value in found.items()}


def print_diagnosis(facts: dict[str, Any]) -> None:
    """Print what `diagnose` found as a table, and the advice that follows from it."""
    console = Console(highlight=False)
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in _lines(facts):
        table.add_row(title, escape(text))
    console.print(table)
    for line in advice(facts):
        console.print(escape(line), soft_wrap=True)


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    gpus = [f"{gpu['name']}, {gpu['memory_gib']} GiB" for gpu in facts["gpus"]]
    detectron2, memory, disk, used = (facts[key] for key in ("detectron2", "memory_gib", "disk", "used"))
    packages = [(name, f"{found or 'not installed'} ({OPTIONAL_PACKAGES[name]})") for name, found in facts["packages"].items()]
    return [
        ("lat", facts["lat"]),
        ("Python", f"{facts['python']} ({facts['executable']})"),
        ("system", facts["platform"]),
        ("torch", f"{facts['torch']}, torchvision {facts['torchvision']}"),
        ("CUDA", facts["cuda"] or "none"),
        ("GPUs", "; ".join(gpus) or "none"),
        ("Detectron2", f"does not import: {detectron2['problem']}" if detectron2["problem"] else str(detectron2["version"])),
        ("pretrained weights", ", ".join(facts["pretrained"]) or f"none installed; {', '.join(ALIASES)} would be downloaded"),
        *packages,
        ("CPU", f"{facts['cpu_cores']} cores, {facts['threads']} threads of torch"),
        ("memory", f"{_gib(memory['available'])} free of {_gib(memory['total'])}"),
        ("disk", f"{_gib(disk['free_gib'])} free of {_gib(disk['total_gib'])} at {disk['folder']}"),
        ("used", f"{used['accelerator']}, {used['precision']}; `detector: auto` is {used['auto_detector']}"),
    ]


def _gib(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g} GiB"


def advice(facts: dict[str, Any]) -> list[str]:
    """What to change before a run, one line each."""
    lines = []
    if facts["used"]["accelerator"] == "cpu":
        lines.append("no GPU: the default settings are sized for a CPU; keep `image_size` small")
    elif facts["used"]["accelerator"] == "cuda":
        lines.append("a GPU: choose larger models; the README has settings to start from")
    if facts["disk"]["free_gib"] < 5:
        lines.append("less than 5 GiB of disk space is free: set `output_dir` to another disk, or `lat.backbone.cache: memory`")
    available = facts["memory_gib"]["available"]
    if available is not None and available < 4:
        lines.append("less than 4 GiB of memory is free: set `lat.backbone.cache: disk` and a smaller `batch_size`")
    return lines
