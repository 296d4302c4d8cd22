"""The browser of a module's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from chromium import launched

    with launched() as opened:
        yield opened
