"""Label the images of one dataset in the spaces of the others: `pseudo_labels/S.T.json`.

`pseudo_labels/detections/S.T.json` has the unsure detections too: where pseudo-labels are compared with transferred labels, they
are judged and trained on with all their scores, as those are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from lat.data.tensors import boxes_per_image
from lat.detectors.detections import scaled
from lat.detectors.region_detections import voting
from lat.engine.jobs import Advance, in_shards, sizes_of, uncounted
from lat.labelling.labelling_settings import FilterSettings
from lat.labels.store.arrow import to_arrow
from lat.labels.store.shards import LabelShards
from lat.labels.written_boxes import table_of_rows
from lat.stages.shared.detection import Predictor, batches_of, image_batches, load_detector
from lat.stages.shared.ensemble_labels import Members, ShardLabels
from lat.stages.shared.label_filters import Filtering, write_chosen
from lat.stages.shared.weak_detectors import refuse_weak_detectors
from lat.workspace.jobs import do_shards
from lat.workspace.label_files import label_info, read_held_out_labels
from lat.workspace.label_shards import prepared_shards, work_folder
from lat.workspace.reading import reading_threads
from lat.workspace.steps import Stage, Step
from lat.workspace.workspace import Workspace

DETECTED_PER_BATCH = 4  # each batch is decoded once for all detectors


def steps(workspace: Workspace) -> Iterator[Step]:
    """A step per dataset and space: held-out images of the targets first, then training images."""
    for name in workspace.names:
        yield from (_held_out_step(workspace, name, space) for space in _held_out_spaces(workspace, name))
    for source in workspace.names:
        spaces = (space for space in workspace.others(source) if space in workspace.renewed)
        yield from (_step(workspace, source, space) for space in spaces)


def _step(workspace: Workspace, source: str, space: str) -> Step:
    settings = _settings(workspace)
    chosen, data = workspace.config.pseudo_label.filter, [source]
    inputs = [*workspace.paths.upstream_models(space)]
    if not chosen.keeps_all:
        settings["seed"] = workspace.config.seed
        data.append(space)
        inputs += [workspace.paths.held_out_labels(space, space)] if chosen.needs_held_out else []
    outputs = tuple(file.path for file in _files_of(workspace, source, space))
    run = partial(pseudo_label, source=source)
    return Step(
        "pseudo-label", source, space, settings, tuple(data), tuple(inputs), outputs, run, workspace.round, is_editable=True
    )


def _settings(workspace: Workspace) -> dict[str, Any]:
    """What pseudo-labels depend on besides detectors and data."""
    views = {"mirrored": _are_mirrored(workspace), "scaled": workspace.config.detected_scales[1:]}
    return {**workspace.config.to_dict()["pseudo_label"], **views}


def _are_mirrored(workspace: Workspace) -> bool:
    """True if detectors are asked about mirror images too: only those that have trained on such."""
    return workspace.config.pseudo_label.mirrored and workspace.config.augmentation.horizontal_flip > 0


def _held_out_spaces(workspace: Workspace, dataset: str) -> Iterator[str]:
    """The spaces in which a dataset's held-out images are labelled: all spaces for a target, its own if a filter needs it."""
    is_target, is_asked = dataset in workspace.config.target_names, workspace.config.pseudo_label.filter.needs_held_out
    spaces = workspace.names if is_target else (dataset,) if is_asked else ()
    return (space for space in spaces if space in workspace.renewed)


def _held_out_step(workspace: Workspace, dataset: str, space: str) -> Step:
    settings = {**_settings(workspace), "filter": None}
    inputs, outputs = workspace.paths.upstream_models(space), (workspace.paths.held_out_labels(dataset, space),)
    run = partial(label_held_out, target=dataset)
    group = f"{dataset} held-out"
    return Step("pseudo-label", group, space, settings, (dataset,), inputs, outputs, run, workspace.round, is_editable=True)


STAGE = Stage("pseudo-label", steps, is_of_round=True, is_sharded=True, gate=refuse_weak_detectors)


@dataclass(frozen=True)
class _LabelsFile:
    """A file of the labels of one detector, and the lowest score in it."""

    path: Path
    space: str
    threshold: float


def _files_of(workspace: Workspace, source: str, space: str) -> list[_LabelsFile]:
    """The pseudo-labels of a source in a space, and all detections unless a filter chooses among them."""
    paths, settings = workspace.paths, workspace.config.pseudo_label
    files = [_LabelsFile(paths.pseudo_labels(source, space), space, settings.threshold)]
    if settings.filter.keeps_all:
        files.append(_LabelsFile(paths.detections(source, space), space, 0.0))
    return files


def pseudo_label(workspace: Workspace, *, source: str, due: Mapping[str, str]) -> None:
    """Run the upstream detectors of the due spaces on the training images of `source`, decoding each image once.

    Source: Label-Aligned Transfer, section 3.1 (N(N-1) sets of pseudo-labels).
    """
    job = do_shards(workspace, PseudoLabelShards, dataset=source, held_out=False, due=due)
    workspace.processes.from_first(job.finish, workspace.config.pseudo_label.filter)


def label_held_out(workspace: Workspace, *, target: str, due: Mapping[str, str]) -> None:
    """Run the upstream detectors of the due spaces, the target's own among them, on the held-out images of a target.

    Their truth is known, so they show how far detectors and transferred labels can be trusted. They are not filtered:
    calibrations and filter thresholds are fitted to them.
    """
    job = do_shards(workspace, PseudoLabelShards, dataset=target, held_out=True, due=due)
    workspace.processes.from_first(job.finish, FilterSettings())


class PseudoLabelShards:
    """The detections of some upstream detectors on the training or held-out images of a dataset; see `ShardJob`.

    Args:
        workspace: the run.
        dataset: the dataset whose images they label.
        held_out: whether they label its held-out images.
        due: see `RunSteps`; its members are the detectors' spaces.
    """

    is_preparation = False

    def __init__(self, workspace: Workspace, *, dataset: str, held_out: bool, due: Mapping[str, str]) -> None:
        self.workspace, self.paths = workspace, workspace.paths
        if held_out:
            self.part, threshold = workspace.data.held_out_part(dataset), workspace.config.pseudo_label.threshold
            files = [_LabelsFile(self.paths.held_out_labels(dataset, space), space, threshold) for space in due]
        else:
            self.part = workspace.data.train_part(dataset)
            files = [file for space in due for file in _files_of(workspace, dataset, space)]
        self.spaces = tuple(due)
        self.title = f"{'label held-out' if held_out else 'pseudo-label'} {dataset} in {', '.join(self.spaces)}"
        batch_size = workspace.config.runtime.images_per_batch or DETECTED_PER_BATCH
        self.batches = in_shards(batches_of(range(len(self.part)), batch_size))
        self.sizes = sizes_of(self.batches)
        self.files = [(file, self._shards(file, due[file.space])) for file in files]

    def _shards(self, file: _LabelsFile, inputs: str) -> LabelShards:
        folder, space = work_folder(self.paths.root, file.path), self.workspace.data.space(file.space)
        return prepared_shards(folder, self.part.labels, space, inputs, self.batches)

    @cached_property
    def detectors(self) -> dict[str, Members]:
        """The members of each space's detector."""
        mirrored, fabric = _are_mirrored(self.workspace), self.workspace.fabric
        voting_iou = self.workspace.config.pseudo_label.voting_iou
        found = {}
        for space in self.spaces:
            paths = self.paths.upstream_models(space)
            members = [voting(load_detector(path), voting_iou) for path in paths]
            views = [scaled(member, scale) for member in members for scale in self.workspace.config.detected_scales]
            found[space] = Members([Predictor(view, fabric) for view in views], mirrored)
        return found

    def is_done(self, shard: int) -> bool:
        return all(shards.has(shard) for _, shards in self.files)

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        batches, first = self.batches[shard], self.batches[shard][0].start
        wanted = [(self.detectors[file.space], file.threshold) for file, _ in self.files]
        labels = ShardLabels(wanted, self.workspace.config.upstream.model.max_detections)
        for images in image_batches(self.part, batches, self.workspace.fabric.device, reading_threads(self.workspace)):
            labels.add(images)
            advance(len(images))
        for number, (file, shards) in enumerate(self.files):
            space = self.workspace.data.space(file.space)
            boxes, counts = labels.kept(number, space)
            shards.write(shard, to_arrow(table_of_rows(self.part.labels, space, boxes, counts, first_image=first), first))
        return [shards.path(shard) for _, shards in self.files]

    def finish(self, chosen: FilterSettings) -> None:
        """Write the files from all shards, with the labels that a filter chooses."""
        for file, shards in self.files:
            info = label_info(self.workspace, "pseudo_label", self.paths.upstream_model(file.space))
            space = file.space
            held_out = boxes_per_image(read_held_out_labels(self.workspace, space, space)) if chosen.needs_held_out else []
            write_chosen(self.workspace, file.path, shards, Filtering(chosen, held_out), info)
