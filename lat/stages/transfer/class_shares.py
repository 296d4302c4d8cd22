"""What the classes of each dataset are in the space of every other, learnt from its own boxes: `lat/class_shares.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from lat.core.files import write_atomically
from lat.engine.progress import track
from lat.labelling.class_prior import expected_shares, learn_shares
from lat.labelling.consistency import Shares, consistent_shares
from lat.models.label_transfer import LabelTransferModel
from lat.stages.shared.detection import batches_of
from lat.stages.shared.transfer_model import Decoded, TransferItems, decode, load_model, open_features
from lat.stages.transfer.protocols import count_all_relations
from lat.workspace.paths import require
from lat.workspace.workspace import Workspace

LEARNT_FROM = 2000  # images of a dataset, evenly spread
KEPT = 500  # of a dataset with so many images or fewer what the model says is kept in memory, for the transfer that comes next

OwnBoxes = tuple[dict[str, Tensor], Tensor]  # class scores (N, K_t + 1) of own boxes, by target, and their classes (N,)


def learn_class_shares(workspace: Workspace, *, due: Mapping[str, str]) -> None:
    """Write shares of target classes under each class of each dataset, for every ordered pair of datasets.

    The file has them as the detectors suggest (`counted`), as the model finds on the dataset's own boxes (`learnt`), and as these
    agree with each other over all spaces (`consistent`).
    """
    features = open_features(workspace)
    model = load_model(workspace, features)
    workspace.fabric.to_device(model)
    items = TransferItems(workspace, features, workspace.names)
    batches = {name: _sample(workspace, name) for name in workspace.names}
    own: dict[str, OwnBoxes] = {}
    mine = sum(len(images) for each in batches.values() for images in workspace.processes.share(each))
    with track(mine, "what own boxes are in other spaces", after_seconds=2) as progress:
        for name, sample in batches.items():
            decoded = _decode(workspace, items, model, name, sample, progress)
            own[name] = _joined(workspace, name, workspace.processes.in_order(map(_of_own, decoded), len(sample)))
    workspace.processes.from_first(_write, workspace, own)


def _sample(workspace: Workspace, name: str) -> list[range]:
    """At most `LEARNT_FROM` images of a dataset, evenly spread, in batches."""
    count = len(workspace.data.train_part(name))
    return batches_of(range(0, count, ceil(count / LEARNT_FROM) or 1), workspace.config.transfer.batch_size)


def _decode(
    workspace: Workspace, items: TransferItems, model: LabelTransferModel, name: str, batches: Sequence[range], progress: track
) -> Iterator[Decoded]:
    """What the model says of this process's share of the batches, in every other space; kept where `KEPT` says so."""
    kept: list[Decoded] | None = None
    if len(workspace.data.train_part(name)) <= KEPT and any(source == name for source, _ in workspace.transfers()):
        kept = workspace.data.decoded[_key(workspace, name)] = []
    mine = workspace.processes.share(batches)
    decoded = decode(workspace, model, partial(items.transfer_input, name), mine, workspace.others(name))
    for images, batch in zip(mine, decoded, strict=True):
        if kept is not None:
            kept.append(batch)
        progress.advance(len(images))
        yield batch


def _of_own(batch: Decoded) -> OwnBoxes:
    some = next(iter(batch.values()))
    own = some.own_rows
    return {target: decoded.class_scores[own] for target, decoded in batch.items()}, some.source_labels[own]


def _joined(workspace: Workspace, name: str, found: Iterable[OwnBoxes]) -> OwnBoxes:
    none = {target: torch.zeros(0, len(workspace.data.space(target)) + 1) for target in workspace.others(name)}
    scores, labels = zip((none, torch.zeros(0, dtype=torch.int64)), *found, strict=True)
    return {target: torch.cat([each[target] for each in scores]) for target in none}, torch.cat(labels)


def take_decoded(workspace: Workspace, source: str) -> list[Decoded] | None:
    """What the model says of this process's share of the images of a source, in every other space, if that is in memory still."""
    return workspace.data.decoded.pop(_key(workspace, source), None)


def _key(workspace: Workspace, source: str) -> tuple[Path, int, str]:
    return workspace.paths.transfer_model, workspace.paths.transfer_model.stat().st_mtime_ns, source


def _write(workspace: Workspace, own: dict[str, OwnBoxes]) -> None:
    counted: Shares = {}
    learnt: Shares = {}
    for source, target in permutations(workspace.names, 2):
        scores, labels = own[source]
        counts = count_all_relations(workspace, source, target)
        counted[source, target] = expected_shares(counts)
        learnt[source, target] = learn_shares(counts, scores[target], labels)
    boxes = {name: torch.bincount(labels, minlength=len(workspace.data.space(name))) for name, (_, labels) in own.items()}
    lines = [
        json.dumps(
            {
                "source": source,
                "target": target,
                "source_classes": workspace.data.space(source).class_names,
                "target_classes": [*workspace.data.space(target).class_names, None],
                "counted": _rounded(counted[source, target]),
                "learnt": _rounded(learnt[source, target]),
                "consistent": _rounded(shares),
            },
            ensure_ascii=False,
        )
        for (source, target), shares in consistent_shares(learnt, boxes).items()
    ]
    write_atomically(workspace.paths.class_shares, '{"pairs": [\n' + ",\n".join(lines) + "\n]}\n")


def _rounded(shares: Tensor) -> list[list[float]]:
    return [[round(share, 6) for share in row] for row in shares.tolist()]


def read_class_shares(workspace: Workspace, source: str, target: str, method: str) -> tuple[Tensor, Tensor]:
    """(K_s, K_t + 1) shares by a method, and those that were counted."""
    content = json.loads(require(workspace.paths.class_shares, "lat transfer").read_text(encoding="utf-8"))
    pair = next(pair for pair in content["pairs"] if (pair["source"], pair["target"]) == (source, target))
    return torch.tensor(pair[method]), torch.tensor(pair["counted"])
