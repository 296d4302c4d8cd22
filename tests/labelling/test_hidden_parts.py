"""Hidden parts of objects, as a person says of them: where protocols do the same, and one clear line per mistake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from factories import label_space

from lat.core.errors import InputError
from lat.labelling.answer_file import AnswerFile
from lat.labelling.answers import Answers, read_answers
from lat.labelling.conventions import BoxConventions
from lat.labelling.questions import Question

WAY, CITY = label_space("way", ("vehicle", "cyclist")), label_space("city", ("car", "rider", "bicycle"))
SPACES = {"way": WAY, "city": CITY}
SAID = "hidden parts: {way: {vehicle: left out, cyclist: included}, city: {car: left out, rider: included}}\n"


def read(folder: Path, text: str) -> dict[tuple[str, str], Answers]:
    (folder / "answers.yaml").write_text(text, encoding="utf-8")
    return read_answers(folder / "answers.yaml", SPACES)


def test_both_do_the_same_where_the_same_was_said_of_both(tmp_path: Path) -> None:
    found = read(tmp_path, SAID)
    alike = torch.tensor([[True, False, False], [False, True, False]])
    assert torch.equal(found["way", "city"].drawn_alike, alike)
    assert torch.equal(found["city", "way"].drawn_alike, alike.T)
    assert found["way", "city"].to_dict() == {
        "said": {},
        "ruled_out": {},
        "drawn_alike": {"vehicle": ["car"], "cyclist": ["rider"]},
    }


@pytest.mark.parametrize("text", ["hidden parts:", "hidden parts: {way: }", "hidden parts: {way: {vehicle: included}, city: {}}"])
def test_what_is_said_of_one_of_two_protocols_says_nothing(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert not any(found.values())
    assert "drawn_alike" not in found["way", "city"].to_dict()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hidden parts: {wey: {vehicle: included}}", "hidden parts: there is no dataset 'wey'; did you mean 'way'?"),
        ("hidden parts: {way: {vehicel: included}}", "hidden parts: there is no class of way 'vehicel'; did you mean 'vehicle'?"),
        ("hidden parts: {way: {vehicle: yes}}", "hidden parts: way vehicle is True; write left out or included"),
        ("hidden parts: {way: {vehicle: }}", "hidden parts: way vehicle is None; write left out or included"),
        ("hidden parts: [way]", "hidden parts: has ['way'] in place of a mapping; write {dataset: {class: left out}}"),
    ],
)
def test_mistakes_are_named_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert str(error.value).endswith(message)


def test_what_was_said_stays_in_the_file_that_questions_are_added_to(tmp_path: Path) -> None:
    (tmp_path / "answers.yaml").write_text(SAID, encoding="utf-8")
    file = AnswerFile(tmp_path / "answers.yaml", SPACES)
    question = Question("way", "city", "cyclist", 3, 1.0, (("rider", 0.5, 0.9), ("bicycle", 0.1, 0.5)), 2)
    file.ask([question], {})
    assert read_answers(file.path, SPACES)["way", "city"].drawn_alike.any()
    file.add(question, ["rider"])
    found = read_answers(file.path, SPACES)["way", "city"].to_dict()
    assert found["said"] == {"cyclist": ["rider"]}
    assert found["drawn_alike"] == {"vehicle": ["car"], "cyclist": ["rider"]}


def test_only_these_classes_lose_their_exceptions() -> None:
    known = replace(BoxConventions.unknown(2, 3), exceptions=torch.full((2, 3, 4), 0.25))
    found = known.without_exceptions(torch.tensor([[True, False, False], [False, False, False]]))
    assert not found.exceptions[0, 0].any()
    assert found.exceptions.sum() == 5 * 4 * 0.25
    assert found.offsets is known.offsets
