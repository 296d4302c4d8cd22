"""The shards that a labels file of a run is written from, and reading it from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lat.core.label_space import LabelSpace
from lat.labels.coco.read import read_labels
from lat.labels.store.shards import LabelShards, stored_labels
from lat.labels.table import LabelTable


def work_folder(root: Path, path: Path) -> Path:
    """Where the shards of a file in the output folder `root` are: `.work` has the same folders, and a folder for each file."""
    return root / ".work" / path.relative_to(root).with_suffix("")


def prepared_shards(
    folder: Path, images: LabelTable, space: LabelSpace, inputs: str, batches: Sequence[Sequence[range]]
) -> LabelShards:
    """The shards of a labels file of a run, ready to be written; what was made from other inputs is deleted.

    Args:
        folder: see `work_folder`.
        images: all images.
        space: the label space of the file.
        inputs: hash of all that its labels are made from.
        batches: the batches of images of each shard.
    """
    shards = LabelShards(folder, images, space)
    shards.prepare(inputs, [range(each[0].start, each[-1].stop) for each in batches])
    return shards


def read_run_labels(root: Path, path: Path, images: LabelTable, space: LabelSpace) -> LabelTable:
    """A labels file of a run: from its shards if it is what was written from them, and else, as people may edit it, from itself.

    Raises:
        InputError: if the file is wrong.
    """
    stored = stored_labels(path, work_folder(root, path), images, space)
    return read_labels(path, space.name, expect=space) if stored is None else stored
