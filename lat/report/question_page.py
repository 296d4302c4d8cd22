"""The page of questions about classes: a card for each, whose answers are downloaded as the file that a run takes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lat.data.dataset import DetectionDataset
from lat.report.page import content_hash, environment, joined_assets
from lat.report.question_pictures import question_picture

PAGE = "questions.html"
STYLES = ("style.css", "pictures.css", "questions.css", "print.css")
SCRIPTS = ("questions.js",)


@dataclass(frozen=True)
class AskedQuestions:
    """What the report asks.

    Attributes:
        questions: the questions, as `Question.to_dict` gives them, the most important first.
        said: what was said before, by source, target and source class; the downloaded file has it too.
        run: what tells this run from one of other datasets: a browser keeps answers under it and the page's place.
    """

    questions: Sequence[Mapping[str, Any]]
    said: Mapping[str, Any]
    run: str


def render_questions(
    asked: AskedQuestions, datasets: Mapping[str, DetectionDataset], pages: Mapping[str, str] | None = None
) -> str:
    """The page as HTML; all text that comes from files is escaped.

    Args:
        asked: the questions.
        datasets: training images by dataset, for the pictures.
        pages: URL of each page of the report that this one belongs to, by its title; None for no report.

    Raises:
        InputError: if an image is missing or cannot be decoded.
    """
    style, script = joined_assets(STYLES), joined_assets(SCRIPTS)
    return (
        environment()
        .get_template("questions.html.j2")
        .render(
            cards=[(one, one["listed"], _picture(one, datasets[one["source"]])) for one in asked.questions],
            said=json.dumps(asked.said, ensure_ascii=False),
            run=asked.run,
            pages=pages or {},
            style=Markup(style),
            script=Markup(script),
            style_hash=content_hash(style),
            script_hash=content_hash(script),
        )
    )


def _picture(question: Mapping[str, Any], dataset: DetectionDataset) -> str:
    """A data URI; "" for a class without a box."""
    picture = question_picture(dataset, dataset.space.class_names.index(question["class"]))
    return "" if picture is None else "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii")
