"""Build the report: all results of a run, as a folder with one page that works offline."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from lat.core.label_space import LabelSpace
from lat.data.dataset import DetectionDataset
from lat.report.convention_page import PAGE as CONVENTIONS
from lat.report.convention_page import render_conventions
from lat.report.crops import STRIP_HEIGHT, STRIP_WIDTH, class_strips
from lat.report.curves import loss_chart
from lat.report.differences import KEPT_IOU, MATCHED_IOU
from lat.report.evaluation_views import agreement_view, transfer_view
from lat.report.first_sight import first_sight
from lat.report.gallery import DISAGREES, LOW_SCORE, Gallery, GalleryData, as_script, choose_images
from lat.report.page import content_hash, environment, joined_assets
from lat.report.pairs import PairView, pair_view
from lat.report.pictures import LONGEST_SIDE, relative_url, write_pictures
from lat.report.question_page import PAGE as QUESTIONS
from lat.report.question_page import AskedQuestions, render_questions
from lat.report.relation_views import relation_view, strip_id
from lat.report.reliability_views import reliability_views
from lat.report.report_settings import ReportSettings

__all__ = ["Gallery", "ReportContent", "ReportSettings", "write_report"]

SCRIPTS = ("data.js", "decisions.js", "filters.js", "draw.js", "gallery.js", "zoom.js", "viewer.js", "inspector.js", "main.js")
STYLES = ("style.css", "pictures.css", "sight.css", "print.css")


@dataclass(frozen=True)
class ReportContent:
    """The content of the report.

    Attributes:
        title: heading of the page.
        run: facts about the run (configuration, target, seed, versions) as names and values.
        spaces: the label spaces of all datasets.
        counts: for each dataset, its number of training images and of boxes in them.
        evaluation: the content of `evaluation.json`; missing or empty parts are left out of the page.
        upstream: for each dataset, the `metrics.json` of its upstream detector (`ap`, `ap50` on its validation images).
        curves: for each model, the rows of its `log.jsonl` (`step`, `total` and the losses by name).
        galleries: one for each source and target; they may be made one after another.
        labels_files: for each source and target, the path of its transferred labels, relative to the page.
        relations: the content of each `relations/A.B.json`.
        examples: for label spaces of `relations`, the dataset that example crops of their classes are cut from.
        asked: the questions about classes that are worth an answer; a page of its own too.
        conventions: how each source and target differ, as `lat conventions` tells it; a page of its own beside the page.
    """

    title: str
    run: Mapping[str, str]
    spaces: Sequence[LabelSpace]
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    upstream: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    galleries: Iterable[Gallery] = ()
    labels_files: Mapping[tuple[str, str], str] = field(default_factory=dict)
    relations: Sequence[Mapping[str, Any]] = ()
    examples: Mapping[str, DetectionDataset] = field(default_factory=dict)
    conventions: Sequence[Mapping[str, Any]] = ()
    asked: AskedQuestions | None = None


Progress = Callable[[int], None]


def write_report(
    folder: Path,
    content: ReportContent,
    settings: ReportSettings,
    pictures: Callable[[int], AbstractContextManager[Progress]] = lambda count: nullcontext(lambda done: None),
) -> None:
    """Write `index.html` with its data and pictures beside it; replaces `folder` as a whole, once everything is written.

    The same content gives the same bytes: the page has no date and no machine name. Galleries are gone through once, and of each
    only what the page shows is kept while the next one is read.

    Args:
        folder: the folder of the report.
        content: what it shows.
        settings: how many images.
        pictures: called with the number of pictures; what it gives is called with the number of those written.

    Raises:
        InputError: if an image is missing or cannot be decoded.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a killed run
    part.mkdir(parents=True)
    try:
        views: list[PairView] = []
        shown: dict[str, tuple[DetectionDataset, np.ndarray]] = {}  # the images of each source that any of its galleries shows
        for gallery in content.galleries:
            images = choose_images(gallery, settings.images_per_pair)
            views.append(_write_pair(part, len(views) + 1, gallery, images, folder, content))
            dataset, before = shown.get(gallery.source, (gallery.dataset, images))
            shown[gallery.source] = dataset, np.union1d(before, images)
            del gallery
        with pictures(sum(len(images) for _, images in shown.values())) as progress:
            for dataset, images in shown.values():
                write_pictures(part, dataset, images.tolist(), LONGEST_SIDE, progress)
        (part / "index.html").write_text(render_page(content, views), encoding="utf-8")
        if content.conventions:
            page = render_conventions(content.conventions, content.examples, _pages(content))
            (part / CONVENTIONS).write_text(page, encoding="utf-8")
        if content.asked is not None:
            page = render_questions(content.asked, content.examples, _pages(content))
            (part / QUESTIONS).write_text(page, encoding="utf-8")
        _replace_folder(folder, part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _write_pair(part: Path, number: int, gallery: Gallery, images: np.ndarray, folder: Path, content: ReportContent) -> PairView:
    """Write the data of one source and target; return the part that the page itself shows."""
    data, key = GalleryData(gallery, images), f"pair-{number}"
    (part / "data").mkdir(exist_ok=True)
    for page, boxes in enumerate(data.pages()):
        (part / "data" / f"{key}-{page}.js").write_text(as_script(f"{key}-{page}", boxes), encoding="ascii")
    labels_file = content.labels_files.get((gallery.source, gallery.target), "")
    index = data.index() | {
        "key": key,
        "labels": {"file": labels_file, "sha256": gallery.labels_sha256},
        "folder": relative_url(gallery.dataset.images_dir, folder),
    }
    (part / "data" / f"{key}.js").write_text(as_script(key, index), encoding="ascii")
    rows = content.evaluation.get("agreement") or []
    changes = {(row["source"], row["target"]): row.get("class_changes") or {} for row in rows}
    sight = first_sight(key, gallery, images, data.differences, part)
    return pair_view(key, gallery, len(images), changes.get((gallery.source, gallery.target), {}), sight)


def _replace_folder(folder: Path, part: Path) -> None:
    """Move `part` to `folder`, replacing it if it exists."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)


def render_page(content: ReportContent, pairs: Sequence[PairView] = ()) -> str:
    """The page as HTML; `pairs` are those with data files beside it.

    All text that comes from files (class names, file names, settings) is escaped.
    """
    charts = [loss_chart(model, rows) for model, rows in content.curves.items()]
    classes = {space.name: space.class_names for space in content.spaces}
    strips = _strips(content)
    style, script = joined_assets(STYLES), joined_assets(SCRIPTS)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            content=content,
            table=transfer_view(content.evaluation.get("transfer") or []),
            reliability=reliability_views(content.evaluation.get("transfer") or []),
            charts=[chart for chart in charts if chart],
            pairs=pairs,
            anchors=defaultdict(str, {(pair.source, pair.target): pair.key for pair in pairs}),
            agreement=[agreement_view(row, classes.get(row["target"], ())) for row in content.evaluation.get("agreement") or []],
            downstream=content.evaluation.get("downstream") or [],
            pages=_pages(content),
            sights=[pair.sight for pair in pairs if pair.sight is not None],
            relations=[relation_view(one, strips) for one in content.relations],
            strips=list(strips.values()),
            thresholds={"matched": MATCHED_IOU, "kept": KEPT_IOU, "low": LOW_SCORE, "disputed": DISAGREES},
            style=Markup(style),
            script=Markup(script),
            style_hash=content_hash(style),
            script_hash=content_hash(script),
        )
    )


def _pages(content: ReportContent) -> dict[str, str]:
    """URL of each page of the report by its title, in the order of their links."""
    more = {"Conventions": CONVENTIONS} if content.conventions else {}
    more |= {"Questions": QUESTIONS} if content.asked is not None else {}
    return {"Report": "index.html", **more}


@dataclass(frozen=True)
class _Strip:
    """The example crops of one class: its id in the page, its pixels as a data URI and its size."""

    id: str
    uri: str
    width: int = STRIP_WIDTH
    height: int = STRIP_HEIGHT


def _strips(content: ReportContent) -> dict[tuple[str, str], _Strip]:
    """A strip of crops for each class of the label spaces in the relations, by (label space, class)."""
    strips = {}
    for space in dict.fromkeys(one[side]["name"] for one in content.relations for side in ("first", "second")):
        if space in content.examples:
            dataset = content.examples[space]
            for name, uri in class_strips(dataset).items():
                strips[space, name] = _Strip(strip_id(space, name, dataset.space.class_names), uri)
    return strips
