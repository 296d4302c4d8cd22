"""The few questions that matter, asked on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lat.cli.command import STAGES, Command
from lat.cli.modes import next_step, with_modes
from lat.cli.options import ConfigFile, Overrides, open_run
from lat.core.errors import InputError, did_you_mean, printable
from lat.engine import announce

if TYPE_CHECKING:
    from lat.commands.ask import AnswerFile, Question, RunQuestions


@with_modes
def ask(
    config: ConfigFile,
    overrides: Overrides = None,
    questions: Annotated[int, typer.Option(min=1, help="How many at most.")] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The YAML file of answers; by default that of the setting `answers`, or answers.yaml beside CONFIG.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Ask the few questions about classes that matter most, and write the answers as YAML, which a run takes as `answers`.

    Each question has a picture. Without a terminal they are written into the file, to be answered there.
    """
    workspace = open_run(config, overrides)
    from lat.commands.ask import AnswerFile, RunQuestions

    path = out or Path(workspace.config.answers or (config if config.is_dir() else config.parent) / "answers.yaml")
    run = RunQuestions(workspace)
    answers = AnswerFile(path, run.spaces)
    if not run.pick(answers.answers, 1):
        announce.say("nothing is undecided: no answer would change much")
    elif announce.to_programs() or announce.is_quiet() or not sys.stdin.isatty():
        _write(run, answers, questions)
    else:
        _ask(run, answers, questions)
    is_set = workspace.config.answers and Path(workspace.config.answers) == path
    more = [f"answers={path}"] if path.is_file() and not is_set else []
    next_step("lat run", config, [*(overrides or ()), *more])


def _write(run: RunQuestions, answers: AnswerFile, most: int) -> None:
    """Write questions into the file of answers, and tell programs."""
    from lat.commands.ask import write_pictures

    found = run.pick(answers.answers, most)
    pictures = write_pictures(run.workspace, found)
    answers.ask(found, pictures)
    for one in found:
        announce.event("question", **one.to_dict(), picture=str(pictures[one]) if one in pictures else None)
    announce.say(f"{len(found)} question{'s' * (len(found) != 1)} to answer: {answers.path}")


def _ask(run: RunQuestions, answers: AnswerFile, most: int) -> None:
    """Ask on the terminal until so many are asked, nothing is left to ask, or input ends; each answer is written at once."""
    from lat.commands.ask import write_pictures

    skipped: list[tuple[str, str, str]] = []
    for number in range(1, most + 1):
        found = run.pick(answers.answers, 1, skipped)
        if not found:
            print("Nothing else is undecided.")
            return
        (question,) = found
        skipped.append((question.source, question.target, question.source_class))
        print(f"\n{number} of {most}: {_text(question)}")
        for picture in write_pictures(run.workspace, found).values():
            print(f"   pictures: {printable(picture)}")
        for place, (name, low, high) in enumerate(question.choices[: question.listed], 1):
            print(f"   {place} {printable(name)} ({100 * low:.0f} to {100 * high:.0f} %)")
        if others := len(question.choices) - question.listed:
            print(f"   or, by name, any of {others} more")
        if not _answer(question, answers):
            return


def _text(question: Question) -> str:
    one = f"What can a `{question.source_class}` of `{question.source}` be in `{question.target}`?"
    return printable(f"{one} ({question.boxes:,} boxes)")


def _answer(question: Question, answers: AnswerFile) -> bool:
    """Ask for the answer until it is sound, and write it; False if input ends."""
    while True:
        try:
            text = input("   all that it can be (1 2 or names with commas; 0 nothing; Enter skips; q ends): ").strip()
        except EOFError:
            print()
            return False
        if text in ("", "q"):
            return not text
        try:
            answers.add(question, parse_answer(text, question))
        except InputError as error:
            print(f"   {printable(error)}")
        else:
            return True


def parse_answer(text: str, question: Question) -> list[str]:
    """The classes that an answer names, by numbers or names; none for 0.

    Raises:
        InputError: if it names something else.
    """
    names = [name for name, _, _ in question.choices]
    listed = names[: question.listed]
    words = [text] if text in names else [word for word in (text.split(",") if "," in text else text.split()) if word.strip()]
    found: list[str] = []
    for word in map(str.strip, words):
        if word in names:
            found.append(word)
        elif word.isdecimal() and int(word) <= len(listed):
            found += [listed[int(word) - 1]] if int(word) else []
        else:
            raise InputError(
                word, f"is no class of {question.target} and no number from 0 to {len(listed)}", did_you_mean(word, names)
            )
    if found and "0" in map(str.strip, words) and "0" not in names:
        raise InputError("0", "means nothing at all, and there are classes beside it", "write one or the other")
    return list(dict.fromkeys(found))


COMMANDS = {
    "ask": Command(
        ask,
        STAGES,
        (
            "lat ask mine.yaml",
            "lat ask runs/mine --questions 3",
            "lat ask runs/mine --out answers.yaml",
            "lat ask mine.yaml --json-lines > questions.jsonl",
        ),
    ),
}
