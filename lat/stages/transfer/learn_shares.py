"""Learn the class shares of every pair of datasets from all human boxes: `lat/class_shares.json`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from lat.core.decoded_proposals import Decoded, on_host
from lat.engine.jobs import Advance, in_shards, sizes_of, uncounted
from lat.labelling.class_shares import counted
from lat.labelling.consistent_shares import make_consistent
from lat.labelling.learnt_shares import learn_from_scores, shares_of_scores
from lat.stages.shared.detection import batches_of
from lat.stages.shared.transfer_model import SourceDecoder, images_per_batch
from lat.stages.transfer.class_shares_file import write_class_shares
from lat.stages.transfer.evidence import RunEvidence
from lat.workspace.column_shards import ColumnShards
from lat.workspace.jobs import do_shards
from lat.workspace.label_shards import work_folder
from lat.workspace.workspace import Workspace

MAX_IMAGES = 2000  # per dataset, evenly spread, to learn shares from
MAX_STORED_IMAGES = 500  # up to this many images per source stay decoded in memory for its transfer

HumanBoxes = tuple[dict[str, Tensor], Tensor]
"""Class scores (N, K_t + 1) of a source's human boxes, by target, and their classes (N,) int64."""


def learn_class_shares(workspace: Workspace, *, due: Mapping[str, str]) -> None:
    """Write the class shares of every ordered pair of datasets.

    The file has four estimates: from detections (`counted`), from these and the model's scores of the source's human boxes
    (`learnt`), the latter made consistent over all spaces (`consistent`), and from the scores alone (`scored`).
    """
    (inputs,) = due.values()
    jobs = {name: do_shards(workspace, HumanBoxShards, name=name, inputs=inputs) for name in workspace.names}
    workspace.processes.from_first(_learn_and_write, workspace, {name: job.found() for name, job in jobs.items()})
    for job in jobs.values():
        workspace.processes.from_first(job.shards.remove)


class HumanBoxShards:
    """What the human boxes of a dataset are in all other spaces, in the model's view; see `ShardJob`.

    The decoded batches of a small source wait in the process for its transfer.

    Args:
        workspace: the run.
        name: the dataset.
        inputs: hash of all that class shares depend on.
    """

    is_preparation = True

    def __init__(self, workspace: Workspace, *, name: str, inputs: str) -> None:
        self.workspace, self.name, self.others = workspace, name, workspace.others(name)
        self.decoder = SourceDecoder(workspace, name, self.others)
        self.batches = in_shards(_sample(workspace, name))
        self.sizes = sizes_of(self.batches)
        self.title = f"what human boxes of {name} are in other spaces"
        self.shards = ColumnShards(work_folder(workspace.paths.root, workspace.paths.class_shares) / name, inputs)

    def is_done(self, shard: int) -> bool:
        return self.shards.has(shard)

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        batches, found = self.batches[shard], list[HumanBoxes]()
        for images, batch in zip(batches, map(on_host, self.decoder.decode(batches)), strict=True):
            found.append(_of_human_boxes(batch))
            advance(len(images))
            if _is_transferred_next(self.workspace, self.name):
                self.workspace.data.decoded.put(self.workspace.paths.transfer_model, self.name, images.start, batch)
        scores = {target: torch.cat([each[target] for each, _ in found]).numpy() for target in self.others}
        return [self.shards.write(shard, {**scores, "": torch.cat([labels for _, labels in found]).numpy()})]

    def found(self) -> HumanBoxes:
        """What all shards found."""
        columns = {name: torch.from_numpy(column) for name, column in self.shards.read(len(self.sizes)).items()}
        none = {target: torch.zeros(0, len(self.workspace.data.space(target)) + 1) for target in self.others}
        return {target: columns.get(target, none[target]) for target in none}, columns.get("", torch.zeros(0, dtype=torch.int64))


def _sample(workspace: Workspace, name: str) -> list[range]:
    """At most `MAX_IMAGES` images of a dataset, evenly spread, in batches."""
    count = len(workspace.data.train_part(name))
    return batches_of(range(0, count, ceil(count / MAX_IMAGES) or 1), images_per_batch(workspace))


def _is_transferred_next(workspace: Workspace, name: str) -> bool:
    """True if the dataset is a source with few enough images to keep all of them decoded in memory."""
    is_small = len(workspace.data.train_part(name)) <= MAX_STORED_IMAGES
    return is_small and any(source == name for source, _ in workspace.transfers())


def _of_human_boxes(batch: Decoded) -> HumanBoxes:
    some = next(iter(batch.values()))
    rows = some.human_rows
    return {target: decoded.class_scores[rows] for target, decoded in batch.items()}, some.known.source_labels[rows]


def _learn_and_write(workspace: Workspace, human: dict[str, HumanBoxes]) -> None:
    pairs = list(permutations(workspace.names, 2))
    evidence = [RunEvidence(workspace, source, target) for source, target in pairs]
    learnt, scored = [], []
    for each, (source, target) in zip(evidence, pairs, strict=True):
        scores, labels = human[source]
        learnt.append(learn_from_scores(each, scores[target], labels))
        scored.append(shares_of_scores(each, scores[target], labels))
    boxes = {name: torch.bincount(labels, minlength=len(workspace.data.space(name))) for name, (_, labels) in human.items()}
    ways = map(counted, evidence), learnt, make_consistent(learnt, boxes), scored
    write_class_shares(workspace, list(zip(*ways, strict=True)))
