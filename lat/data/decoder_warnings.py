"""What the decoders of images say on standard error about damage that they pass over."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_OF_JPEG = re.compile(rb"^(?:Corrupt JPEG data|Premature end of JPEG|Invalid JPEG|Inconsistent progression).*$", re.MULTILINE)

_HARMLESS = re.compile(rb"[1-4] extraneous bytes before marker 0xd9$")  # padding before the end of the file: no pixel is lost


@contextmanager
def decoder_warnings() -> Iterator[list[str]]:
    """Collect what the decoder of JPEG files says while the block runs; anything else that is written goes on its way at its end.

    The decoder writes to the process's standard error alone, so one block at a time may run in a process.
    """
    found: list[str] = []
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        before = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield found
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            said.seek(0)
            text = said.read()
            found += [line.decode("ascii", "replace") for line in _OF_JPEG.findall(text) if not _HARMLESS.search(line)]
            if rest := _OF_JPEG.sub(b"", text).strip(b"\r\n"):
                os.write(2, rest + b"\n")
