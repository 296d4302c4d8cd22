"""Commands to begin with: a new configuration, drawn data, what this machine offers, and the schema of the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lat.cli.asking import ask_for_datasets, ask_for_target
from lat.cli.command import BEGIN, Command
from lat.cli.modes import next_step


def init(
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER|IMAGES,ANNOTATIONS[,...]",
            help="A dataset as it was downloaded (Roboflow, COCO, YOLO; a folder, data.yaml or ZIP file); or its image folder "
            "and COCO file, optionally those of held-out images: IMAGES,ANNOTATIONS,VALIDATION,VALIDATION_IMAGES. "
            "Once per dataset.",
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
    from lat.commands.init import parse_dataset, require_free, write_config
    from lat.workspace.time_estimate import about, told

    require_free(out, force=force)
    if dataset:
        datasets = [parse_dataset(text) for text in dataset]
    else:
        datasets = ask_for_datasets()
        target = target or ask_for_target([one.name for one in datasets])
        output_dir = output_dir or typer.prompt(f"Folder of the run (empty for runs/{out.stem})", default="", show_default=False)
    written = write_config(out, datasets, target=target, output_dir=output_dir, force=force)
    print(f"wrote {out}: labels are moved to {written.target}")
    print(f"lat run will take {about(written.seconds, written.machine)}:")
    for stage, seconds in written.seconds.items():
        print(f"  {stage:<24}{told(seconds):>7}")
    next_step("lat check", out)


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
        str, typer.Option(help="real, who miss and misplace boxes as people do, careful, or exact. Truth is always exact.")
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
            "lat init --dataset ours=data/ours --dataset theirs=downloads/theirs.v3i.coco.zip --target ours",
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
