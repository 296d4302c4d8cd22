"""Waymo Open Dataset, perception, version 2 (Parquet): camera boxes, and the camera images, which are written as JPEG files.

Pixel convention: `center` and `size` of a box are continuous pixel coordinates: x1 = center.x - size.x / 2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.core.regular_files import open_regular
from lat.data.image_headers import file_size_hw
from lat.formats.importers.class_lists import ClassList, load_class_list
from lat.formats.importers.folders import require_files, sorted_names, wrong_root
from lat.formats.importers.source import Box, Image, Importer, Wanted
from lat.formats.importers.streams import reading

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_KEYS = ["key.frame_timestamp_micros", "key.camera_name"]
_JPEG = "[CameraImageComponent].image"
_BOX = [f"[CameraBoxComponent].{name}" for name in ("type", "box.center.x", "box.center.y", "box.size.x", "box.size.y")]
_CAMERAS = {1: "FRONT", 2: "FRONT_LEFT", 3: "FRONT_RIGHT", 4: "SIDE_LEFT", 5: "SIDE_RIGHT"}
_IMAGES_AT_ONCE = 16

Key = tuple[int, int]
"""Time stamp and camera: an image of a segment."""


@dataclass(frozen=True)
class Waymo(Importer):
    """The folder with `training` and `validation`, each with `camera_box` and `camera_image`; needs pyarrow."""

    split: str = "training"

    writes_images = True

    def __post_init__(self) -> None:
        _parquet_file()
        require_files(self.root, "the Waymo Open Dataset, version 2", self._boxes, self._images)
        if not self._segments:
            expected = f"{self.split}/camera_box/SEGMENT.parquet and {self.split}/camera_image/SEGMENT.parquet"
            raise wrong_root(self.root, "the Waymo Open Dataset, version 2", expected, self._boxes)

    @property
    def _boxes(self) -> Path:
        return self.root / self.split / "camera_box"

    @property
    def _images(self) -> Path:
        return self.root / self.split / "camera_image"

    @property
    def images_dir(self) -> Path:
        return self.out / "images"

    @cached_property
    def class_list(self) -> ClassList:
        return load_class_list("waymo")

    @cached_property
    def _segments(self) -> list[str]:
        """The segments that have both boxes and images."""
        images = set(sorted_names(self._images, lambda name: name.endswith(".parquet")))
        return [name.removesuffix(".parquet") for name in sorted_names(self._boxes, images.__contains__)]

    @property
    def annotation_files(self) -> list[Path]:
        return [self._boxes / f"{segment}.parquet" for segment in self._segments]

    def _name(self, segment: str, key: Key) -> str:
        return f"{self.split}/{segment}/{key[0]}_{_CAMERAS.get(key[1], key[1])}.jpg"

    def names(self) -> Iterator[str]:
        for segment in self._segments:
            with _table(self._images / f"{segment}.parquet", [*_KEYS, _JPEG]) as file:
                yield from (self._name(segment, key) for key, _ in _rows(file, _KEYS))

    def images(self, wanted: Wanted) -> Iterator[Image]:
        for segment in self._segments:
            boxes, path = self._boxes_of_segment(segment), self._images / f"{segment}.parquet"
            with _table(path, [*_KEYS, _JPEG]) as file:
                for name, key, jpeg in self._images_of_segment(segment, file, wanted):
                    width, height = _size(path, name, jpeg)
                    write_atomically(self.images_dir / name, jpeg)
                    yield Image(name, width, height, boxes.get(key, ()))

    def _images_of_segment(self, segment: str, file: ParquetFile, wanted: Wanted) -> Iterator[tuple[str, Key, bytes]]:
        """Read only the row groups with a wanted image."""
        for group in range(file.num_row_groups):
            keys = {key for key, _ in _rows(file, _KEYS, [group]) if wanted(self._name(segment, key))}
            if keys:
                rows = _rows(file, [*_KEYS, _JPEG], [group])
                yield from ((self._name(segment, key), key, jpeg) for key, (jpeg,) in rows if key in keys)

    def _boxes_of_segment(self, segment: str) -> dict[Key, list[Box]]:
        """The boxes of all images of a segment, a few thousand of them."""
        found: dict[Key, list[Box]] = defaultdict(list)
        with _table(self._boxes / f"{segment}.parquet", [*_KEYS, *_BOX]) as file:
            for key, (label, x, y, width, height) in _rows(file, [*_KEYS, *_BOX]):
                found[key].append(Box(str(label), x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        return found


@contextmanager
def _table(path: Path, columns: Sequence[str]) -> Iterator[ParquetFile]:
    """A table with these columns.

    Raises:
        InputError: naming the file, if it is not such a table, or is found damaged by what the block reads.
    """
    from pyarrow import ArrowException

    kind = "a Parquet file"
    try:
        with reading(path, kind), open_regular(path) as raw, _parquet_file()(raw) as file:
            for name in columns:
                if (count := file.schema_arrow.names.count(name)) != 1:
                    has = f"has the column {name} twice" if count else f"has no column {name}"
                    raise InputError(path, has, f"it should be a {path.parent.name} table of version 2")
            yield file
    except ArrowException as error:
        raise InputError(path, f"is not {kind} ({' '.join(str(error).split())[:200]})", "download it again") from None


def _size(path: Path, name: str, jpeg: Any) -> tuple[int, int]:
    """Width and height of an image in a table, which is checked to be one."""
    try:
        if not isinstance(jpeg, bytes):
            raise InputError(path, "is not an image", "download the table again")
        height, width = file_size_hw(path, BytesIO(jpeg))
    except InputError as error:
        raise InputError(path, f"image '{name}' {error.what}", error.remedy) from None
    return width, height


def _rows(file: ParquetFile, columns: list[str], groups: list[int] | None = None) -> Iterator[tuple[Key, tuple[Any, ...]]]:
    """The rows of a table: the key, which is in the first two columns, and the rest, a few at a time.

    Raises:
        ValueError: if a key is not of two whole numbers.
    """
    for batch in file.iter_batches(batch_size=_IMAGES_AT_ONCE if _JPEG in columns else 4096, columns=columns, row_groups=groups):
        values = (batch.column(name).to_pylist() for name in columns)
        for time, camera, *rest in zip(*values, strict=True):
            if type(time) is not int or type(camera) is not int:
                raise ValueError(f"time stamp {str(time)[:60]} and camera {str(camera)[:60]} are no whole numbers")
            yield (time, camera), tuple(rest)


def _parquet_file() -> type[ParquetFile]:
    """Pyarrow's reader.

    Raises:
        InputError: if pyarrow is not installed.
    """
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError("lat import waymo", "needs pyarrow", "pip install 'lat-detection[waymo]'") from None
    result: type[ParquetFile] = ParquetFile
    return result
