"""What reading a ZIP archive may come to if it is damaged."""

from __future__ import annotations

import lzma
import zipfile
import zlib

DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, NotImplementedError, RuntimeError)
"""What `zipfile` raises; also an OSError that names no file and has no number."""
