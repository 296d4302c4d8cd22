"""The few questions about classes that matter in a run, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from lat.core.files import write_atomically
from lat.labelling.answer_file import AnswerFile
from lat.labelling.questions import Question
from lat.report.question_pictures import question_picture
from lat.stages.transfer.run_questions import RunQuestions
from lat.workspace.workspace import Workspace

__all__ = ["AnswerFile", "Question", "RunQuestions", "write_pictures"]

FOLDER = "questions"
"""The folder in a run's `output_dir` with a picture for each question."""


def write_pictures(workspace: Workspace, questions: Sequence[Question]) -> dict[Question, Path]:
    """Write a picture for each question about a class with boxes into the run's folder; where each lies.

    Raises:
        InputError: if an image is missing or cannot be decoded.
    """
    found = {}
    for one in questions:
        dataset = workspace.data.train_part(one.source)
        picture = question_picture(dataset, dataset.space.class_names.index(one.source_class))
        if picture is not None:
            name = quote(f"{one.source}.{one.target}.{one.source_class}", safe=" ")
            found[one] = workspace.paths.root / FOLDER / f"{name}.jpg"
            write_atomically(found[one], picture)
    return found
