"""The gain of a class prior, and of further rounds: mean transfer AP over all six directions.

    python benchmarks/priors_and_rounds.py [--seeds 0 1 2] [--difficulties easy hard] [--rows NAME ...] [--rounds 2]
                                           [--out FOLDER] [--json FILE] [key=value ...]

All rows of a seed start from the same detectors, pseudo-labels and label-transfer model; the rows of priors only write new
labels. Relations are those that `lat relations` finds with its defaults; reviewed relations, and the table, are what a reader of
both protocols knows: the classes that both give the same road user. In rounds, the detectors of all three datasets continue
training, and every round trains a new label-transfer model. `noisy` is a noisy student: colours, blur, scales from 0.8 to 1.25,
mosaics in a quarter of the images, dropout 0.1 in the box head. `growing` adds the schedule of DARS: a labelling ratio of 0.2,
then 0.5, and scales that widen by 0.2 and 0.5. Runs are kept under --out; up-to-date steps are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from itertools import combinations, permutations, product
from pathlib import Path

import numpy as np
import yaml
from markdown import Row, print_rows, spread

from lat.commands.draw_street_scenes import draw_benchmark
from lat.commands.relate import relate
from lat.config.load import load_config
from lat.core.files import write_atomically
from lat.core.label_space import LabelSpace
from lat.pipeline.run import run_stages
from lat.stages.evaluate import mean_ap, method_of
from lat.street_scenes.canvas import Extent
from lat.street_scenes.protocols import PaintedUser, annotate
from lat.street_scenes.scene import RIDDEN_SHARES, Kind
from lat.workspace.workspace import Workspace

NOISE = {"color": 0.4, "blur": 0.25, "mosaic": 0.25, "dropout": 0.1}
NOISY = [f"rounds.noise.{name}={value}" for name, value in NOISE.items()]
GROWING = [*NOISY, "rounds.noise.widen=[0.2, 0.5]", "rounds.labelling_ratio=[0.2, 0.5]"]
TABLE = "transfer.prior.table={scenes}/table.yaml"
REVIEWED = ["transfer.prior.method=relations", "relations.file={scenes}/review.yaml"]
DEFAULT = "consistent (default)"
PRIORS = {
    "no prior": ["transfer.prior.method=none"],
    "learnt for each pair": ["transfer.prior.method=learnt"],
    DEFAULT: [],
    "relations": ["transfer.prior.method=relations"],
    "relations, veto 0.02": ["transfer.prior.method=relations", "transfer.prior.veto=0.02"],
    "reviewed relations": [*REVIEWED],
    "reviewed relations, veto 0.02": [*REVIEWED, "transfer.prior.veto=0.02"],
    "table": ["transfer.prior.method=table", TABLE],
    "table, veto 0.02": ["transfer.prior.method=table", TABLE, "transfer.prior.veto=0.02"],
    "co-occurrence": ["transfer.prior.method=cooccurrence"],
    "co-occurrence, veto 0.02": ["transfer.prior.method=cooccurrence", "transfer.prior.veto=0.02"],
}
KINDS = {(True, True): "equal", (True, False): "narrower", (False, True): "broader", (False, False): "overlapping"}
ROUNDS = {"rounds": [], "noisy rounds": NOISY, "growing rounds": GROWING}


def main() -> None:
    """Print a row per prior, and one per round for each kind of rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--difficulties", nargs="+", choices=["easy", "hard"], default=["easy", "hard"])
    rows = [*PRIORS, *ROUNDS]
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows, metavar="NAME")
    parser.add_argument(
        "--rounds", type=int, default=2, help="number of further rounds in the rows of rounds; raising it extends the runs"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_priors_and_rounds"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    figures: dict[str, dict[str, list[float]]] = {}  # by row and difficulty, one per seed
    for seed in options.seeds:
        for difficulty in options.difficulties:
            base = prepare(options.out / f"{difficulty}_{seed}", difficulty, seed, options.overrides)
            for name in options.rows:
                for row, ap in run_cell(base, name, options.rounds, options.overrides).items():
                    figures.setdefault(row, {}).setdefault(difficulty, []).append(ap)
    print_rows("priors_and_rounds", table(figures), options.json)


def prepare(folder: Path, difficulty: str, seed: int, overrides: Sequence[str]) -> Workspace:
    """What all rows of a seed share: everything up to the label-transfer model, relations, and human knowledge of classes."""
    config = draw_benchmark(folder, difficulty=difficulty, seed=seed)
    workspace = Workspace(load_config(config, overrides))
    run_stages(workspace, ["train-upstream", "pseudo-label", "train-lat"])
    if not workspace.paths.found_relations():
        relate(workspace)
    tables: dict[str, dict[str, dict[str, list[str]]]] = {}
    for source, target in permutations(workspace.names, 2):
        tables.setdefault(source, {})[target] = possible_classes(workspace.data.space(source), workspace.data.space(target))
    pairs = [reviewed(workspace.data.space(a), workspace.data.space(b)) for a, b in combinations(workspace.names, 2)]
    write_atomically(folder / "table.yaml", yaml.safe_dump(tables, sort_keys=False))
    write_atomically(folder / "review.yaml", yaml.safe_dump({"pairs": pairs}, sort_keys=False))
    return workspace


def possible_classes(source: LabelSpace, target: LabelSpace) -> dict[str, list[str]]:
    """For each source class, the target classes that the protocols give to the same, fully visible road users."""
    possible: dict[str, list[str]] = {name: [] for name in source.class_names}
    for kind, is_ridden in product(Kind, (False, True)):
        if not is_ridden or kind in RIDDEN_SHARES:
            user = PaintedUser(kind, _extent(20, 40), _extent(0, 20) if is_ridden else None)
            own, others = ([one.class_name for one in annotate([user], space.name)] for space in (source, target))
            for name in own:
                possible[name] += others
    return {name: [each for each in target.class_names if each in others] for name, others in possible.items()}


def _extent(top: int, bottom: int) -> Extent:
    mask = np.zeros((40, 40), dtype=bool)
    mask[top:bottom] = True
    return Extent(mask, mask)


def reviewed(first: LabelSpace, second: LabelSpace) -> dict[str, object]:
    """The same knowledge as a pair's entry in the file of `lat relations --review`."""
    forward, backward = possible_classes(first, second), possible_classes(second, first)
    relations = []
    for name, others in forward.items():
        for other in others:
            relations.append({"first": name, "second": other, "relation": KINDS[len(others) == 1, len(backward[other]) == 1]})
    return {"spaces": [first.name, second.name], "relations": relations}


def run_cell(base: Workspace, name: str, rounds: int, overrides: Sequence[str]) -> dict[str, float]:
    """Mean transfer AP of a row, or of each round, by row name."""
    scenes = base.paths.root.parent
    folder = scenes / "cells" / "".join(c if c.isalnum() else "_" for c in name)
    if not folder.is_dir():
        shutil.copytree(base.paths.root, folder)
    chosen = [setting.format(scenes=scenes) for setting in {**PRIORS, **ROUNDS}[name]]
    counted = [] if name in PRIORS else [f"rounds.count={rounds}"]
    workspace = Workspace(load_config(scenes / "config.yaml", [*overrides, *chosen, *counted, f"output_dir={folder}"]))
    if workspace.config.relations.file:
        relate(workspace)
    run_stages(workspace, ["train-upstream", "pseudo-label", "train-lat", "transfer", "evaluate"])
    rows = json.loads(workspace.paths.evaluation.read_text(encoding="utf-8"))["transfer"]
    if name in PRIORS:
        return {name: mean_ap(rows, method_of(workspace))}
    return {f"{name}, {seen.round} of them": mean_ap(rows, method_of(seen)) for seen in workspace.rounds()[1:]}


def table(figures: dict[str, dict[str, list[float]]]) -> list[Row]:
    """Two columns per difficulty: mean and spread over seeds, and the mean difference from the default."""
    reference = figures.get(DEFAULT, {})
    rows: list[Row] = []
    for name, by_difficulty in figures.items():
        row: dict[str, object] = {"": name}
        for difficulty, values in by_difficulty.items():
            row[difficulty] = spread(values)
            if difficulty in reference:
                pairs = zip(values, reference[difficulty], strict=True)
                row[f"{difficulty}, less the default"] = spread([ap - default for ap, default in pairs])
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
