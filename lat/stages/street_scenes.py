"""Draw the embedded benchmark and write the configuration that runs it."""

from __future__ import annotations

from pathlib import Path

from lat.data.files import write_atomically
from lat.data.street_scenes import DEFAULT_TRAIN_IMAGES, DEFAULT_VAL_IMAGES, SPACES, draw_street_scenes
from lat.engine.progress import track

_HEADER = """\
# The embedded benchmark: drawn street scenes under three annotation protocols, sized for a CPU.
# Draw the images first: lat street-scenes {data_root}
# Every setting that is not named here has its default.
output_dir: {output_dir}
data_root: {data_root}
seed: {seed}
target: all
datasets:
"""

_DATASET = """\
  - name: {name}
    images: ${{data_root}}/{name}/images
    annotations: ${{data_root}}/{name}/train.json
    validation: ${{data_root}}/{name}/val.json
    truth: # evaluation only
"""

_TRUTH = """\
      {other}: ${{data_root}}/{name}/truth.{other}.json
"""


def draw_benchmark(out: Path, *, difficulty: str = "easy", seed: int = 0) -> Path:
    """Draw street scenes into `out`, with a `config.yaml` beside them that writes to `out/run`; returns its path."""
    with track(sum(DEFAULT_TRAIN_IMAGES.values()) + len(SPACES) * DEFAULT_VAL_IMAGES, "draw street scenes") as progress:
        draw_street_scenes(out, difficulty=difficulty, seed=seed, progress=progress.advance)
    path = out / "config.yaml"
    write_atomically(path, benchmark_config(data_root=str(out), output_dir=str(out / "run"), seed=seed))
    return path


def benchmark_config(data_root: str, output_dir: str, seed: int = 0) -> str:
    """The configuration of the benchmark as YAML, every dataset being a target in turn."""
    text = _HEADER.format(data_root=data_root, output_dir=output_dir, seed=seed)
    for name in SPACES:
        text += _DATASET.format(name=name)
        text += "".join(_TRUTH.format(name=name, other=other) for other in SPACES if other != name)
    return text
