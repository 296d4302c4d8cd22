"""`lat ask` on a run whose class shares are known: on a terminal, without one, and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import cv2
import pytest
import torch
from tiny import draw_tiny, tiny_workspace

from lat.cli import main
from lat.cli.ask import parse_answer
from lat.core.errors import InputError
from lat.labelling.class_shares import equal_shares
from lat.labelling.questions import Question
from lat.stages.transfer.class_shares_file import write_class_shares

CYCLIST = "What can a `cyclist` of `way` be in `city`?"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose run has class shares: they differ on what `cyclist` of way and `truck` of nu are in city."""
    config = draw_tiny(tmp_path)
    workspace = tiny_workspace(config, tmp_path / "run")
    pairs = []
    for source, target in permutations(workspace.names, 2):
        spaces = workspace.data.space(source), workspace.data.space(target)
        shares = torch.zeros(len(spaces[0]), len(spaces[1]) + 1)
        shares[:, 0] = 1.0
        other = shares.clone()
        if (source, target) == ("way", "city"):
            of_city = spaces[1].class_names.index
            shares[2], other[2] = torch.zeros(2, 8)
            shares[2, of_city("bicycle")], shares[2, of_city("motorcycle")] = 0.9, 0.1
            other[2, of_city("bicycle")], other[2, of_city("motorcycle")] = 0.4, 0.6
        if (source, target) == ("nu", "city"):
            truck = spaces[0].class_names.index("truck")
            shares[truck, :2] = torch.tensor([0.9, 0.1])
            other[truck, :2] = torch.tensor([0.6, 0.4])
        ways = zip(("consistent", "counted", "learnt", "scored"), (shares, other, other, other), strict=True)
        pairs.append([replace(equal_shares(*spaces), shares=each, found_by=name) for name, each in ways])
    write_class_shares(workspace, pairs)
    return config


def ask(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["ask", *map(str, arguments)])
    return int(caught.value.code or 0)


def on_terminal(monkeypatch: pytest.MonkeyPatch, *typed: str) -> list[str]:
    """A terminal on which this is typed, and then input ends; what was shown before each."""
    shown: list[str] = []
    lines: Iterator[str] = iter(typed)

    def answer(prompt: str) -> str:
        shown.append(prompt)
        for line in lines:
            return line
        raise EOFError

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", answer)
    return shown


def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)


def test_on_a_terminal_numbers_and_names_are_answers_and_the_last_line_is_what_to_run(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_terminal(monkeypatch, "nonsense", "1, rider", "")
    assert ask(config) == 0
    said = capsys.readouterr().out
    answers = config.parent / "answers.yaml"
    assert f"1 of 5: {CYCLIST}" in said
    assert "   1 bicycle (40 to 90 %)\n   2 motorcycle (10 to 60 %)\n" in said
    assert "nonsense: is no class of city and no number from 0 to 3" in said
    assert "Nothing else is undecided." in said
    assert said.splitlines()[-1] == f"next: lat run {config} answers={answers}"
    assert answers.read_text().endswith("way:\n  city:\n    cyclist: [bicycle, rider]\n")  # the second question was skipped
    picture = cv2.imread(str(config.parent / "run" / "questions" / "way.city.cyclist.jpg"))
    assert picture.shape[0] == 220
    assert not (config.parent / "run" / "transferred").exists()


def test_the_end_of_input_keeps_what_was_answered_and_another_call_asks_what_is_left(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(on_terminal(monkeypatch, "1")) == 0
    assert ask(config) == 0
    assert "cyclist: [bicycle]" in (config.parent / "answers.yaml").read_text()
    capsys.readouterr()
    shown = on_terminal(monkeypatch, "0", "1")
    assert ask(config, f"answers={config.parent / 'answers.yaml'}") == 0
    said = capsys.readouterr().out
    assert CYCLIST not in said
    assert len(shown) == 1
    assert "truck: []" in (config.parent / "answers.yaml").read_text()
    assert said.splitlines()[-1] == f"next: lat run {config} answers={config.parent / 'answers.yaml'}"
    assert ask(config) == 0
    assert capsys.readouterr().out.startswith("nothing is undecided: no answer would change much\n")


def test_without_a_terminal_questions_are_written_to_be_answered_by_hand(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_terminal(monkeypatch)
    out = tmp_path / "mine.yaml"
    assert ask(config, "--out", out, "--questions", 1) == 0
    assert capsys.readouterr().out == f"1 question to answer: {out}\nnext: lat run {config} answers={out}\n"
    text = out.read_text()
    assert "    # cyclist: [bicycle, motorcycle]\n" in text
    assert "# truck" not in text
    out.write_text(text.replace("# cyclist: [bicycle, motorcycle]", "cyclist: [bicycle]"))
    assert ask(config, "--out", out) == 0
    assert "    cyclist: [bicycle]\n" in out.read_text()
    assert "    # truck: [car, truck]\n" in out.read_text()


def test_for_programs_every_question_is_an_event(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_terminal(monkeypatch)
    assert ask(config, "--json-lines") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    first = next(row for row in rows if row["event"] == "question")
    assert (first["source"], first["target"], first["class"]) == ("way", "city", "cyclist")
    assert [one["class"] for one in first["choices"]][:2] == ["bicycle", "motorcycle"]
    assert Path(first["picture"]).is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["transfer.prior.method=cooccurrence"], "is cooccurrence, for which no class shares are estimated; choose consistent"),
        (["output_dir=elsewhere"], "class_shares.json: does not exist yet; run `lat transfer` first"),
        (["--questions", "0"], "greater than or equal to 1; see `lat ask --help`"),
    ],
)
def test_what_it_cannot_ask_is_one_line(
    config: Path, settings: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(config, *settings) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


QUESTION = Question("a", "b", "x", 1, 1.0, tuple((name, 0.0, 0.5) for name in ("red", "big red", "3", "c")), 4)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("1", ["red"]),
        ("1 2", ["red", "big red"]),
        ("2,1, 2", ["big red", "red"]),
        ("big red", ["big red"]),
        ("big red, c", ["big red", "c"]),
        ("3", ["3"]),  # a name comes before a number
        ("0", []),
    ],
)
def test_an_answer_is_numbers_or_names(text: str, classes: list[str]) -> None:
    assert parse_answer(text, QUESTION) == classes


@pytest.mark.parametrize("text", ["5", "rad", "0 1", "big", "-1", "²"])
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_answer(text, QUESTION)
