"""Memory that a step of training frees is kept for the next one.

glibc gives each large block back to the system as soon as it is freed, and the system clears it before the next step gets it.
"""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of glibc's `mallopt`
_KEPT_BYTES = 2**31 - 1  # the most that `mallopt` takes: of more that is free, glibc gives some back
_BLOCK_BYTES = (2**30, 2**25)  # blocks up to this size are kept; earlier versions of glibc take the second at most
_TOLD_BY = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Let this process keep memory that it frees; true where the C library can.

    Nothing changes, and the result is False, without glibc, or where an environment variable of glibc says how it allocates.
    """
    mallopt = None if any(name in os.environ for name in _TOLD_BY) else _mallopt()
    if mallopt is None or not any(mallopt(_MMAP_THRESHOLD, most) for most in _BLOCK_BYTES):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))


def _mallopt() -> ctypes._NamedFuncPointer | None:
    """glibc's function, or None with another C library."""
    try:
        return ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return None
