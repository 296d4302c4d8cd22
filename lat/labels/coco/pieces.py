"""Sound COCO files decoded at several times the speed of `json.loads`, a piece of the annotations at a time.

Anything that is not plainly sound raises `Doubt`; then the file is read record by record, which finds and names every problem.
"""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from lat.core.errors import InputError
from lat.core.regular_files import open_regular

_PIECE = 500_000
"""Bytes of JSON that are decoded at once: what they become fits into a processor's cache."""
_MAPPED_BYTES = 32_000_000
"""A file from this size on is mapped into memory: if someone cuts it short in place meanwhile, the system ends the process by
SIGBUS. Smaller ones are read whole first. `lat` itself never changes a file in place."""
_TRIED_ENDS = 8
_BETWEEN_OBJECTS = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*(?=\{)")


class Doubt(Exception):  # noqa: N818  (no error: nobody sees it)
    """The file is not plainly sound."""


class PriorEntry(Struct, gc=False):
    """`provenance.prior` of an annotation."""

    source_class: str
    factor: float
    kept: bool


class ProvenanceEntry(Struct, gc=False):
    """`provenance` of an annotation."""

    origin: Literal["ground_truth", "pseudo_label", "person"]
    space: str
    annotation_id: int | None
    prior: PriorEntry | UnsetType = UNSET


class _AnyAnnotation(Struct, gc=False, kw_only=True):
    """What all annotations have."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float = 1.0
    iscrowd: float | None = None
    area: float | None = None
    provenance: ProvenanceEntry | None = None


class Annotation(_AnyAnnotation, gc=False, kw_only=True):
    """An annotation; its class scores, if any, are a whole vector."""

    class_scores: tuple[float, ...] | None = None


class PairsAnnotation(_AnyAnnotation, gc=False, kw_only=True):
    """An annotation whose class scores are pairs of category id and score."""

    class_scores: tuple[tuple[int, float], ...]
    class_scores_rest: float | None = None


Rows: TypeAlias = list[Annotation] | list[PairsAnnotation]
_Decoders: TypeAlias = "tuple[msgspec.json.Decoder[Any], ...]"
_KINDS: _Decoders = (msgspec.json.Decoder(list[Annotation]), msgspec.json.Decoder(list[PairsAnnotation]))


class SoundFile:
    """A COCO file that is JSON.

    Attributes:
        document: the object in it, with an empty list in place of the annotations.

    Raises:
        Doubt: if it cannot be read, or is not plainly a JSON object with a list of annotations.
    """

    def __init__(self, path: Path) -> None:
        try:
            with open_regular(path) as file:
                is_large = os.fstat(file.fileno()).st_size >= _MAPPED_BYTES
                self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if is_large else None
                content = file.read() if self._mapped is None else self._mapped
            values = msgspec.json.decode(content, type=dict[str, Raw])
            self._annotations: Any = memoryview(values.pop("annotations"))  # `Any` for mypy: bytes are formatted with it
            self._release()
            self.document: dict[str, Any] = {key: json.loads(bytes(value)) for key, value in values.items()}
        except (InputError, OSError, ValueError, KeyError, RecursionError, msgspec.MsgspecError) as error:
            raise Doubt from error
        self.document["annotations"] = []
        if bytes(self._annotations[:1]) != b"[":
            raise Doubt

    def annotations(self) -> Iterator[Rows]:
        """The annotations, some at a time, all of one kind.

        A piece ends between two objects. If these are not items of the list but of a list inside one, or in a string, the piece
        is not JSON, and the next end is tried.

        Raises:
            Doubt: if anything in them is not as it should be.
        """
        content, kinds = self._annotations, _KINDS
        begin, end = 1, len(content) - 1
        while begin < end:
            between = _BETWEEN_OBJECTS.finditer(content, min(begin + _PIECE, end), end)
            ends = chain(((match.start() + 1, match.end()) for match in between), [(end, end)])
            for stop, following in islice(ends, _TRIED_ENDS):
                rows, kinds = _decoded(b"[%b]" % content[begin:stop], kinds)
                if rows is not None:
                    yield rows
                    begin = following
                    break
            else:
                raise Doubt
            self._release()

    def _release(self) -> None:
        """Let the system take back the memory of what was read."""
        if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)


def _decoded(piece: bytes, kinds: _Decoders) -> tuple[Rows | None, _Decoders]:
    """The annotations in a list, and their kind; None if the list is not JSON.

    Raises:
        Doubt: if they are of none of these kinds.
    """
    for decoder in kinds:
        try:
            if not piece.isascii():
                str(piece, "utf-8")  # values that are skipped are not looked at
            return decoder.decode(piece), (decoder,)
        except msgspec.ValidationError:
            continue
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None, kinds
        except RecursionError as error:
            raise Doubt from error
    raise Doubt
