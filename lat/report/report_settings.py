"""Section `report` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from lat.core.errors import InputError


@dataclass(frozen=True)
class ReportSettings:
    """What the report shows."""

    images_per_pair: int = 10000  # most images shown for each source and target: the most doubtful ones, and a spread of the rest
    longest_side: int = 320  # pixels of the pictures beside the page; the images themselves are linked and shown where reachable

    def __post_init__(self) -> None:
        for name, least in (("images_per_pair", 0), ("longest_side", 16)):
            if getattr(self, name) < least:
                raise InputError(name, f"is {getattr(self, name)}", f"choose {least} or more")
