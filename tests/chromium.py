"""A real browser for tests of pages; modules that import from here are skipped without Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[dev]'")
_CHROMIUM = shutil.which("chromium")
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_FLAGS += ["--disable-component-update", "--disable-sync"]

needs_chromium = pytest.mark.skipif(_CHROMIUM is None, reason="no chromium here: apt-get install chromium")


@contextmanager
def launched() -> Iterator[Any]:
    """A browser that is closed in the end."""
    with _playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield browser
        browser.close()
