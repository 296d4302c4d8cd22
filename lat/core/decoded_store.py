"""Decoded proposals that one step of a run passes to a later one, so that the model need not run twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lat.core.decoded_proposals import Decoded


class DecodedStore:
    """Decoded batches waiting in one process.

    The step that learns class shares puts in the decoded batches of each small source; the transfer of that source takes them.
    """

    def __init__(self) -> None:
        self._batches: dict[tuple[Path, int, str, int], Decoded] = {}

    def __len__(self) -> int:
        """Number of batches that are waiting."""
        return len(self._batches)

    def put(self, model: Path, source: str, first: int, batch: Decoded) -> None:
        """Keep the batch of a source's images from `first` on, decoded by the model in that file."""
        self._batches[_key(model, source, first)] = batch

    def take(self, model: Path, source: str, first: int) -> Decoded | None:
        """Remove and return a batch; None if it is not there, or if the model file has changed since."""
        return self._batches.pop(_key(model, source, first), None)

    def drop(self, source: str) -> None:
        """Remove the batches of a source that nobody took."""
        self._batches = {key: batch for key, batch in self._batches.items() if key[2] != source}


def _key(model: Path, source: str, first: int) -> tuple[Path, int, str, int]:
    return model, model.stat().st_mtime_ns, source, first
