"""What hostile files cost: `lat` on files that are made to exhaust memory or time, and the line in which each ends.

    python benchmarks/hostile.py [--json FILE]

Each command is a process of its own; "peak MiB" is the most memory that it held, "seconds" its wall time, both with what
Python and the imports of that command take, which the first row shows with a file that is sound. "line" is where its one line
begins, without the path. The exit status is 1 if a command ended otherwise than with status 2 and one line, took more than a
minute or held more than a gigabyte.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from markdown import Row, print_rows

MOST_SECONDS, MOST_MIB = 60, 1024
LAUGHS = "".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 10 if i else ['x'] * 10)}]\n" for i in range(9))
XML_LAUGHS = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "ha"}">' for i in range(12))

SOUND: dict[str, list[dict[str, object]]] = {
    "categories": [{"id": 1, "name": "car"}],
    "images": [{"id": 1, "file_name": "1.png", "width": 48, "height": 32}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 8], "area": 80, "iscrowd": 0}],
}

CHILD = """
import re, runpy, sys
file = sys.argv.pop(1)
try:
    runpy.run_module("lat", run_name="__main__", alter_sys=True)
finally:
    with open(file, "w") as out, open("/proc/self/status") as status:
        out.write(re.search("VmHWM: *(.*) kB", status.read().replace("\\t", " "))[1])
"""

Make = Callable[[Path], list[str]]
"""Writes files into a folder, of which the one named `hostile*` is hostile; the arguments of `lat`."""


def written(content: bytes | str, *arguments: str) -> Make:
    """A file of that content, and a command in which `FILE` stands for it."""

    def make(folder: Path) -> list[str]:
        path = folder / "hostile.json"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return [one.replace("FILE", str(path)) for one in arguments]

    return make


def labels(content: bytes) -> Make:
    """Labels that are exported."""

    def make(folder: Path) -> list[str]:
        (folder / "hostile.json").write_bytes(content)
        (folder / "1.png").write_bytes(png(48, 32))
        files = [str(folder / "hostile.json"), "--images", str(folder)]
        return ["export", *files, "--to", "yolo", "--out", str(folder / "out")]

    return make


def imported(content: bytes) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "train").mkdir()
        (folder / "hostile.json").write_bytes(content)
        (folder / "train" / "_annotations.coco.json").symlink_to(folder / "hostile.json")
        return ["import", "coco", "--root", str(folder), "--out", str(folder / "out"), "--split", "train"]

    return make


def corrected(write: Callable[[Path], object]) -> Make:
    """An export of CVAT that comes back."""

    def make(folder: Path) -> list[str]:
        write(folder / "hostile.zip")
        (folder / "labels.json").write_text(json.dumps(SOUND))
        files = ["--root", str(folder / "hostile.zip"), "--labels", str(folder / "labels.json")]
        return ["import", "cvat", *files, "--out", str(folder / "out.json")]

    return make


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("annotations.xml", "w", force_zip64=True) as content:
        for _ in range(1500):
            content.write(b" " * 1_000_000)


def image(width: int, height: int) -> Make:
    """An image of a YOLO dataset."""

    def make(folder: Path) -> list[str]:
        (folder / "data.yaml").write_text("names: [car]\ntrain: images\n")
        (folder / "images").mkdir()
        (folder / "images" / "hostile.png").write_bytes(png(width, height))
        return ["import", "yolo", "--root", str(folder), "--out", str(folder / "out")]

    return make


def png(width: int, height: int) -> bytes:
    """A black image, packed as far as it goes."""
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(3 * width + 1)) for _ in range(height)) + packer.flush()
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    parts = (len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


SOUND_LABELS = "labels, sound"
FILES: dict[str, Make] = {
    SOUND_LABELS: labels(json.dumps(SOUND).encode()),
    "settings, 10^9 values by aliases": written(LAUGHS, "check", "FILE"),
    "settings, 20,000 lists": written(f"a: {'[' * 20_000}{']' * 20_000}", "check", "FILE"),
    "labels, 200,000 lists": labels(b"[" * 200_000),
    "labels, 64 MB of one text that is not closed": labels(b'{"images": "' + b"x" * 64_000_000),
    "labels, a number of 10 million digits": labels(b'{"annotations": [{"id": ' + b"1" * 10_000_000 + b"}]}"),
    "import coco, 200,000 lists": imported(b'{"images": ' + b"[" * 200_000),
    "import cvat, XML entities, 10^12": corrected(
        lambda path: path.write_text(f"<!DOCTYPE x [{XML_LAUGHS}]><annotations>&a11;</annotations>")
    ),
    "import cvat, 1.5 GB in a ZIP archive": corrected(zip_bomb),
    "import yolo, an image of 900 million pixels": image(30_000, 30_000),
    "decisions, 200,000 lists": written("[" * 200_000, "review", "apply", "FILE"),
    "settings, a device without end": lambda folder: ["check", "/dev/zero"],
}


def main() -> None:
    """Print a row per file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows, wrong = [], list[str]()
    for name, make in FILES.items():
        with tempfile.TemporaryDirectory() as folder:
            row = measured(Path(folder), make)
        is_bounded = row["seconds"] <= MOST_SECONDS and row["peak MiB"] <= MOST_MIB
        if not is_bounded or (row["status"], row["lines"]) != ((0, 0) if name == SOUND_LABELS else (2, 1)):
            wrong.append(name)
        rows.append({"file": name, **row})
    print_rows("hostile", rows, options.json)
    if wrong:
        print(f"\nnot as it should be: {', '.join(wrong)}")
    sys.exit(bool(wrong))


def measured(folder: Path, make: Make) -> Row:
    """What the command of a file costs, and how it ends."""
    arguments = make(folder)
    size = next((path.stat().st_size for path in folder.rglob("hostile*")), 0)
    peak, begun = folder / "peak", time.monotonic()
    command = [sys.executable, "-c", CHILD, str(peak), *arguments]
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - begun
    lines = [line for line in ended.stderr.splitlines() if not line.startswith(("import ", "check ", "hash "))]
    line = lines[-1].removeprefix("error: ").replace(f"{folder}/", "") if lines else ""
    return {
        "bytes": size,
        "peak MiB": round(int(peak.read_text()) / 1024),
        "seconds": round(seconds, 1),
        "status": ended.returncode,
        "lines": len(lines),
        "line": line[:100],
    }


if __name__ == "__main__":
    main()
