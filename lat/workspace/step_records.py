"""Records of what each step was made from: hashes of inputs and outputs, kept under `output_dir/.state`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

from lat.config.places import named_files
from lat.core.documents import read_json
from lat.core.errors import InputError
from lat.core.file_cache import Stamp
from lat.core.files import sha256_of_file, sha256_of_json, write_atomically
from lat.core.remote import as_path, is_file, name_of, stamp_of
from lat.data.dataset import DetectionDataset
from lat.data.manifest import READERS, Manifest, changes, read_manifest
from lat.engine.announce import say
from lat.engine.progress import track
from lat.labels.coco.root_category import NO_CLASS
from lat.workspace.edited_labels import is_edited
from lat.workspace.steps import Step
from lat.workspace.workspace import Workspace

_IMAGES_A_TASK = 16


class _Record(TypedDict):
    inputs: str
    outputs: dict[str, str]


SAVE_SECONDS = 30.0  # between two times that the hashes of all files are written while a run goes on


class StepRecords:
    """Tells which steps are up to date, and records the finished ones."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.folder = workspace.paths.root / ".state"
        self._hash_file = self.folder / "hashes.json"
        self._hashes: dict[str, list[Any]] = _read_json(self._hash_file, dict[str, tuple[int, int, str]])
        self._data_hashes: dict[str, str] = {}
        self._is_changed = False
        self._saved = 0.0
        self._edited: set[Path] = set()  # files of which it was said

    def inputs_hash(self, step: Step) -> str:
        """SHA-256 over everything that goes into a step; its input files must exist.

        A file of the user's counts by its name and content, from whatever folder it is named.
        """
        return self._inputs_hash(step, self._names)

    def _inputs_hash(self, step: Step, names: Mapping[str, str]) -> str:
        data = {name: self._data_hash(name) for name in step.data}
        settings = _renamed(step.settings, names)
        files = {names.get(name, name): content for name, content in self._files(step.inputs).items()}
        return sha256_of_json([step.stage, step.group, step.member, settings, files, data])

    @cached_property
    def _names(self) -> dict[str, str]:
        """The name of each file of the user's that a step may read, by its path as the settings have it."""
        paths = named_files(self.workspace.config.to_dict())
        names = [Path(path).name for path in paths]
        counts = Counter(names)
        for number, path in enumerate(paths):
            if counts[Path(path).name] > 1:  # files of one name are told apart by their content
                names[number] += f" {self._file_hash(Path(path))}"
        return {one: name for path, name in zip(paths, names, strict=True) for one in (path, str(Path(path)))}

    def is_current(self, step: Step) -> bool:
        """True if a step's record matches its current inputs, and its outputs are unchanged, or labels that a person has changed.

        Outputs that it wrote elsewhere, because the run had another number of rounds then, are copied to their place first.
        """
        record = self._brought(step, _read_json(self._record_file(step), _Record))
        if not record or not all(map(is_file, (*step.inputs, *step.outputs))):
            return False
        if record["inputs"] != self.inputs_hash(step) and record["inputs"] != self._inputs_hash(step, {}):
            return False  # the second counts files by their paths as they are typed, as all records once did
        outputs = self._files(step.outputs)
        return record["outputs"] == outputs or (step.is_editable and self._are_edited(step, record, outputs))

    def _are_edited(self, step: Step, record: dict[str, Any], outputs: dict[str, str]) -> bool:
        """True if what has changed of the outputs of a step is labels that a person has changed; says so once."""
        if record["outputs"].keys() != outputs.keys():
            return False
        changed = [path for path, name in zip(step.outputs, outputs, strict=True) if record["outputs"][name] != outputs[name]]
        if not all(is_edited(self.workspace, path, step.member, record["inputs"]) for path in changed):
            return False
        for path in changed:
            if path not in self._edited and self.workspace.processes.is_first:
                say(f"{path}: was changed by hand, and counts as it is (`lat {step.stage} --force` writes it anew)")
            self._edited.add(path)
        return True

    def note(self, step: Step, inputs_hash: str) -> None:
        """Record that the outputs of a step were made from inputs of this hash."""
        record = {"inputs": inputs_hash, "outputs": self._files(step.outputs)}
        write_atomically(self._record_file(step), json.dumps(record, indent=2) + "\n")
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Save the file hashes that the first process computed, for the next run."""
        if self._is_changed and self.workspace.processes.is_first:
            write_atomically(self._hash_file, json.dumps(self._hashes) + "\n")
            self._is_changed, self._saved = False, time.monotonic()

    def _brought(self, step: Step, record: dict[str, Any]) -> dict[str, Any]:
        """The record of a step, after copying its unchanged outputs from their old place to the new one."""
        outputs = record.get("outputs", {})
        if len(outputs) != len(step.outputs):
            return record
        for output, (name, content) in zip(step.outputs, outputs.items(), strict=True):
            old = self.workspace.paths.root / name
            if old == output or not old.is_file() or self._file_hash(old) != content:
                return record
            write_atomically(output, old.read_bytes())
        self.note(step, record["inputs"])
        return _read_json(self._record_file(step), _Record)

    def _record_file(self, step: Step) -> Path:
        return self.folder / f"{step.title.replace(' ', '.')}.json"

    def _files(self, paths: tuple[Path, ...]) -> dict[str, str]:
        root = self.workspace.paths.root
        names = [path.relative_to(root) if path.is_relative_to(root) else name_of(path) for path in paths]
        return {str(name): self._file_hash(path) for name, path in zip(names, paths, strict=True)}

    def _data_hash(self, name: str) -> str:
        """SHA-256 over a dataset's annotation files, their split, and the images of all parts."""
        if name not in self._data_hashes:
            settings = self.workspace.data.settings_of(name)
            files = [as_path(place) for place in (settings.annotations, settings.validation, *settings.truth.values()) if place]
            data = self.workspace.data
            parts = data.train_part(name), data.validation_part(name), data.test_part(name)
            paths = ("images", "annotations", "validation", "validation_images", "truth", "made_by")
            described = {key: value for key, value in asdict(settings).items() if key not in paths}
            described["truth"] = sorted(settings.truth)
            if not settings.classes:  # as before there were maps
                del described["classes"]
            if roots := [what for what in self.workspace.data.train_part(name).labels.repairs if what.endswith(NO_CLASS)]:
                described["roots"] = roots  # which once were classes
            hashes, there = [], [part for part in parts if part is not None]
            with track(len(files) + sum(map(len, there)), f"read {name}", after_seconds=2) as progress:
                for path in files:
                    hashes.append([path.name, self._file_hash(path)])
                    progress.advance()
                hashes += self._hashes_of_images(name, there, progress)
            self._data_hashes[name] = sha256_of_json([described, hashes])
        return self._data_hashes[name]

    def _hashes_of_images(self, name: str, parts: Sequence[DetectionDataset], progress: track) -> list[list[str]]:
        """File name and SHA-256 of each image of a dataset; says how many images its manifests do not know, if it has any."""
        folders = {part.labels.path: part.images_dir for part in parts}
        manifests = {labels: read_manifest(labels, folder) for labels, folder in folders.items()}
        hashes, changed, total = [], 0, 0
        for part in parts:
            manifest = manifests[part.labels.path]
            for i, (digest, is_known) in enumerate(self._image_hashes(part, manifest)):
                hashes.append([part.image_path(i).name, digest])
                changed += bool(len(manifest)) and not is_known
                progress.advance()
            total += len(part) if len(manifest) else 0
        if changed and self.workspace.processes.is_first:
            say(f"{name}: {changes(changed, total)}")
        return hashes

    def _image_hashes(self, part: DetectionDataset, manifest: Manifest) -> Iterator[tuple[str, bool]]:
        """SHA-256 of each image of a part, and whether the manifest knows it; only those that it does not know are read."""

        def hash_of(i: int) -> tuple[str, bool]:
            path = part.image_path(i)
            stamp = stamp_of(path)
            entry = manifest.of(part.labels.file_names[i], stamp)
            return (self._file_hash(path, stamp), False) if entry is None else (entry.sha256, True)

        def hashes_from(start: int) -> list[tuple[str, bool]]:
            return [hash_of(i) for i in range(start, min(start + _IMAGES_A_TASK, len(part)))]

        with ThreadPoolExecutor(READERS) as pool:
            starts = range(0, len(part), _IMAGES_A_TASK)
            for first in range(0, len(starts), READERS):
                for found in pool.map(hashes_from, starts[first : first + READERS]):
                    yield from found

    def _file_hash(self, path: Path, stamp: Stamp | None = None) -> str:
        """SHA-256 of a file, recomputed only if its size or modification time changed; `stamp` is both, if they are known."""
        stamp = stamp or stamp_of(path)
        if stamp is None:
            raise InputError(name_of(path), "there is no such file", "run `lat check` to find every missing file")
        known = self._hashes.get(str(path))
        if known is None or known[:2] != list(stamp):
            self._hashes[str(path)] = known = [*stamp, sha256_of_file(path)]
            self._is_changed = True
        result: str = known[2]
        return result


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Plain settings with another text for each of these."""
    if isinstance(value, dict):
        return {key: _renamed(one, names) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def _read_json(path: Path, shape: Any) -> dict[str, Any]:
    """The content of a record file; a missing or damaged one counts as empty, so its step runs again."""
    try:
        content: dict[str, Any] = read_json(path, shape, "")
    except (OSError, InputError):
        return {}
    return content
