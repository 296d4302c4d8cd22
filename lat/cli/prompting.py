"""Labels of a promptable model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from lat.cli.command import RUN, Command
from lat.cli.modes import next_step, with_modes
from lat.cli.options import Overrides, open_run
from lat.core.errors import InputError
from lat.engine import announce


@with_modes
def label(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG", help="The YAML file of the run, or its folder; or a folder of images.", show_default=False
        ),
    ],
    overrides: Overrides = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="grounding_dino, mm_grounding_dino, owlv2 or sam3 (fetched from the hub), another name there, or a folder.",
        ),
    ] = "mm_grounding_dino",
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML file with a text for each class; else class names are asked for.", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the label set; the model's by default.", show_default=False)
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only the images of this dataset; may be repeated.")
    ] = None,
    min_score: Annotated[float, typer.Option(metavar="X", help="Leave out boxes with a lower score.")] = 0.1,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For a folder of images: the COCO file to write.", show_default=False)
    ] = None,
) -> None:
    """Label the training images of every dataset, or a folder of images, with a model that finds what a text asks for.

    The labels become one more space of proposals once the configuration names them under label_sets; see docs/label_sets.md.
    Those of a folder make it a dataset, for whoever has only one.
    """
    if config.is_dir() and not (config / "config.yaml").is_file():
        if overrides or dataset:
            raise InputError("lat label", "takes no settings and no --dataset for a folder of images", "leave them out")
        _label_folder(config, out, (model, prompts, name, min_score))
        return
    if out is not None:
        raise InputError("--out", "is given for a run, whose labels have their place", "leave it out")
    workspace = open_run(config, overrides)
    from lat.commands.prompted_labels import label_with_prompts, prompting

    asked = prompting(workspace, model, prompts, name, min_score)
    files = label_with_prompts(workspace, asked, dataset or ())
    if not workspace.processes.is_first:
        return
    if announce.to_programs():
        announce.event("label_set", name=asked.name, files={key: str(path) for key, path in files.items()})
    else:
        for line in (f"put this into {config}:", *_entry(asked.name, files)):
            announce.say(line)
    next_step("lat run", config, overrides)


def _label_folder(images: Path, out: Path | None, asked: tuple[str, Path | None, str | None, float]) -> None:
    from lat.commands.prompted_folder import label_folder
    from lat.commands.prompted_labels import prompting_alone

    asking = prompting_alone(*asked)
    out = out or Path(f"{asking.name}.json")
    found = label_folder(images, out, asking)
    announce.say(f"wrote {out}: {len(found)} images, {found.num_boxes} boxes")
    announce.say(f"a dataset for lat init: --dataset {shlex.quote(f'{asking.name}={images},{out}')}")
    next_step("lat init")


def _entry(name: str, files: Mapping[str, Path]) -> list[str]:
    """The lines of a configuration that name the label set."""
    lines = (f"      {dataset}: {path.absolute()}" for dataset, path in files.items())
    return ["label_sets:", f"  - name: {name}", "    files:", *lines]


COMMANDS = {
    "label": Command(
        label,
        RUN,
        (
            "lat label mine.yaml --model owlv2",
            "lat label mine.yaml --model sam3 --prompts prompts.yaml --name sam3_prompts",
            "lat label mine.yaml --model downloads/grounding-dino-base --dataset theirs --min-score 0.2",
            "lat label data/theirs/images --model sam3 --prompts prompts.yaml --min-score 0.3 --out data/theirs/sam3.json",
        ),
        is_shared=True,
    ),
}
