"""Commands to begin with: what this machine offers, a configuration, drawn data, and what settings there are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lat.cli.modes import next_step
from lat.core.errors import InputError

if TYPE_CHECKING:
    from lat.data.dataset import DatasetSettings


def init(
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=IMAGES,ANNOTATIONS[,VALIDATION]",
            help="A dataset: its name, folder of images and COCO file, perhaps a COCO file of held-out images. Once for each.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str, typer.Option(metavar="NAME", help="Whose label space is wanted, or all; by default that with the fewest images.")
    ] = "",
    output_dir: Annotated[
        str, typer.Option(metavar="DIR", help="Where the run writes.  [default: runs/ and the file's name]")
    ] = "",
    out: Annotated[Path, typer.Option(metavar="FILE", help="The YAML file to write.")] = Path("mine.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write the YAML file of a new run, with comments and settings that fit its datasets.

    Datasets that are not given are asked for. No file is written over without --force.
    """
    from lat.commands.init import parse_dataset, write_config

    datasets = [parse_dataset(text) for text in dataset or ()] or _ask_for_datasets()
    chosen = write_config(out, datasets, target=target, output_dir=output_dir, force=force)
    print(f"wrote {out}: labels are moved to {chosen}")
    next_step("lat check", out)


def _ask_for_datasets() -> list[DatasetSettings]:
    """Ask on the terminal for two or more datasets; whatever is wrong is said, and asked for again.

    Raises:
        InputError: if there is no terminal to ask on.
    """
    from lat.commands.init import parse_dataset

    if not sys.stdin.isatty():
        raise InputError(
            "lat init", "has no datasets, and no terminal to ask on", "give each with --dataset; see `lat init --help`"
        )
    print("Two or more datasets, one after another; an empty name ends the list.")
    datasets: list[DatasetSettings] = []
    while name := typer.prompt(f"Name of dataset {len(datasets) + 1}", default="", show_default=False):
        images = typer.prompt("  Folder of its images")
        annotations = typer.prompt("  Its COCO file")
        validation = typer.prompt("  COCO file of held-out images (empty for none)", default="", show_default=False)
        try:
            datasets.append(parse_dataset(f"{name}={','.join(filter(None, (images, annotations, validation)))}"))
        except InputError as error:
            print(f"{error}; once more, please")
    return datasets


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where runs are to be written; its disk is looked at.")] = Path(
        "runs"
    ),
) -> None:
    """Tell what this machine offers (Python, torch, GPUs, Detectron2, packages, memory, disk) and what will be used."""
    from lat.commands.doctor import diagnose, print_diagnosis

    facts = diagnose(folder)
    if as_json:
        print(json.dumps(facts, indent=2, allow_nan=False))
    else:
        print_diagnosis(facts)
        next_step("lat init")


def schema() -> None:
    """Print a JSON schema of the YAML file, with which editors complete and check it."""
    from lat.config.reference import json_schema

    print(json.dumps(json_schema(), indent=2, allow_nan=False))


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
    from lat.commands.draw_street_scenes import DEFAULT_DATASETS, draw_benchmark

    config = draw_benchmark(out, difficulty=difficulty, seed=seed, datasets=dataset or DEFAULT_DATASETS)
    print(f"drew {out}")
    next_step("lat run", config)
