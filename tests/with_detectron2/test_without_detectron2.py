"""Where Detectron2 does not import, its components say so in one line."""

from __future__ import annotations

import importlib
import sys

import pytest


def test_the_components_say_what_is_missing_and_where_to_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[:2] == ["lat", "detectron2"]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "detectron2", None)
    with pytest.raises(ImportError) as caught:
        importlib.import_module("lat.detectron2")
    message = str(caught.value)
    assert message.startswith("lat.detectron2 needs Detectron2, which cannot be imported (")
    assert message.endswith("; see docs/detectron2.md")
    assert "\n" not in message
