"""The HTML report: everything a run has produced, as one file that opens without a network."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lat.data.dataset import DetectionDataset
from lat.data.files import write_atomically
from lat.label_space import LabelSpace
from lat.report.crops import STRIP_HEIGHT, STRIP_WIDTH, class_strips
from lat.report.curves import loss_chart
from lat.report.differences import KEPT_IOU, MATCHED_IOU
from lat.report.gallery import GLYPHS, EmbeddedImages, Gallery, ReportSettings, view_gallery
from lat.report.relations import relation_view, strip_id
from lat.report.reliability import reliability_views
from lat.report.tables import agreement_table, transfer_table

__all__ = ["Gallery", "ReportContent", "ReportSettings", "write_report"]


@dataclass(frozen=True)
class ReportContent:
    """What the report is made of.

    Attributes:
        title: heading of the page.
        run: what was run (configuration, target, seed, versions) as names and values.
        spaces: the label spaces of all datasets.
        evaluation: the content of `evaluation.json`; a part that is missing or empty is left out of the page.
        upstream: for each dataset the `metrics.json` of its upstream detector (`ap`, `ap50` on its validation images).
        curves: for each model the rows of its `log.jsonl` (`step`, `total` and the losses by name).
        galleries: one for each source and target.
        relations: the content of each `relations/A.B.json`.
        examples: for label spaces of `relations` the dataset from which example crops of their classes are cut.
    """

    title: str
    run: Mapping[str, str]
    spaces: Sequence[LabelSpace]
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    upstream: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    galleries: Sequence[Gallery] = ()
    relations: Sequence[Mapping[str, Any]] = ()
    examples: Mapping[str, DetectionDataset] = field(default_factory=dict)


def write_report(path: Path, content: ReportContent, settings: ReportSettings) -> None:
    """Write the report. The same content gives the same bytes: the page holds no date and no machine's name."""
    write_atomically(path, render_report(content, settings))


def render_report(content: ReportContent, settings: ReportSettings) -> str:
    """The report as HTML. All text that comes from files (class names, file names, settings) is escaped."""
    images = EmbeddedImages(settings.longest_side)
    galleries = [view_gallery(f"pair-{number}", gallery, images, settings) for number, gallery in enumerate(content.galleries, 1)]
    charts = [loss_chart(model, rows) for model, rows in content.curves.items()]
    classes = {space.name: space.class_names for space in content.spaces}
    strips = _strips(content)
    style, script = _asset("style.css"), _asset("report.js")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            content=content,
            table=transfer_table(content.evaluation.get("transfer") or []),
            reliability=reliability_views(content.evaluation.get("transfer") or []),
            charts=[chart for chart in charts if chart],
            galleries=galleries,
            images=images,
            anchors=defaultdict(str, {(gallery.source, gallery.target): gallery.anchor for gallery in galleries}),
            agreement=[agreement_table(row, classes.get(row["target"], ())) for row in content.evaluation.get("agreement") or []],
            downstream=content.evaluation.get("downstream") or [],
            relations=[relation_view(one, strips) for one in content.relations],
            strips=list(strips.values()),
            glyphs=GLYPHS,
            ious={"matched": MATCHED_IOU, "kept": KEPT_IOU},
            style=Markup(style),
            script=Markup(script),
            style_hash=_content_hash(style),
            script_hash=_content_hash(script),
        )
    )


@dataclass(frozen=True)
class _Strip:
    """The example crops of one class: its id in the page, its pixels as a data URI and its size."""

    id: str
    uri: str
    width: int = STRIP_WIDTH
    height: int = STRIP_HEIGHT


def _strips(content: ReportContent) -> dict[tuple[str, str], _Strip]:
    """A strip of crops for each class of the label spaces that relations are of, by (label space, class)."""
    strips = {}
    for space in dict.fromkeys(one[side]["name"] for one in content.relations for side in ("first", "second")):
        if space in content.examples:
            dataset = content.examples[space]
            for name, uri in class_strips(dataset).items():
                strips[space, name] = _Strip(strip_id(space, name, dataset.space.class_names), uri)
    return strips


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lat", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = lambda value: "–" if value is None else f"{value:.1f}"
    environment.filters["signed"] = lambda value: "–" if value is None else f"{value:+.1f}".replace("-", "−")
    environment.filters["units"] = lambda value: f"{value:.1f}".removesuffix(".0")
    return environment


def _asset(name: str) -> str:
    return files("lat.report").joinpath(name).read_text(encoding="utf-8")


def _content_hash(text: str) -> str:
    """The hash by which the page's content security policy allows exactly this style or script and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
