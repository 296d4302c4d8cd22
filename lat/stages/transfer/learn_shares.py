"""Learn the class shares of every pair of datasets from all human boxes: `lat/class_shares.json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations
from math import ceil

import torch
from torch import Tensor

from lat.core.decoded_proposals import Decoded
from lat.engine.progress import track
from lat.labelling.class_shares import counted
from lat.labelling.consistent_shares import make_consistent
from lat.labelling.learnt_shares import learn_from_scores, shares_of_scores
from lat.stages.shared.detection import batches_of
from lat.stages.shared.transfer_model import TransferItems, decode_batches, images_per_batch, load_model, open_features
from lat.stages.transfer.class_shares_file import write_class_shares
from lat.stages.transfer.evidence import RunEvidence
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
    features = open_features(workspace)
    model = load_model(workspace, features)
    workspace.fabric.to_device(model)
    items = TransferItems(workspace, features, workspace.names)
    batches = {name: _sample(workspace, name) for name in workspace.names}
    human: dict[str, HumanBoxes] = {}
    mine = sum(len(images) for each in batches.values() for images in workspace.processes.share(each))
    with track(mine, "what human boxes are in other spaces", after_seconds=2) as progress:
        for name, sample in batches.items():
            my_batches = workspace.processes.share(sample)
            decoded = decode_batches(
                workspace, model, partial(items.transfer_input, name), my_batches, workspace.others(name), items.features
            )
            stored: list[Decoded] | None = [] if _is_transferred_next(workspace, name) else None
            seen = _watched(decoded, my_batches, progress, stored)
            human[name] = _joined(workspace, name, workspace.processes.in_order(map(_of_human_boxes, seen), len(sample)))
            if stored is not None:
                workspace.data.decoded.put(workspace.paths.transfer_model, name, stored)
    workspace.processes.from_first(_learn_and_write, workspace, human)


def _sample(workspace: Workspace, name: str) -> list[range]:
    """At most `MAX_IMAGES` images of a dataset, evenly spread, in batches."""
    count = len(workspace.data.train_part(name))
    return batches_of(range(0, count, ceil(count / MAX_IMAGES) or 1), images_per_batch(workspace))


def _is_transferred_next(workspace: Workspace, name: str) -> bool:
    """True if the dataset is a source with few enough images to keep all of them decoded in memory."""
    is_small = len(workspace.data.train_part(name)) <= MAX_STORED_IMAGES
    return is_small and any(source == name for source, _ in workspace.transfers())


def _watched(
    decoded: Iterator[Decoded], batches: Sequence[range], progress: track, stored: list[Decoded] | None
) -> Iterator[Decoded]:
    """Yield the decoded batches, counting each and appending it to `stored` if given."""
    for images, batch in zip(batches, decoded, strict=True):
        if stored is not None:
            stored.append(batch)
        progress.advance(len(images))
        yield batch


def _of_human_boxes(batch: Decoded) -> HumanBoxes:
    some = next(iter(batch.values()))
    rows = some.human_rows
    return {target: decoded.class_scores[rows] for target, decoded in batch.items()}, some.source_labels[rows]


def _joined(workspace: Workspace, name: str, found: Iterable[HumanBoxes]) -> HumanBoxes:
    none = {target: torch.zeros(0, len(workspace.data.space(target)) + 1) for target in workspace.others(name)}
    scores, labels = zip((none, torch.zeros(0, dtype=torch.int64)), *found, strict=True)
    return {target: torch.cat([each[target] for each in scores]) for target in none}, torch.cat(labels)


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
