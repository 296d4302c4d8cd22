"""Tell how the protocols of a run's datasets differ: how their boxes lie, and what their classes have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.engine.progress import track
from lat.stages.transfer.convention_figures import convention_figures
from lat.workspace.workspace import Workspace

FIGURES, PAGE = "conventions.json", "index.html"
_USUALLY_AT_ONCE = 2.0  # seconds


def find_conventions(workspace: Workspace, source: str | None = None, target: str | None = None) -> list[dict[str, Any]]:
    """The figures of each source and target that the run transfers between, or only of some; see `convention_figures`.

    Raises:
        InputError: if there is no such dataset, nothing is transferred between the two, or pseudo-labels are missing.
    """
    for name in (source, target):
        if name is not None:
            workspace.data.index(name)
    chosen = [pair for pair in workspace.transfers() if source in (None, pair[0]) and target in (None, pair[1])]
    if not chosen:
        named = [*(["--source"] if source else []), *(["--target"] if target else [])]
        raise InputError(" and ".join(named), "name no transfer of this run", "check `target`, or choose other datasets")
    found = []
    with track(len(chosen), "comparing conventions", after_seconds=_USUALLY_AT_ONCE) as progress:
        for pair in chosen:
            found.append(convention_figures(workspace, *pair))
            progress.advance()
    return found


def write_conventions(workspace: Workspace, found: Sequence[dict[str, Any]], out: Path) -> None:
    """Write the figures as `conventions.json`, and the page `index.html`; `out` is the folder.

    Raises:
        InputError: if an image that the page shows is missing or cannot be decoded.
    """
    from lat.report.convention_page import render_conventions

    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / FIGURES, json.dumps({"pairs": list(found)}, indent=2, allow_nan=False) + "\n")
    page = render_conventions(found, {name: workspace.data.train_part(name) for name in workspace.names})
    write_atomically(out / PAGE, page)
