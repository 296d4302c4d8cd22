"""Memory that is freed is kept, where the C library can."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CHILD = """
import resource, sys
import numpy as np
from lat.engine.allocation import keep_freed_memory
print(keep_freed_memory())
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(2**23)  # 64 MiB, more than glibc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(1)
print(faults(4))
"""


def run(**variables: str) -> tuple[bool, int]:
    """Whether memory is kept, and the page faults of four blocks after the first."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", CHILD], env=environment | variables, capture_output=True, text=True, check=True)
    is_kept, faults = done.stdout.split()
    return is_kept == "True", int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is the C library of Linux")
def test_kept_memory_is_not_cleared_again_unless_the_user_says_how_to_allocate() -> None:
    is_kept, kept = run()
    is_told, told = run(MALLOC_TRIM_THRESHOLD_="131072")
    assert (is_kept, is_told) == (True, False)
    assert kept < 100 < told
