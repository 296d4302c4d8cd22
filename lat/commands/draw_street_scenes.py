"""Draw the embedded benchmark and write the configuration that runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.engine.progress import track
from lat.street_scenes import DEFAULT_DATASETS, DEFAULT_TRAIN_IMAGES, DEFAULT_VAL_IMAGES, SceneSettings, draw_street_scenes

_HEADER = """\
# The embedded benchmark: drawn street scenes under {number} annotation protocols, sized for a CPU.
# Draw the images first: lat street-scenes {drawn}{options}
# Every setting that is not named here has its default.
output_dir: {output_dir}
data_root: {data_root}
seed: {seed}
target: all
rounds: {{count: 0}} # one further round gives better labels, some minutes later
downstream: {{in_run: false}} # some minutes more: lat train-downstream
datasets:
"""

_NUMBERS = {2: "two", 3: "three", 4: "four"}

_DATASET = """\
  - name: {name}
    images: ${{data_root}}/{name}/images
    annotations: ${{data_root}}/{name}/train.json
    validation: ${{data_root}}/{name}/val.json
    truth: # evaluation only; in its own label space: test images, for downstream detectors
      {name}: ${{data_root}}/{name}/test.json
"""

_TRUTH = """\
      {other}: ${{data_root}}/{name}/truth.{other}.json
"""


def draw_benchmark(
    out: Path,
    *,
    difficulty: str = "easy",
    seed: int = 0,
    datasets: Sequence[str] | None = None,
    train_images: Mapping[str, int] = DEFAULT_TRAIN_IMAGES,
    annotators: str = "real",
) -> Path:
    """Draw street scenes into `out`, with a `config.yaml` beside them that writes to `out/run`; returns its path.

    Args:
        out: a new or empty folder, or one that the same call has drawn before.
        difficulty: `easy` or `hard`.
        seed: any integer from 0.
        datasets: the datasets to draw; by default all but `bdd`.
        train_images: number of training images of each of them.
        annotators: `real`, who miss and misplace boxes as people do, `careful`, who do so less, or `exact`.

    Raises:
        InputError: if fewer than two datasets are chosen, or one is unknown or named twice; see also `draw_street_scenes`.
    """
    datasets = DEFAULT_DATASETS if datasets is None else datasets
    _check_datasets(datasets)
    counts = {name: train_images[name] for name in datasets}
    with track(sum(counts.values()) + len(counts) * 2 * DEFAULT_VAL_IMAGES, "draw street scenes") as progress:
        draw_street_scenes(
            out,
            SceneSettings(difficulty=difficulty, seed=seed, train_images=counts, annotators=annotators),
            progress=progress.advance,
        )
    path = out / "config.yaml"
    write_atomically(path, benchmark_config(".", "run", seed=seed, datasets=datasets, drawn=str(out)))
    return path


def benchmark_config(
    data_root: str, output_dir: str, seed: int = 0, datasets: Sequence[str] = DEFAULT_DATASETS, drawn: str = ""
) -> str:
    """The configuration of the benchmark as YAML, every dataset being a target in turn.

    Paths count from the folder of the file; `drawn` is the folder of the images as a command names it, by default `data_root`.
    """
    chosen = "" if set(datasets) == set(DEFAULT_DATASETS) else "".join(f" --dataset {name}" for name in datasets)
    number = _NUMBERS[len(datasets)]
    places = {"data_root": data_root, "drawn": drawn or data_root, "output_dir": output_dir}
    text = _HEADER.format(number=number, options=chosen, seed=seed, **places)
    for name in datasets:
        text += _DATASET.format(name=name)
        text += "".join(_TRUTH.format(name=name, other=other) for other in datasets if other != name)
    return text


def _check_datasets(datasets: Sequence[str]) -> None:
    choices = f"choose two or more of {', '.join(DEFAULT_TRAIN_IMAGES)}"
    for name in datasets:
        if name not in DEFAULT_TRAIN_IMAGES:
            raise InputError("dataset", f"is '{name}'", choices)
        if datasets.count(name) > 1:
            raise InputError("dataset", f"names '{name}' more than once", choices)
    if len(datasets) < 2:
        raise InputError("dataset", f"names {len(datasets)}", choices)
