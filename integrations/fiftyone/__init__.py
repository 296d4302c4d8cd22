"""Operators of FiftyOne that show, compare and bring back labels of `lat`; press ` in the App and type "labels".

`lat` must be installed in the Python of FiftyOne. See docs/trackers_and_hubs.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types
from lat.core.errors import InputError

from .work import compare_labels, send_back, show_labels


class _Operator(foo.Operator):
    """One that asks for `ASKED`, does `work`, and shows what it returns, or the one line of an error."""

    NAME, LABEL = "", ""
    ASKED: tuple[tuple[str, str, bool], ...] = ()  # name, what it is, whether it must be given
    SWITCHES: tuple[tuple[str, str], ...] = ()

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(name=self.NAME, label=self.LABEL)

    def resolve_input(self, ctx: Any) -> Any:
        inputs = types.Object()
        for name, label, is_required in self.ASKED:
            inputs.str(name, label=label, required=is_required)
        for name, label in self.SWITCHES:
            inputs.bool(name, label=label, default=False)
        return types.Property(inputs, view=types.View(label=self.LABEL))

    def execute(self, ctx: Any) -> dict[str, Any]:
        try:
            found = self.work(ctx.dataset, ctx.params)
        except InputError as error:
            return {"message": f"error: {error}"}
        ctx.ops.reload_dataset()
        return {"message": ", ".join(f"{key} {value}" for key, value in found.items()), **found}

    def work(self, dataset: Any, params: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def resolve_output(self, ctx: Any) -> Any:
        outputs = types.Object()
        outputs.str("message", label=self.LABEL)
        return types.Property(outputs)


_LABELS = ("labels", "Labels file, such as runs/mine/transferred/theirs.ours.json", True)
_FIELD = ("field", "Field; by default transferred, pseudo or ground_truth", False)


class ShowLabels(_Operator):
    """Show a labels file as a field."""

    NAME, LABEL = "show_labels", "Labels: show a labels file"
    ASKED = (_LABELS, _FIELD)

    def work(self, dataset: Any, params: dict[str, Any]) -> dict[str, Any]:
        return show_labels(dataset, _path(params["labels"]), fo.Detections.from_dict, params.get("field") or "")


class CompareLabels(_Operator):
    """Compare two labels files, as `lat compare` does."""

    NAME, LABEL = "compare_labels", "Labels: compare two labels files"
    ASKED = (
        ("first", "Labels file A", True),
        ("second", "Labels file B", True),
        ("out", "Folder for figures and page", True),
        ("images", "Folder of the images, for the page", False),
    )

    def work(self, dataset: Any, params: dict[str, Any]) -> dict[str, Any]:
        images = _path(params["images"]) if params.get("images") else None
        return compare_labels(dataset, (_path(params["first"]), _path(params["second"])), _path(params["out"]), images)


class SendBack(_Operator):
    """Write what was corrected beside the labels, as `lat import fiftyone` does."""

    NAME, LABEL = "send_back", "Labels: bring corrections back"
    ASKED = (_LABELS, _FIELD)
    SWITCHES = (("allow_deletions", "Boxes that are gone were deleted by a person, however many"),)

    def work(self, dataset: Any, params: dict[str, Any]) -> dict[str, Any]:
        is_allowed = bool(params.get("allow_deletions"))
        return send_back(dataset, _path(params["labels"]), params.get("field") or "", allow_deletions=is_allowed)


def _path(text: str) -> Path:
    return Path(text).expanduser()


def register(plugin: Any) -> None:
    """Called by FiftyOne."""
    for operator in (ShowLabels, CompareLabels, SendBack):
        plugin.register(operator)
