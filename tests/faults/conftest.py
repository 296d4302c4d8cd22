"""An undisturbed run for each test process, and a way to disturb others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fault_reference import Reference, undisturbed
from fault_runs import Runs, compiler, opened_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    if compiler() is None:
        pytest.skip("faults below a program need Linux and a C compiler")
    with opened_runs(tmp_path_factory.mktemp("logs")) as opened:
        yield opened


@pytest.fixture(scope="session")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The undisturbed run; runs beside it in its folder can be compared with it."""
    return undisturbed(runs, tmp_path_factory.mktemp("faults"))
