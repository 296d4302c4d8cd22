"""What a person says of classes: what it decides, what follows from it, and one clear line per mistake in its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from factories import label_space
from known_evidence import class_shares

from lat.core.errors import InputError
from lat.labelling.answer_file import AnswerFile
from lat.labelling.answers import Answers, read_answers
from lat.labelling.questions import Question

WAY, CITY = label_space("way", ("vehicle", "cyclist")), label_space("city", ("car", "rider", "bicycle"))
SPACES = {"way": WAY, "city": CITY}
USED, LEARNT = (
    class_shares(*rows, source=WAY, target=CITY)
    for rows in (
        ([0.6, 0.1, 0.2, 0.1], [0.0, 0.05, 0.75, 0.2]),
        ([0.5, 0.2, 0.2, 0.1], [0.2, 0.2, 0.4, 0.2]),
    )
)


def read(folder: Path, text: str) -> dict[tuple[str, str], Answers]:
    path = folder / "answers.yaml"
    path.write_text(text, encoding="utf-8")
    return read_answers(path, SPACES)


def test_an_answer_overrides_exactly_its_row_by_the_shares_before_confusions_were_damped(tmp_path: Path) -> None:
    answers = read(tmp_path, "way: {city: {cyclist: [rider, bicycle]}}")["way", "city"]
    shares = answers.overriding(USED.shares, LEARNT.shares)
    assert torch.equal(shares[0], USED.shares[0])
    torch.testing.assert_close(shares[1], torch.tensor([0.0, 0.2, 0.4, 0.2]) / 0.8)


def test_an_answer_rules_out_in_the_other_direction_what_it_leaves_out_and_nothing_else(tmp_path: Path) -> None:
    found = read(tmp_path, "way: {city: {cyclist: [rider, bicycle]}}")
    assert found["way", "city"].impossible.tolist() == [[False] * 3, [True, False, False]]
    assert found["city", "way"].impossible.tolist() == [[False, True], [False] * 2, [False] * 2]
    assert found["city", "way"].rows == {}
    opposite = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])
    shares = found["city", "way"].overriding(opposite, opposite)
    torch.testing.assert_close(shares[0], torch.tensor([0.5, 0.0, 0.2]) / 0.7)
    assert torch.equal(shares[1:], opposite[1:])


def test_on_an_answered_class_all_estimates_say_the_same(tmp_path: Path) -> None:
    answers = read(tmp_path, "way: {city: {cyclist: [rider, bicycle]}}")["way", "city"]
    first, second = answers.deciding([USED, replace(LEARNT, found_by="learnt")])
    assert torch.equal(first.shares[1], second.shares[1])
    assert torch.equal(first.shares[0], USED.shares[0])
    assert torch.equal(second.shares[0], LEARNT.shares[0])


def test_shares_that_are_known_are_taken_as_they_are_and_none_is_an_answer(tmp_path: Path) -> None:
    answers = read(tmp_path, "way: {city: {vehicle: {car: 0.75}, cyclist: []}}")["way", "city"]
    assert answers.overriding(USED.shares, LEARNT.shares).tolist() == [[0.75, 0.0, 0.0, 0.25], [0.0, 0.0, 0.0, 1.0]]
    assert answers.impossible.tolist() == [[False, True, True], [True] * 3]
    assert answers.to_dict() == {"said": {"vehicle": {"car": 0.75}, "cyclist": []}, "ruled_out": {}}


@pytest.mark.parametrize("text", ["", "way:\n  city:\n    # cyclist: [rider]\n", "way: {}"])
def test_a_file_in_which_nothing_is_answered_says_nothing(tmp_path: Path, text: str) -> None:
    assert not any(read(tmp_path, text).values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wax: {city: {}}", "there is no dataset 'wax'; did you mean 'way'?"),
        ("way: {way: {cyclist: [cyclist]}}", "asks what way is in way; name two datasets"),
        ("way: {city: {cyclists: [rider]}}", "there is no class of way 'cyclists'; did you mean 'cyclist'?"),
        ("way: {city: {cyclist: [ridr]}}", "way cyclist: there is no class of city 'ridr'; did you mean 'rider'?"),
        ("way: {city: {cyclist: }}", "way cyclist: there is no answer for city; write [CLASS, ...], [] if it is none of them"),
        ("way: {city: {cyclist: 3}}", "way cyclist: is 3; write {target class: share} or a list of target classes"),
        (
            "way: {city: {cyclist: [rider]}}\ncity: {way: {bicycle: [cyclist]}}",
            "city bicycle can be cyclist in way, but way cyclist cannot be bicycle; make the two answers agree",
        ),
        ("- way", "the file has no mapping from a source"),
        ("way: [", "is not valid YAML"),
    ],
)
def test_mistakes_are_named_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'answers.yaml'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file of answers; `lat ask CONFIG` writes one"):
        read_answers(tmp_path / "none.yaml", SPACES)


def question(source_class: str = "cyclist") -> Question:
    return Question("way", "city", source_class, 7, 1.0, (("bicycle", 0.1, 0.9), ("rider", 0.0, 0.2), ("car", 0.0, 0.0)), 2)


def test_answers_and_questions_stand_in_one_file_that_a_person_can_finish(tmp_path: Path) -> None:
    file = AnswerFile(tmp_path / "answers.yaml", SPACES)
    file.add(question(), ["rider", "bicycle"])
    file.ask([question("vehicle")], {question("vehicle"): Path("v.jpg")})
    text = file.path.read_text()
    assert "    cyclist: [rider, bicycle]\n    # 7 boxes of vehicle; v.jpg\n    # vehicle: [bicycle, rider]\n" in text
    file.path.write_text(text.replace("# vehicle: [bicycle, rider]", "vehicle: [car]"))
    again = AnswerFile(file.path, SPACES)
    assert again.said == {"way": {"city": {"cyclist": ["rider", "bicycle"], "vehicle": ["car"]}}}
    assert again.answers["way", "city"].rows.keys() == {0, 1}


def test_an_answer_that_contradicts_an_earlier_one_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = AnswerFile(tmp_path / "answers.yaml", SPACES)
    file.add(question(), ["rider"])
    before = file.path.read_bytes()
    opposite = Question("city", "way", "bicycle", 7, 1.0, (("cyclist", 0.1, 0.9), ("vehicle", 0.0, 0.2)), 2)
    with pytest.raises(InputError, match="make the two answers agree"):
        file.add(opposite, ["cyclist"])
    assert file.path.read_bytes() == before
    file.add(opposite, ["vehicle"])
    assert file.answers["city", "way"].rows.keys() == {2}


def test_names_of_any_kind_come_back_from_the_file(tmp_path: Path) -> None:
    odd = label_space("no", ("a: b", "#", "yes", "[x]", "1", "é\u2028"))
    file = AnswerFile(tmp_path / "answers.yaml", {"no": odd, "way": WAY})
    for name in odd.class_names:
        asked = Question("no", "way", name, 1, 1.0, (("vehicle", 0.1, 0.9), ("cyclist", 0.0, 0.2)), 2)
        file.ask([asked], {})
        file.add(asked, ["cyclist"])
    assert AnswerFile(file.path, file.spaces).answers["no", "way"].rows.keys() == set(range(len(odd)))
