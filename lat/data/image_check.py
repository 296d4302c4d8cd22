"""Check every image of a dataset: by decoding it, or by what the manifest says of a file that has not changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lat.core.errors import InputError, looked_for
from lat.core.remote import is_folder, is_remote, name_of, stamp_of
from lat.data.decoder_warnings import decoder_warnings
from lat.data.image_headers import other_size_hw
from lat.data.images import check_size, decode_image, image_bytes
from lat.data.manifest import READERS, Entry, Manifest, changes, read_manifest, write_manifest
from lat.data.near_duplicates import look_of
from lat.labels.coco.problems import Problem
from lat.labels.coco.scan import ImageList
from lat.labels.table import LabelTable

Progress = Callable[[int, int], None]
"""Called with the number of images checked so far and the total number."""

_IMAGES_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class PartImages:
    """Images of a labels file that lie in a folder."""

    labels: Path
    folder: Path
    images: ImageList | LabelTable

    def __len__(self) -> int:
        return len(self.images.file_names)


@dataclass(frozen=True)
class ImageCheck:
    """What was found.

    Attributes:
        problems: what must be corrected.
        notes: what changed since the manifests.
        manifests: the manifests that were written.
        looks: for each part, how its images look, by file name: (32,) uint8, see `near_duplicates`. Files that a manifest knows
            were not decoded and are left out.
    """

    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    manifests: tuple[Path, ...]
    looks: Mapping[PartImages, Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class _Checked:
    """What one image file is; no entry if it is no image, or nobody wants one."""

    problem: Problem | None = None
    entry: Entry | None = None
    is_changed: bool = False
    look: np.ndarray | None = None  # of one that was decoded


def check_images(parts: Sequence[PartImages], progress: Progress | None, *, write_manifests: bool) -> ImageCheck:
    """Check all images of some parts; those of unused splits are not among them.

    An image is decoded unless a manifest has the decoded size of the same file.
    """
    missing = dict.fromkeys(part.folder for part in parts if not is_folder(part.folder))
    what = "no such images folder"
    problems = [Problem(folder, "", what + looked_for(name_of(folder)), "correct `images` of the dataset") for folder in missing]
    groups: dict[tuple[Path, Path], list[PartImages]] = {}
    for part in parts:
        if part.folder not in missing:
            groups.setdefault((part.labels, part.folder), []).append(part)
    done, total = 0, sum(len(part) for group in groups.values() for part in group)
    notes, written, looks = [], [], {part: dict[str, np.ndarray]() for part in parts}
    for (labels, folder), group in groups.items():
        manifest = read_manifest(labels, folder)
        tasks = [(part, i) for part in group for i in range(len(part)) if part.images.file_names[i]]
        found: list[_Checked] = []
        for checked in _check_all(tasks, manifest, write_manifests):
            found.append(checked)
            done += 1
            if progress is not None:
                progress(done, total)
        problems += [one.problem for one in found if one.problem is not None]
        for (part, i), one in zip(tasks, found, strict=True):
            if one.look is not None:
                looks[part][part.images.file_names[i]] = one.look
        if changed := sum(one.is_changed for one in found) if len(manifest) else 0:
            notes.append(Problem(labels, "", changes(changed, len(found))))
        if write_manifests:
            names = (part.images.file_names[i] for part, i in tasks)
            entries = {name: one.entry for name, one in zip(names, found, strict=True) if one.entry is not None}
            written.append(write_manifest(labels, folder, entries.items()))
    return ImageCheck(tuple(problems), tuple(notes), tuple(written), looks)


def _check_all(tasks: Sequence[tuple[PartImages, int]], manifest: Manifest, wanted: bool) -> Iterator[_Checked]:
    if not tasks:
        return
    with ThreadPoolExecutor(READERS if is_remote(tasks[0][0].folder) else None) as pool:
        for start in range(0, len(tasks), _IMAGES_AT_ONCE):
            chunk = tasks[start : start + _IMAGES_AT_ONCE]
            with decoder_warnings() as said:
                checked = list(pool.map(lambda task: _check(task[0], task[1], manifest, wanted), chunk))
            yield from map(_with_damage, chunk, checked) if said else checked


def _with_damage(task: tuple[PartImages, int], checked: _Checked) -> _Checked:
    """What a file is, with what its decoder warns of, which somebody among those of its chunk did."""
    path = task[0].folder / task[0].images.file_names[task[1]]
    if checked.problem is not None or checked.look is None:
        return checked
    with decoder_warnings() as said, suppress(InputError):
        decode_image(image_bytes(path), path)
    if not said:
        return checked
    what = f"the image file is damaged ({said[0]})"
    problem = Problem(path, f"image {task[0].images.image_ids[task[1]]}", what, "copy or download it again")
    return _Checked(problem, None, checked.is_changed)


def _check(part: PartImages, i: int, manifest: Manifest, wanted: bool) -> _Checked:
    """Check image file `i`; its entry is made only if it is wanted."""
    path = part.folder / part.images.file_names[i]
    height, width = part.images.sizes_hw[i].tolist()
    promised = (height, width) if height and width else None
    entry, is_changed, look = None, False, None
    try:
        if wanted or len(manifest):
            stamp = stamp_of(path)
            entry = manifest.of(part.images.file_names[i], stamp)
            is_changed = entry is None
        if entry is None or not all(entry.size_hw):
            data = image_bytes(path)
            found = other_size_hw(data, name_of(path), promised)
            if found is None:
                pixels = decode_image(data, path)
                found, look = pixels.shape[:2], look_of(pixels)
            if wanted and stamp is not None:
                entry = Entry(stamp, hashlib.sha256(data).hexdigest(), (found[0], found[1]))
        else:
            found = entry.size_hw
        if promised is not None:
            check_size(path, found, promised)
    except InputError as error:
        item = f"image {part.images.image_ids[i]}"
        return _Checked(Problem(path, item, error.what, error.remedy), entry, is_changed)
    return _Checked(None, entry, is_changed, look)
