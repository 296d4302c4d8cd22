"""Which questions are asked: what is in question, what is settled, and what is worth nothing."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from pathlib import Path

import pytest
import torch
from factories import label_space
from known_evidence import class_shares

from lat.labelling.answers import Answers, read_answers
from lat.labelling.class_shares import ClassShares
from lat.labelling.questions import Question, pick_questions

A, B = label_space("a", ("bus", "truck", "man")), label_space("b", ("bus", "truck", "man"))
BOXES = {"a": torch.tensor([100, 50, 10]), "b": torch.tensor([100, 50, 10])}
SURE = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
PAIRS = [("a", "b"), ("b", "a")]


def estimates(forward: list[list[list[float]]], backward: list[list[list[float]]]) -> dict[tuple[str, str], list[ClassShares]]:
    """Two ways to estimate in both directions; the second is `learnt`."""
    directions = {("a", "b"): (A, B, forward), ("b", "a"): (B, A, backward)}
    return {
        pair: [
            replace(class_shares(*rows, source=s, target=t), found_by=name)
            for rows, name in zip(ways, ("consistent", "learnt"), strict=True)
        ]
        for pair, (s, t, ways) in directions.items()
    }


DOUBTFUL = [[[0.9, 0.1, 0.0, 0.0], *SURE[1:]], [[0.5, 0.5, 0.0, 0.0], *SURE[1:]]]
"""Whether `bus` is sometimes `truck`, by 10 % or by 50 %; all else is sure."""


def asked(questions: list[Question]) -> list[tuple[str, str, str]]:
    return [(one.source, one.target, one.source_class) for one in questions]


def pick(of: dict[tuple[str, str], list[ClassShares]], answers: dict[tuple[str, str], Answers] | None = None) -> list[Question]:
    return pick_questions(of, BOXES, answers or {}, 10, PAIRS)


def test_what_is_in_question_is_counted_in_classes() -> None:
    (question,) = pick(estimates(DOUBTFUL, [SURE, SURE]))
    assert asked([question]) == [("a", "b", "bus")]
    as_truck = 100 * sqrt(0.1 * 0.5) * (1 - 0.1 / 0.5) ** 2 / (0.1 * 100 + 50)
    as_bus = 100 * sqrt(0.5 * 0.9) * (1 - 0.5 / 0.9) ** 2 / (0.9 * 100)
    assert question.gain == pytest.approx(as_truck + as_bus)
    assert question.boxes == 100
    assert [name for name, _, _ in question.choices] == ["bus", "truck", "man"]
    assert question.choices[1][1:] == pytest.approx((0.1, 0.5))
    assert question.likely == 2


def test_a_question_about_a_decided_class_is_never_asked() -> None:
    nearly = [[[0.9, 0.1, 0.0, 0.0], *SURE[1:]], [[0.75, 0.25, 0.0, 0.0], *SURE[1:]]]  # they differ on 15 % of it
    assert pick(estimates(nearly, nearly)) == []


def test_no_class_of_which_nothing_is_wanted_is_asked() -> None:
    of = estimates([SURE, SURE], DOUBTFUL)
    assert asked(pick_questions(of, BOXES, {}, 10, PAIRS)) == [("b", "a", "bus")]
    assert pick_questions(of, BOXES, {}, 10, [("a", "b")]) == []


def test_a_question_that_settles_classes_of_the_other_direction_is_asked_first() -> None:
    """What `bus` and `truck` of b are in a is in doubt: the answer of what `truck` of a can be in b is about both."""
    either = [
        [[0.9, 0.1, 0.0, 0.0], [0.1, 0.9, 0.0, 0.0], SURE[2]],
        [[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], SURE[2]],
    ]
    questions = pick(estimates(DOUBTFUL, either))
    assert questions == sorted(questions, key=lambda one: -one.gain)
    assert len(set(asked(questions))) == len(questions)
    alone = {q: one.gain for q, one in zip(asked(questions), questions, strict=True)}
    assert asked(questions)[0] == ("a", "b", "bus")
    assert alone["a", "b", "bus"] > pick(estimates(DOUBTFUL, [SURE, SURE]))[0].gain


@pytest.mark.parametrize("answer", ["[bus]", "[bus, truck]", "[]"])
def test_answered_questions_vanish_whatever_the_answer(tmp_path: Path, answer: str) -> None:
    (tmp_path / "answers.yaml").write_text(f"a: {{b: {{bus: {answer}}}}}")
    answers = read_answers(tmp_path / "answers.yaml", {"a": A, "b": B})
    assert pick(estimates(DOUBTFUL, [SURE, SURE]), answers) == []


def test_an_answer_that_leaves_classes_of_the_other_direction_open_is_not_asked_for_again(tmp_path: Path) -> None:
    all_may_be_bus = [[[1.0, 0.0, 0.0, 0.0], [x, 1 - x, 0.0, 0.0], [x, 0.0, 1 - x, 0.0]] for x in (0.1, 0.5)]
    of = estimates([SURE, SURE], all_may_be_bus)
    boxes = {"a": BOXES["a"], "b": torch.tensor([1, 100, 100])}
    assert asked(pick_questions(of, boxes, {}, 1, PAIRS)) == [("a", "b", "bus")]  # one question in place of two
    (tmp_path / "answers.yaml").write_text("a: {b: {bus: [bus, truck, man]}}")
    answers = read_answers(tmp_path / "answers.yaml", {"a": A, "b": B})
    assert sorted(asked(pick_questions(of, boxes, answers, 9, PAIRS))) == [("b", "a", "man"), ("b", "a", "truck")]


def test_what_follows_from_an_answer_is_not_asked_in_the_other_direction(tmp_path: Path) -> None:
    of = estimates([SURE, SURE], DOUBTFUL)
    assert asked(pick(of)) == [("b", "a", "bus")]
    (tmp_path / "answers.yaml").write_text("a: {b: {truck: [truck]}}")  # so no `bus` of b is a `truck` of a
    assert pick(of, read_answers(tmp_path / "answers.yaml", {"a": A, "b": B})) == []


def test_skipped_questions_are_not_asked_again_and_no_more_than_wanted() -> None:
    of = estimates(DOUBTFUL, DOUBTFUL)
    first, *_ = pick(of)
    assert asked(pick_questions(of, BOXES, {}, 1, PAIRS)) == asked([first])
    again = asked(pick_questions(of, BOXES, {}, 10, PAIRS, asked([first])))
    assert again
    assert asked([first])[0] not in again


CROSSING = [[0.5, 0.5, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
"""Of `bus`, half is `bus` and half is `truck` in the other dataset, as all estimates say."""


def test_a_split_that_crosses_other_classes_is_asked_though_all_estimates_agree(tmp_path: Path) -> None:
    mostly_others = [[0.4, 0.0, 0.6, 0.0], [0.2, 0.8, 0.0, 0.0], SURE[2]]  # `bus` of b is mostly `man` of a, `truck` is `truck`
    of = estimates([CROSSING] * 2, [mostly_others] * 2)
    (question,) = pick(of)
    assert asked([question]) == [("a", "b", "bus")]
    assert question.gain == pytest.approx(100 / (0.5 * 100) + 100 / (0.5 * 100 + 50))  # 4 * 0.5 * 0.5: nothing is known of it
    assert question.choices[:2] == (("bus", 0.5, 0.5), ("truck", 0.5, 0.5))
    for answer in ("bus: [bus]", "bus: [bus, truck]", "bus: []"):
        (tmp_path / "answers.yaml").write_text(f"a: {{b: {{{answer}}}}}")
        assert pick(of, read_answers(tmp_path / "answers.yaml", {"a": A, "b": B})) == []
    (tmp_path / "answers.yaml").write_text("b: {a: {truck: [truck]}}")  # so no `bus` of a is a `truck` of b
    assert pick(of, read_answers(tmp_path / "answers.yaml", {"a": A, "b": B})) == []


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_class_that_takes_in_others_is_no_odd_split(share: float) -> None:
    its_own = [[share, 0.0, 1 - share, 0.0], [0.9, 0.1, 0.0, 0.0], SURE[2]]
    assert pick(estimates([CROSSING] * 2, [its_own] * 2)) == []


def test_a_small_part_is_no_odd_split() -> None:
    nearly_whole = [[0.85, 0.15, 0.0, 0.0], *SURE[1:]]
    mostly_others = [[0.4, 0.0, 0.6, 0.0], [0.2, 0.8, 0.0, 0.0], SURE[2]]
    assert pick(estimates([nearly_whole] * 2, [mostly_others] * 2)) == []


def test_of_an_undecided_class_what_estimates_differ_by_counts_as_before() -> None:
    mostly_others = [[0.4, 0.0, 0.6, 0.0], [0.2, 0.8, 0.0, 0.0], SURE[2]]
    other = [[1.0, 0.0, 0.0, 0.0], *SURE[1:]]
    first, *_ = pick(estimates([CROSSING, other], [mostly_others] * 2))
    assert asked([first]) == [("a", "b", "bus")]
    as_bus, as_truck = 100 * sqrt(0.5) * 0.25 / 50, 100 * sqrt(1e-5 * 0.5) / 100
    assert first.gain == pytest.approx(as_bus + as_truck)
