"""Commands that make something to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def street_scenes(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to draw into.", show_default=False)],
    difficulty: Annotated[str, typer.Option(help="easy or hard.")] = "easy",
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="A dataset to draw (city, nu, way or bdd), once for each; all but bdd if none is given.", show_default=False
        ),
    ] = None,
) -> None:
    """Draw the embedded benchmark: street images, each dataset under its own annotation protocol, with truth in the others'."""
    from lat.stages.street_scenes import DEFAULT_DATASETS, draw_benchmark

    config = draw_benchmark(out, difficulty=difficulty, seed=seed, datasets=dataset or DEFAULT_DATASETS)
    print(f"drew {out}; next: lat run {config}")
