"""What answers to the questions of `lat ask` are worth: mean transfer AP over all directions of street scenes.

    python benchmarks/questions.py [--seeds 0 1 2] [--difficulty hard] [--annotators exact] [--answers 0 1 3 5 10]
                                   [--runs FOLDER] [--out FOLDER] [--json FILE] [key=value ...]

Someone who knows both protocols answers one question after another, each the best that is left; or says what classes are in the
order of all source classes of all directions, as one goes through a matrix; or says all of it. `lat ask` may run out of questions
before, where nothing is undecided. A seed is the folder DIFFICULTY_ANNOTATORS_SEED of --runs with `config.yaml` and `run/`, as
`benchmarks/street_scenes.py` makes it; it is made if it is not there, and nothing is written to one that is. Copies are under
--out, where only those transfers are done again that depend on an answer; figures that are there are not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import yaml
from markdown import Row, print_rows, spread
from priors_and_rounds import possible_classes

from lat.commands.ask import RunQuestions
from lat.commands.draw_street_scenes import draw_benchmark
from lat.config.load import load_config
from lat.core.files import sha256_of_file, write_atomically
from lat.evaluation.label_figures import label_figures
from lat.labelling.answer_file import AnswerFile
from lat.pipeline.run import run_stages
from lat.street_scenes import ANNOTATORS
from lat.workspace.label_files import read_transferred, read_truth
from lat.workspace.workspace import Workspace

Asked = list[tuple[str, str, str]]
"""Source, target and source class of each question, in order."""

ASKED, MATRIX, ALL = "asked", "matrix", "all"


def main() -> None:
    """Print a row per number of answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--difficulty", choices=["easy", "hard"], default="hard")
    parser.add_argument("--annotators", choices=ANNOTATORS, default="exact")
    parser.add_argument("--answers", type=int, nargs="+", default=[0, 1, 3, 5, 10])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark_street_scenes"))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_questions"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    seeds = []
    for seed in options.seeds:
        run = finished_run(options.runs, options.difficulty, options.annotators, seed, options.overrides)
        seeds.append(Answering(run, options.out / run.name, options.overrides).figures(options.answers))
    print_rows("questions", table(seeds, options.answers), options.json)


def finished_run(runs: Path, difficulty: str, annotators: str, seed: int, overrides: Sequence[str]) -> Path:
    """The folder of a run, below that of all; it is made if it is not there."""
    run = runs / f"{difficulty}_{annotators}_{seed}"
    if not (run / "config.yaml").is_file():
        config = draw_benchmark(run, difficulty=difficulty, seed=seed, annotators=annotators)
        run_stages(Workspace(load_config(config, overrides)))
    return run


def copied_run(run: Path, folder: Path) -> Path:
    """What a run has written, copied into a folder unless it is there; returns where it is."""
    copy, part = folder / "run", folder / ".run.part"
    if not copy.is_dir():
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(run / "run", part)
        part.rename(copy)
    return copy


def figures_of(workspace: Workspace, source: str, target: str) -> dict[str, Any]:
    """The figures of a run's transferred labels against truth; see `label_figures`."""
    truth = read_truth(workspace, source, target)
    assert truth is not None
    return label_figures(truth, read_transferred(workspace, source, target), workspace.config.evaluation.counted_threshold)


class Answering:
    """Answers to questions about one finished run, and the transfer AP with them.

    Args:
        run: its folder, with `config.yaml` and `run/`.
        folder: where the copy and the figures are.
        overrides: settings.
    """

    def __init__(self, run: Path, folder: Path, overrides: Sequence[str]) -> None:
        self.config, self.copy, self.folder, self.overrides = run / "config.yaml", copied_run(run, folder), folder, overrides
        workspace = self._workspace()
        run_stages(workspace, ["transfer"])
        self.questions = RunQuestions(workspace)
        spaces = self.questions.spaces
        self.pairs = list(permutations(spaces, 2))
        self.known = {(a, b): possible_classes(spaces[a], spaces[b]) for a, b in self.pairs}
        self._aps: dict[str, float] = {}  # by the content of labels

    def _workspace(self, *answers: str) -> Workspace:
        return Workspace(load_config(self.config, [*self.overrides, f"output_dir={self.copy}", *answers]))

    def figures(self, numbers: Sequence[int]) -> dict[str, dict[str, float]]:
        """Mean AP (`ap`) and number of answers (`answers`) of every cell, by name."""
        path = self.folder / "figures.json"
        found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        matrix = [(*pair, name) for pair in self.pairs for name in self.known[pair]]
        asked = self.asked(max(numbers))
        cells = {
            f"{order} {number}": chosen[:number] for number in numbers for order, chosen in ((ASKED, asked), (MATRIX, matrix))
        }
        for name, answers in {**cells, ALL: matrix}.items():
            if name not in found:
                found[name] = {"ap": self.mean_ap(answers), "answers": len(answers)}
                write_atomically(path, json.dumps(found, indent=2) + "\n")
        return found

    def asked(self, most: int) -> Asked:
        """What `lat ask` asks, each question given the answers to those before."""
        path, found = self.folder / "answering.yaml", Asked()
        path.unlink(missing_ok=True)
        answers = AnswerFile(path, self.questions.spaces)
        while len(found) < most and (picked := self.questions.pick(answers.answers, 1)):
            (one,) = picked
            found.append((one.source, one.target, one.source_class))
            answers.add(one, self.known[one.source, one.target][one.source_class])
        return found

    def mean_ap(self, answered: Asked) -> float:
        """With these answers."""
        content: dict[str, dict[str, dict[str, list[str]]]] = {}
        for source, target, name in answered:
            content.setdefault(source, {}).setdefault(target, {})[name] = self.known[source, target][name]
        write_atomically(self.folder / "answers.yaml", yaml.safe_dump(content, sort_keys=False))
        workspace = self._workspace(f"answers={self.folder / 'answers.yaml'}")
        run_stages(workspace, ["transfer"])
        return sum(self._ap(workspace, *pair) for pair in self.pairs) / len(self.pairs)

    def _ap(self, workspace: Workspace, source: str, target: str) -> float:
        transferred = workspace.paths.transferred(source, target)
        content = f"{source} {target} {sha256_of_file(transferred)}"
        if content not in self._aps:
            self._aps[content] = figures_of(workspace, source, target)["ap"]
        return self._aps[content]


def table(seeds: Sequence[dict[str, dict[str, float]]], numbers: Sequence[int]) -> list[Row]:
    """A row per number of answers, and one for all of them: mean and spread over seeds, and what is missing to all answers."""
    rows: list[Row] = []
    for number, names in [*((number, (f"{ASKED} {number}", f"{MATRIX} {number}")) for number in numbers), (ALL, (ALL, ALL))]:
        row: dict[str, object] = {"answers": number}
        for title, name in zip(("`lat ask`", "in the order of the matrix"), names, strict=True):
            row[title] = spread([one[name]["ap"] for one in seeds])
            row[f"{title}, less all"] = spread([one[name]["ap"] - one[ALL]["ap"] for one in seeds])
        row["asked at most"] = int(max(one[names[0]]["answers"] for one in seeds))
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
