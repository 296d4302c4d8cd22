"""Filters of pseudo-labels: how well the kept labels match the target's class distribution, what that gains, and what it costs.

    python benchmarks/pseudo_label_filters.py [--seeds 0 1 2] [--out FOLDER] [--json FILE] [key=value ...]
    python benchmarks/pseudo_label_filters.py --boxes [--json FILE]

Street scenes with a long tail: three times as many images as usual are drawn, and a training image stays with the chance of its
rare classes, multiplied: truck 0.4, motorcycle 0.25, bus 0.1 (objects and labels of images that stay are whole; held-out images
are not thinned). About a third stays. Targets are city and nu, whose label spaces have those classes, the tail. All filters see
the same detections, of a score of 0.05 or more; ST keeps those of 0.3 or more. KL is the divergence of the kept pseudo-labels
from the target's ground truth, AP[.5:.95] is that of labels against truth, both mean over the transfers; tail AP is the mean over
tail classes. Runs are kept under --out; what is up to date is not done again.

With --boxes: 1 to 10 million scored boxes of 30 classes on 50 times fewer images, in chunks of 4,096 images; time of choosing
thresholds and marking what is kept, and the most memory that it takes beyond the columns of scores, labels and marks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from markdown import Row, print_rows, spread

from lat.commands.draw_street_scenes import draw_benchmark
from lat.config.load import load_config
from lat.core.files import write_atomically
from lat.labelling.filters import Chunk, ClassFilter, by_score, class_balanced, dars, kl_divergence, wanted_boxes
from lat.pipeline.run import run_stages
from lat.stages.shared.label_filters import IMAGES_AT_ONCE, labelled_counts
from lat.street_scenes import DEFAULT_TRAIN_IMAGES
from lat.workspace.label_files import read_pseudo_labels
from lat.workspace.workspace import Workspace

STAYS = {"truck": 0.4, "motorcycle": 0.25, "bus": 0.1}  # probability of keeping an image, for each of these classes in it
DRAWN = {name: 3 * DEFAULT_TRAIN_IMAGES[name] for name in ("city", "nu", "way")}
COMMON = ["target=[city, nu]", "pseudo_label.threshold=0.05"]
FILTERS = {
    "ST": ["pseudo_label.threshold=0.3"],
    "CBST": ["pseudo_label.filter.method=class_balanced"],
    "validation": ["pseudo_label.filter.method=validation"],
    "DA": ["pseudo_label.filter.method=da"],
    "DARS": ["pseudo_label.filter.method=dars"],
    "DARS, ratio 1": ["pseudo_label.filter.method=dars", "pseudo_label.filter.share=1.0"],
}
BOXES, CLASSES, BOXES_AN_IMAGE = (1_000_000, 2_000_000, 5_000_000, 10_000_000), 30, 50
SHARE = 0.2  # of the boxes is wanted: fewer than have score 1, so ties are broken at random


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", action="store_true", help="measure time and memory instead")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--filters", nargs="+", choices=list(FILTERS), default=list(FILTERS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_pseudo_label_filters"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    if options.boxes:
        rows = [row for count in BOXES for row in cost_rows(count)]
    else:
        scenes = [long_tailed_scenes(options.out / str(seed), seed) for seed in options.seeds]
        rows = [filter_row(name, scenes, options.overrides) for name in options.filters]
    print_rows("pseudo_label_filters", rows, options.json)


def long_tailed_scenes(folder: Path, seed: int) -> Path:
    """Draw street scenes and select images; return the path of the configuration."""
    config = draw_benchmark(folder, seed=seed, train_images=DRAWN)
    for number, name in enumerate(DRAWN):
        of_city = folder / name / ("train.json" if name == "city" else "truth.city.json")
        seen = json.loads(of_city.read_text(encoding="utf-8"))
        classes = {one["id"]: one["name"] for one in seen["categories"]}
        present = {(one["image_id"], classes[one["category_id"]]) for one in seen["annotations"]}
        lots = np.random.default_rng([seed, number]).random(len(seen["images"]))
        chance = [np.prod([share for each, share in STAYS.items() if (image["id"], each) in present]) for image in seen["images"]]
        stays = {image["id"] for image, lot, share in zip(seen["images"], lots, chance, strict=True) if lot < share}
        path = folder / name / "train.json"
        labels = json.loads(path.read_text(encoding="utf-8"))
        labels["images"] = [one for one in labels["images"] if one["id"] in stays]
        labels["annotations"] = [one for one in labels["annotations"] if one["image_id"] in stays]
        write_atomically(path, json.dumps(labels) + "\n")
    return config


def filter_row(name: str, configs: Sequence[Path], overrides: Sequence[str]) -> Row:
    """One row: mean over seeds, with spread."""
    figures = [run_filter(config, name, [*COMMON, *FILTERS[name], *overrides]) for config in configs]
    kept = {key: f"{mean(one['kept'][key] for one in figures):.0f}" for key in figures[0]["kept"]}
    row = {"filter": name, "KL": f"{mean(one['kl'] for one in figures):.6f}"}
    row["kept in city's classes (city's ground truth)"] = ", ".join(
        f"{key} {count} ({mean(one['labelled'][key] for one in figures):.0f})" for key, count in kept.items()
    )
    for method in ("pseudo_label", "label_transfer"):
        row[f"{method}, AP"] = spread([one[method] for one in figures])
        row[f"{method}, tail AP"] = spread([one[f"{method} tail"] for one in figures])
    return row


def run_filter(config: Path, name: str, settings: Sequence[str]) -> dict[str, dict[str, int] | float]:
    """Run all stages up to the evaluation with one filter; all filters start from the same detectors."""
    base, folder = (config.parent / "run" / each for each in ("base", name.replace(" ", "").replace(",", "_")))
    upstream = [setting for setting in settings if not setting.startswith("pseudo_label.filter")]
    run_stages(Workspace(load_config(config, [*upstream, f"output_dir={base}"])), ["train-upstream"])
    if not folder.is_dir():
        shutil.copytree(base, folder)
    workspace = Workspace(load_config(config, [*settings, f"output_dir={folder}"]))
    run_stages(workspace, ["train-upstream", "pseudo-label", "train-lat", "transfer", "evaluate"])
    return figures_of(workspace)


def figures_of(workspace: Workspace) -> dict[str, dict[str, int] | float]:
    """KL divergence, labels kept in city's classes, and AP of pseudo-labels and transferred labels."""
    kept = {
        (s, t): _counts(read_pseudo_labels(workspace, s, t).labels, len(workspace.data.space(t)))
        for s, t in workspace.transfers()
    }
    divergences = [kl_divergence(labelled_counts(workspace, t), counts) for (_, t), counts in kept.items()]
    names = workspace.data.space("city").class_names
    in_city = sum(counts for (_, t), counts in kept.items() if t == "city")
    figures: dict[str, dict[str, int] | float] = {
        "kl": mean(each for each in divergences if each is not None),
        "kept": dict(zip(names, in_city.tolist(), strict=True)),
        "labelled": dict(zip(names, labelled_counts(workspace, "city").tolist(), strict=True)),
    }
    rows = json.loads(workspace.paths.evaluation.read_text(encoding="utf-8"))["transfer"]
    for method in ("pseudo_label", "label_transfer"):
        of_method = [row for row in rows if row["method"] == method]
        figures[method] = mean(row["ap"] for row in of_method)
        tail = [row["per_class"][each] for row in of_method for each in STAYS]
        figures[f"{method} tail"] = mean(ap for ap in tail if ap is not None)
    return figures


def _counts(labels: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(labels, minlength=num_classes)


def cost_rows(count: int) -> list[Row]:
    """A row per filter on this many boxes."""
    images, shares = count // BOXES_AN_IMAGE, 1 / np.arange(1, CLASSES + 1)
    chunks = draw_chunks(count, shares / shares.sum())
    wanted = wanted_boxes(shares / shares.sum() * BOXES_AN_IMAGE * 1000, 1000, images, SHARE)
    filters: dict[str, Callable[[], ClassFilter]] = {
        "score": lambda: by_score(0.5, CLASSES),
        "class_balanced": lambda: class_balanced(chunks, CLASSES, SHARE),
        "dars": lambda: dars(chunks, wanted),
    }
    return [
        {"boxes": f"{count:,}", "images": f"{images:,}", "filter": name, **cost(make, chunks)} for name, make in filters.items()
    ]


def cost(make: Callable[[], ClassFilter], chunks: Sequence[Chunk]) -> dict[str, object]:
    """Seconds (the shorter of two runs) and, in a separate run, peak memory of making and applying a filter."""

    def turn() -> int:
        return sum(int(mask.sum()) for mask in make().masks(chunks))

    durations = []
    for _ in range(2):
        begin = time.perf_counter()
        kept = turn()
        durations.append(time.perf_counter() - begin)
    tracemalloc.start()
    turn()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    columns = sum(scores.nbytes + labels.nbytes for scores, labels in chunks)
    row = {"kept": f"{kept:,}", "seconds": f"{min(durations):.2f}", "columns, MiB": f"{columns / 2**20:.0f}"}
    return {**row, "peak beyond them, MiB": f"{peak / 2**20:.1f}"}


def draw_chunks(count: int, shares: np.ndarray) -> list[Chunk]:
    """Columns of boxes of an overconfident detector: a quarter of the scores are 1, the others have 4 decimals."""
    generator = np.random.default_rng(0)
    size = IMAGES_AT_ONCE * BOXES_AN_IMAGE
    chunks: list[Chunk] = []
    for start in range(0, count, size):
        boxes = min(size, count - start)
        scores = np.round(generator.beta(1.0, 2.0, boxes), 4).astype(np.float32)
        scores[generator.random(boxes) < 0.25] = 1.0
        chunks.append((scores, generator.choice(len(shares), boxes, p=shares).astype(np.int16)))
    return chunks


if __name__ == "__main__":
    main()
