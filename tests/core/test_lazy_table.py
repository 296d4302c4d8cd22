"""A table that imports its entries when they are looked up."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lat.core.lazy_table import LazyTable


def test_names_are_known_before_anything_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_entry.py").write_text("ENTRY = 'loaded'\n")
    monkeypatch.syspath_prepend(tmp_path)
    table: Mapping[str, str] = LazyTable({"heavy": "heavy_entry:ENTRY", "gone": "no_such_module:ENTRY"})
    assert list(table) == ["heavy", "gone"]
    assert len(table) == 2
    assert "gone" in table
    assert "other" not in table
    assert "heavy_entry" not in sys.modules
    assert table["heavy"] == "loaded"
    assert "heavy_entry" in sys.modules
    with pytest.raises(ModuleNotFoundError):
        table["gone"]
    with pytest.raises(KeyError):
        table["other"]
