"""Labels of a promptable model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from lat.cli.command import RUN, Command
from lat.cli.modes import next_step, with_modes
from lat.cli.options import ConfigFile, Overrides, open_run
from lat.engine import announce


@with_modes
def label(
    config: ConfigFile,
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
) -> None:
    """Label the training images of every dataset with a model that finds what a text asks for.

    The labels become one more space of proposals once the configuration names them under label_sets; see docs/label_sets.md.
    """
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
        ),
        is_shared=True,
    ),
}
