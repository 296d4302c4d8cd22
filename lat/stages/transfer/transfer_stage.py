"""The steps of the transfer stage: class shares once, then each source into each target."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lat.stages.shared.transfer_model import backbone_files, label_set_files
from lat.stages.transfer.learn_shares import learn_class_shares
from lat.stages.transfer.priors import find_answers, prior_files
from lat.stages.transfer.transfer import transfer
from lat.workspace.steps import Stage, Step
from lat.workspace.workspace import Workspace


def steps(workspace: Workspace) -> Iterator[Step]:
    """A step for class shares, if a prior needs them, and one per source and target."""
    if any(workspace.paths.class_shares in prior_files(workspace, *pair) for pair in workspace.transfers()):
        yield _class_shares_step(workspace)
    yield from (_step(workspace, source, target) for source, target in sorted(workspace.transfers()))


def _class_shares_step(workspace: Workspace) -> Step:
    paths, names = workspace.paths, workspace.names
    inputs = (paths.transfer_model, *backbone_files(workspace), *paths.all_pseudo_labels(), *label_set_files(workspace, names))
    depends_on, outputs = [workspace.config.transfer.combine.sure_threshold], (paths.class_shares,)
    return Step("transfer", "", "class shares", depends_on, names, inputs, outputs, learn_class_shares, workspace.round)


def _step(workspace: Workspace, source: str, target: str) -> Step:
    settings, paths = workspace.config.to_dict()["transfer"], workspace.paths
    settings["prior"] = {**settings["prior"], "sources": None, "is_on": workspace.config.transfer.prior.applies_to(source)}
    if not workspace.config.transfer.filter.keeps_all:
        settings["seed"] = workspace.config.seed
    if answers := find_answers(workspace, source, target):
        settings["answers"] = answers.to_dict()
    inputs = (paths.transfer_model, *backbone_files(workspace))
    inputs += tuple(paths.pseudo_labels(source, space) for space in workspace.others(source))
    inputs += (paths.pseudo_labels(target, source), *(paths.held_out_labels(target, space) for space in workspace.names))
    inputs += (*label_set_files(workspace, (source,)), *prior_files(workspace, source, target))
    run, outputs = partial(transfer, source=source), (paths.transferred(source, target),)
    data = (source, target)
    return Step("transfer", source, target, settings, data, inputs, outputs, run, workspace.round, is_editable=True)


STAGE = Stage("transfer", steps, is_of_round=True, is_sharded=True)
