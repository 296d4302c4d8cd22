"""Decoded proposals that one step of a run passes to a later one, so that the model need not run twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lat.core.decoded_proposals import Decoded


class DecodedStore:
    """Decoded batches waiting in one process.

    The step that learns class shares puts in the decoded batches of each small source; the transfer of that source takes them.
    """

    def __init__(self) -> None:
        self._batches: dict[tuple[Path, int, str], Sequence[Decoded]] = {}

    def __len__(self) -> int:
        """Number of sources whose batches are waiting."""
        return len(self._batches)

    def put(self, model: Path, source: str, batches: Sequence[Decoded]) -> None:
        """Keep this process's batches of a source, decoded by the model in that file."""
        self._batches[_key(model, source)] = batches

    def take(self, model: Path, source: str) -> Sequence[Decoded] | None:
        """Remove and return the batches of a source; None if there are none, or if the model file has changed since."""
        return self._batches.pop(_key(model, source), None)


def _key(model: Path, source: str) -> tuple[Path, int, str]:
    return model, model.stat().st_mtime_ns, source
