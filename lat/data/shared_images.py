"""Find image files used more than once: under two ids of a part, in two parts of a dataset, or in two datasets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from lat.core.remote import is_remote, name_of
from lat.labels.coco.problems import Problem
from lat.labels.coco.scan import ImageList
from lat.labels.table import LabelTable


@dataclass(frozen=True, eq=False)
class PartFiles:
    """The image files of one part of a dataset.

    Attributes:
        part: `training` or `validation`.
        labels: the file that lists them.
        ids_of: by resolved path, which follows links, the ids of the images that have it.
    """

    part: str
    labels: Path
    ids_of: Mapping[str, tuple[int, ...]]


def files_of_part(part: str, labels: Path, folder: Path, images: ImageList | LabelTable) -> PartFiles:
    """The image files of a part, found in `folder`; an image without a sound file name has none.

    No image is opened or asked about: each folder that holds some is read once for the links in it.
    """
    ids_of: dict[str, tuple[int, ...]] = {}
    resolved: dict[str, tuple[str, frozenset[str]]] = {}  # folders, most of which hold many images
    for name, image_id in zip(images.file_names, images.image_ids.tolist(), strict=True):
        if not name:
            continue
        parent, base = os.path.split(os.path.join(folder, name))
        if parent not in resolved:
            resolved[parent] = _resolve_folder(parent)
        real, links = resolved[parent]
        path = os.path.join(real, base)
        path = os.path.realpath(path) if base in links else path
        ids_of[path] = (*ids_of.get(path, ()), image_id)
    return PartFiles(part, labels, ids_of)


def _resolve_folder(folder: str) -> tuple[str, frozenset[str]]:
    """The folder without links on the way to it, and the names of the links in it; a remote one has none."""
    if is_remote(Path(folder)):
        return folder, frozenset()
    try:
        with os.scandir(folder) as entries:
            return os.path.realpath(folder), frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:  # not there, which is reported elsewhere
        return os.path.realpath(folder), frozenset()


def repeated_images(parts: Sequence[PartFiles]) -> Iterator[Problem]:
    """The problems with the parts of one dataset: files under two ids of a part, and files in two parts."""
    for part in parts:
        for path, ids in part.ids_of.items():
            if len(ids) > 1:
                what = f"stands in the {part.part} part {len(ids)} times, as image {' and '.join(map(str, ids))}"
                yield Problem(part.labels, f"image file {name_of(Path(path))}", what, "join them into one image")
    for one, other in combinations(parts, 2):
        if shared := [path for path in other.ids_of if path in one.ids_of]:
            what = (
                f"{len(shared)} of {len(other.ids_of)} images of the {other.part} part are in the {one.part} part too "
                f"({name_of(one.labels)}), the first is {name_of(Path(shared[0]))}"
            )
            yield Problem(other.labels, "", what, "hold out images that are not trained on")


def images_of_both(name: str, parts: Sequence[PartFiles], others: Sequence[PartFiles]) -> Iterator[Problem]:
    """A note where a dataset has image files that the dataset `name`, whose parts are `others`, has too."""
    theirs = {path for part in others for path in part.ids_of}
    if shared := [path for part in parts for path in part.ids_of if path in theirs]:
        what = f"{len(shared)} of its images are in the dataset {name} too, the first is {name_of(Path(shared[0]))}"
        yield Problem(parts[0].labels, "", what)
