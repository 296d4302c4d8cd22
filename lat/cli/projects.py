"""Commands to begin with: a new configuration, drawn data, what this machine offers, and the schema of the settings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from lat.cli.command import BEGIN, Command
from lat.cli.modes import next_step
from lat.core.errors import InputError


def init(
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=IMAGES,ANNOTATIONS[,VALIDATION]",
            help="Name, image folder and COCO file of a dataset, optionally a COCO file of held-out images. Once per dataset.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Dataset whose label space is wanted, or all; the one with the fewest images by default.",
        ),
    ] = "",
    output_dir: Annotated[
        str, typer.Option(metavar="DIR", help="Where the run writes.  [default: runs/ and the name of the file]")
    ] = "",
    out: Annotated[Path, typer.Option(metavar="FILE", help="The YAML file to write.")] = Path("mine.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write the YAML file of a new run, with comments and with settings that fit its datasets.

    Without --dataset the datasets are asked for. An existing file is overwritten only with --force.
    """
    from lat.commands.init import parse_dataset, write_config

    datasets = [parse_dataset(text) for text in dataset or _ask_for_datasets()]
    chosen = write_config(out, datasets, target=target, output_dir=output_dir, force=force)
    print(f"wrote {out}: labels are moved to {chosen}")
    next_step("lat check", out)


def _ask_for_datasets() -> list[str]:
    """Ask for datasets on the terminal, each again until it is sound; returns them as --dataset takes them.

    Raises:
        InputError: if there is no terminal to ask on.
    """
    from lat.commands.init import parse_dataset

    if not sys.stdin.isatty():
        raise InputError(
            "lat init", "has no datasets, and no terminal to ask on", "name each with --dataset; see `lat init --help`"
        )
    print("Enter two or more datasets; an empty name ends the list.")
    datasets: list[str] = []
    while name := typer.prompt(f"Name of dataset {len(datasets) + 1}", default="", show_default=False):
        images = typer.prompt("  Image folder")
        annotations = typer.prompt("  COCO file")
        validation = typer.prompt("  COCO file of held-out images (empty for none)", default="", show_default=False)
        text = f"{name}={','.join(filter(None, (images, annotations, validation)))}"
        try:
            parse_dataset(text)
        except InputError as error:
            print(f"{error}; please enter it again")
        else:
            datasets.append(text)
    return datasets


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where runs will write; its disk is checked.")] = Path("runs"),
) -> None:
    """Show what this machine offers (Python, torch, GPUs, Detectron2, packages, memory, disk) and what a run would use."""
    from lat.commands.doctor import diagnose, print_diagnosis

    facts = diagnose(folder)
    if as_json:
        print(json.dumps(facts, indent=2, allow_nan=False))
    else:
        print_diagnosis(facts)
        next_step("lat init")


def schema() -> None:
    """Print the JSON schema of the YAML file, for editors that complete and check it."""
    from lat.config.reference import json_schema

    print(json.dumps(json_schema(), indent=2, allow_nan=False))


def street_scenes(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to draw into.", show_default=False)],
    difficulty: Annotated[str, typer.Option(help="easy or hard.")] = "easy",
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
    annotators: Annotated[
        str, typer.Option(help="real, who miss and misplace boxes as people do, or exact. Truth is exact with both.")
    ] = "real",
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="A dataset to draw (city, nu, way or bdd), once per dataset; all but bdd by default.", show_default=False
        ),
    ] = None,
) -> None:
    """Draw the embedded benchmark: street scenes, each dataset under its own annotation protocol, with truth in the others."""
    from lat.commands.draw_street_scenes import draw_benchmark

    config = draw_benchmark(out, difficulty=difficulty, seed=seed, datasets=dataset, annotators=annotators)
    print(f"drew {out}")
    next_step("lat run", config)


COMMANDS = {
    "init": Command(
        init,
        BEGIN,
        (
            "lat init",
            "lat init --dataset ours=data/ours/images,data/ours/train.json,data/ours/val.json "
            "--dataset theirs=data/theirs/images,data/theirs/annotations.json --target ours --out mine.yaml",
        ),
    ),
    "street-scenes": Command(
        street_scenes,
        BEGIN,
        ("lat street-scenes runs/scenes", "lat street-scenes runs/hard --difficulty hard --dataset city --dataset nu"),
    ),
    "doctor": Command(doctor, BEGIN, ("lat doctor", "lat doctor --json")),
    "schema": Command(schema, BEGIN, ("lat schema > lat.schema.json",)),
}
