"""What is put into the store comes out once, and only for the same model."""

from __future__ import annotations

import os
from pathlib import Path

from lat.core.decoded_proposals import Decoded
from lat.core.decoded_store import DecodedStore


def test_batches_are_taken_once_and_only_for_the_model_that_decoded_them(tmp_path: Path) -> None:
    model, other = tmp_path / "model.pt", tmp_path / "other.pt"
    for path in (model, other):
        path.write_bytes(b"")
    store, batch = DecodedStore(), Decoded()
    store.put(model, "city", 16, batch)
    assert store.take(model, "nu", 16) is None
    assert store.take(model, "city", 0) is None
    assert store.take(other, "city", 16) is None
    assert store.take(model, "city", 16) is batch
    assert store.take(model, "city", 16) is None
    store.put(model, "city", 16, batch)
    os.utime(model, ns=(0, model.stat().st_mtime_ns + 1))  # trained again
    assert store.take(model, "city", 16) is None
    assert len(store) == 1
    store.drop("nu")
    assert len(store) == 1
    store.drop("city")
    assert len(store) == 0
