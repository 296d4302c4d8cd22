"""Labels of a list of images as a folder of Parquet files, a part for each range of images, each written whole or not at all.

`manifest.json` says what the parts are made from and, once the COCO file is written from them, which file that is.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pyarrow as pa
from pyarrow import parquet

from lat.core.files import open_atomically, sha256_of_json, write_atomically
from lat.core.label_space import LabelSpace
from lat.labels.class_scores import TopScores
from lat.labels.coco.write import stream_coco
from lat.labels.store.arrow import from_arrow, metadata_of
from lat.labels.store.join import joined
from lat.labels.store.manifest import ExportedFile, Manifest
from lat.labels.store.recent import Recent
from lat.labels.table import LabelTable

_INPUTS = b"lat.inputs"

KEPT: Recent[LabelTable] = Recent(256 * 2**20)
"""The tables that were read last: each is asked for several times in a row."""

_hashes: WeakKeyDictionary[LabelTable, str] = WeakKeyDictionary()


class LabelShards:
    """A folder of parts, `part-00000.parquet` and so on, and their manifest. Several processes may write parts at once.

    Args:
        folder: where they are; it need not exist.
        images: all images; its annotations are ignored.
        space: the label space of the annotations.
    """

    def __init__(self, folder: Path, images: LabelTable, space: LabelSpace) -> None:
        self.folder, self.images, self.space = Path(folder), images, space
        self._images_sha256 = _sha256_of_images(images)

    @property
    def manifest(self) -> Manifest | None:
        """The manifest in the folder; None if there is none for these images and this label space."""
        found = Manifest.read(self.folder / "manifest.json")
        is_ours = found is not None and (found.images, found.space) == (self._images_sha256, self.space.to_dict())
        return found if is_ours else None

    def prepare(self, inputs: str, parts: Sequence[range]) -> None:
        """Say what the parts are made from, before the first is written; what was made from anything else is deleted.

        Args:
            inputs: hash of all that the parts are computed from.
            parts: the images of each part; together all images, in order.

        Raises:
            ValueError: if the parts are not all images in order.
        """
        bounds = [[part.start, part.stop] for part in parts]
        if [first for first, _ in bounds] + [len(self.images)] != [0] + [stop for _, stop in bounds]:
            raise ValueError(f"{self.folder}: the parts are not all {len(self.images)} images in order")
        wanted = Manifest(inputs, self._images_sha256, self.space.to_dict(), bounds)
        found = self.manifest
        if found is not None and replace(found, file=None) == wanted:
            return
        self._write_manifest(wanted)
        for path in self.folder.glob("part-*.parquet"):
            if not any(path == self.path(i) and self.has(i) for i in range(len(parts))):
                path.unlink(missing_ok=True)

    def path(self, number: int) -> Path:
        """The file of a part."""
        return self.folder / f"part-{number:05d}.parquet"

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part, made by `to_arrow`, whole or not at all.

        Raises:
            ValueError: if its images are not those that `prepare` was told, or its label space is another one.
        """
        manifest = self._prepared()
        metadata = metadata_of(table.schema)
        if (metadata["images"], metadata["space"]) != (manifest.parts[number], manifest.space):
            raise ValueError(f"{self.path(number)}: rows of images {metadata['images']} in {metadata['space']['name']}")
        table = table.replace_schema_metadata({**table.schema.metadata, _INPUTS: manifest.inputs})
        floats = [_path_of_values(field) for field in table.schema if pa.types.is_floating(_type_of_values(field))]
        with open_atomically(self.path(number)) as file:
            checked = {"write_page_checksum": True}  # else a damaged value would be read as another
            parquet.write_table(table, file, compression="zstd", use_dictionary=False, use_byte_stream_split=floats, **checked)

    def has(self, number: int) -> bool:
        """Whether a part is there, complete, and made from what `prepare` was told."""
        return (manifest := self.manifest) is not None and self._is_sound(number, manifest)

    def missing(self) -> list[int]:
        """The numbers of the parts that are still to be written."""
        manifest = self._prepared()
        return [i for i in range(len(manifest.parts)) if not self._is_sound(i, manifest)]

    def tables(self) -> Iterator[LabelTable]:
        """The parts in order, one at a time, as they are written to a file: with its annotation ids.

        Corners are those of the file, up to `CLIP_TOLERANCE` outside the image; `read` clips them.

        Raises:
            OSError: if a part is missing.
        """
        return self._tables(as_written=True, checksums=[])

    def read(self) -> LabelTable:
        """All parts as one table: the columns that `read_labels` reads from the file that `export` writes.

        Raises:
            OSError: if a part is missing.
            ValueError: if some boxes have class scores or provenance and others have none, or a part is not the one that was
                exported.
        """
        files = [parquet.read_metadata(self.path(i)) for i in range(len(self._prepared().parts))]
        of_parts = [metadata_of(file) for file in files]
        spaces, source_classes = (
            tuple(sorted({name for metadata in of_parts for name in metadata.get(key, ())}))
            for key in ("spaces", "source_classes")
        )
        num_boxes = sum(file.num_rows for file in files)
        tables = self._tables(as_written=False, checksums=[])
        return joined(self.images, self.space, tables, num_boxes, spaces, source_classes)

    def export(self, path: Path, info: dict[str, Any]) -> str:
        """Write the COCO file of all parts, remember it in the manifest, and return its SHA-256.

        Raises:
            OSError: if a part is missing.
        """
        manifest = self._prepared()
        checksums: list[int] = []
        sha256 = stream_coco(path, self.images, self.space, self._tables(as_written=True, checksums=checksums), info=info)
        written = Path(path).stat()
        file = ExportedFile(sha256, written.st_size, written.st_mtime_ns, info, checksums)
        self._write_manifest(replace(manifest, file=file))
        return sha256

    def _prepared(self) -> Manifest:
        if (manifest := self.manifest) is None:
            raise ValueError(f"{self.folder}: `prepare` was not called for these images in {self.space.name}")
        return manifest

    def _write_manifest(self, manifest: Manifest) -> None:
        write_atomically(self.folder / "manifest.json", json.dumps(asdict(manifest), indent=1) + "\n")

    def _is_sound(self, number: int, manifest: Manifest) -> bool:
        try:
            found = parquet.read_metadata(self.path(number))
            metadata = metadata_of(found)
        except (OSError, ValueError, pa.ArrowException):
            return False
        return (found.metadata.get(_INPUTS), metadata["images"]) == (manifest.inputs.encode(), manifest.parts[number])

    def _tables(self, *, as_written: bool, checksums: list[int]) -> Iterator[LabelTable]:
        """The parts, whose checksums are appended to a list; those that are read must be what was exported."""
        manifest, first_id = self._prepared(), 1
        expected = manifest.file.checksums if manifest.file is not None and not as_written else []
        for i, (first, stop) in enumerate(manifest.parts):
            content = self.path(i).read_bytes()
            checksums.append(zlib.crc32(content))
            if expected and expected[i] != checksums[i]:
                raise ValueError(f"{self.path(i)}: is not the part that was exported")
            with parquet.ParquetFile(pa.BufferReader(content), pre_buffer=False, page_checksum_verification=True) as file:
                rows = file.read(use_threads=False)  # so small that threads cost more than they save
            yield from_arrow(rows, self.images, self.space, range(first, stop), first_id=first_id, as_written=as_written)
            first_id += len(rows)


def stored_labels(json_path: Path, folder: Path, images: LabelTable, space: LabelSpace) -> LabelTable | None:
    """The labels of a COCO file from the parts that it was written from: the table that `read_labels` gives, but sooner.

    Args:
        json_path: the COCO file.
        folder: of the parts.
        images: all images.
        space: the label space of the file.

    Returns:
        The table, or None if the file has to be read itself: if it is another one than was written from the parts, for people may
        change it; if a part is missing or cannot be read; or if the parts are of other images or in another label space.
    """
    shards = LabelShards(folder, images, space)
    manifest = shards.manifest
    if manifest is None or manifest.file is None or not manifest.file.is_at(Path(json_path)):
        return None
    key = json_path, manifest.images, sha256_of_json(manifest.space), manifest.file.sha256
    table = KEPT.get(key) if all(shards.path(i).is_file() for i in range(len(manifest.parts))) else None
    if table is None:
        if shards.missing():
            return None
        try:
            table = replace(shards.read(), path=Path(json_path), info=manifest.file.info)
        except (OSError, ValueError, KeyError, pa.ArrowException):
            return None
        KEPT.put(key, table, _size_of(table))
    return table


def _size_of(table: LabelTable) -> int:
    """Bytes of its columns, about: class scores and provenance are the most of what is not always there."""
    columns = (table.boxes_xyxy, table.labels, table.scores, table.is_crowd, table.annotation_ids, table.offsets)
    size = sum(column.nbytes for column in columns) + (24 * table.num_boxes if table.provenance is not None else 0)
    of_classes = table.class_scores
    dense = of_classes.columns().values() if isinstance(of_classes, TopScores) else () if of_classes is None else (of_classes,)
    return size + sum(column.nbytes for column in dense)


def _sha256_of_images(images: LabelTable) -> str:
    """SHA-256 of ids, sizes and names; of one table it is found once."""
    if images not in _hashes:
        _hashes[images] = _hashed(images)
    return _hashes[images]


def _hashed(images: LabelTable) -> str:
    columns = (images.image_ids.astype("<i8").tobytes(), images.sizes_hw.astype("<i4").tobytes())
    return sha256_of_json([*(hashlib.sha256(column).hexdigest() for column in columns), list(images.file_names)])


def _type_of_values(field: pa.Field) -> pa.DataType:
    """The type of a column, or of the items of its lists."""
    return field.type.value_type if pa.types.is_fixed_size_list(field.type) else field.type


def _path_of_values(field: pa.Field) -> str:
    """What Parquet calls the values of a column."""
    return f"{field.name}.list.element" if pa.types.is_fixed_size_list(field.type) else str(field.name)
