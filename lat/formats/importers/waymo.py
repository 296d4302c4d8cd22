"""Waymo Open Dataset, perception, version 2 (Parquet): camera boxes, and the camera images, which are written as JPEG files.

Pixel convention: `center` and `size` of a box are continuous pixel coordinates: x1 = center.x - size.x / 2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image as JpegImage

from lat.core.errors import InputError
from lat.core.files import write_atomically
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
            with self._open(self._images / f"{segment}.parquet") as file:
                yield from (self._name(segment, key) for key, _ in _rows(file, _KEYS))

    def images(self, wanted: Wanted) -> Iterator[Image]:
        for segment in self._segments:
            with self._open(self._images / f"{segment}.parquet") as file:
                yield from self._images_of_segment(segment, file, wanted)

    def _images_of_segment(self, segment: str, file: ParquetFile, wanted: Wanted) -> Iterator[Image]:
        """Read only the row groups with a wanted image."""
        boxes = self._boxes_of_segment(segment)
        for group in range(file.num_row_groups):
            keys = {key for key, _ in _rows(file, _KEYS, [group]) if wanted(self._name(segment, key))}
            if not keys:
                continue
            for key, (jpeg,) in _rows(file, [*_KEYS, _JPEG], [group]):
                if key in keys:
                    name = self._name(segment, key)
                    with reading(self._images / f"{segment}.parquet", "a table of JPEG images"):
                        width, height = JpegImage.open(BytesIO(jpeg)).size
                    write_atomically(self.images_dir / name, jpeg)
                    yield Image(name, width, height, boxes.get(key, ()))

    def _boxes_of_segment(self, segment: str) -> dict[Key, list[Box]]:
        """The boxes of all images of a segment, a few thousand of them."""
        found: dict[Key, list[Box]] = defaultdict(list)
        with self._open(self._boxes / f"{segment}.parquet") as file:
            for key, (label, x, y, width, height) in _rows(file, [*_KEYS, *_BOX]):
                found[key].append(Box(str(label), x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        return found

    def _open(self, path: Path) -> ParquetFile:
        from pyarrow import ArrowException

        try:
            file = _parquet_file()(path)
        except (ArrowException, OSError) as error:
            raise InputError(path, f"is not a Parquet file ({error})", "download it again") from None
        needed = {*_KEYS, *(_BOX if path.parent == self._boxes else [_JPEG])}
        if missing := sorted(needed - set(file.schema_arrow.names)):
            raise InputError(path, f"has no column {missing[0]}", f"it should be a {path.parent.name} table of version 2")
        return file


def _rows(file: ParquetFile, columns: list[str], groups: list[int] | None = None) -> Iterator[tuple[Key, tuple[Any, ...]]]:
    """The rows of a table: the key, which is in the first two columns, and the rest, a few at a time."""
    for batch in file.iter_batches(batch_size=_IMAGES_AT_ONCE if _JPEG in columns else 4096, columns=columns, row_groups=groups):
        values = (batch.column(name).to_pylist() for name in columns)
        yield from (((time, camera), tuple(rest)) for time, camera, *rest in zip(*values, strict=True))


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
