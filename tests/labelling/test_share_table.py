"""The share table that a person writes: what it says, and one clear line per mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from factories import label_space

from lat.core.errors import InputError
from lat.labelling.share_table import overridden_by_table, read_share_table, restricted

WAY, CITY = label_space("way", ("vehicle", "cyclist", "sign")), label_space("city", ("car", "truck", "rider"))
SPACES = {"way": WAY, "city": CITY}
COUNTED = torch.tensor([[0.6, 0.2, 0.1, 0.1], [0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 0.25, 0.25]])


def read(folder: Path, text: str) -> dict[int, torch.Tensor]:
    path = folder / "table.yaml"
    path.write_text(text, encoding="utf-8")
    return read_share_table(path, SPACES).get(("way", "city"), {})


def test_shares_lists_and_what_is_not_named(tmp_path: Path) -> None:
    rows = read(
        tmp_path, "way: {city: {vehicle: {car: 0.75, truck: 0.15}, cyclist: [car, rider]}}\ncity: {way: {car: vehicle}}\n"
    )
    shares = overridden_by_table(COUNTED, rows)
    torch.testing.assert_close(shares[0], torch.tensor([0.75, 0.15, 0.0, 0.1]))  # what is left to 1 is none of them
    assert shares[1].tolist() == [0.0, 0.0, 0.5, 0.5]  # both are possible; car was never counted and stays so
    assert shares[2].tolist() == COUNTED[2].tolist()  # nothing is said of signs


@pytest.mark.parametrize("nothing", ["[]", "null", "{}"])
def test_a_class_that_is_none_of_the_target(tmp_path: Path, nothing: str) -> None:
    rows = read(tmp_path, f"way: {{city: {{sign: {nothing}}}}}")
    assert overridden_by_table(COUNTED, rows)[2].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("text", ["", "way: {}", "way: {city: }", "city: {way: {car: vehicle}}"])
def test_a_table_that_says_nothing_of_two_datasets(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == {}


def test_possible_classes_keep_their_proportions() -> None:
    possible = torch.tensor([True, False, True])
    torch.testing.assert_close(restricted(COUNTED[0], possible), torch.tensor([0.6, 0.0, 0.1, 0.1]) / 0.8)
    torch.testing.assert_close(restricted(COUNTED[1], ~possible), torch.tensor([0.0, 0.5, 0.0, 0.5]))  # never counted
    assert restricted(torch.tensor([0.0, 0.0, 0.0, 1.0]), possible).tolist() == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wax: {city: {}}", "there is no dataset 'wax'; did you mean 'way'?"),
        ("way: {cite: {}}", "there is no dataset 'cite'; did you mean 'city'?"),
        ("way: {city: {vehicel: car}}", "there is no class of way 'vehicel'; did you mean 'vehicle'?"),
        ("way: {city: {vehicle: [cars]}}", "way vehicle: there is no class of city 'cars'; did you mean 'car'?"),
        ("way: {city: {vehicle: {truk: 0.5}}}", "way vehicle: there is no class of city 'truk'; did you mean 'truck'?"),
        ("way: {city: {vehicle: {car: much}}}", "way vehicle: the share of car is 'much'; write a number between 0 and 1"),
        ("way: {city: {vehicle: {car: 1.5}}}", "way vehicle: the share of car is 1.5; write a number between 0 and 1"),
        (
            "way: {city: {vehicle: {car: 0.7, truck: 0.7}}}",
            "way vehicle: the shares are 1.4 together; write shares that add up to",
        ),
        ("way: {city: {vehicle: 3}}", "way vehicle: is 3; write {target class: share} or a list of target classes"),
        ("way: {city: [car]}", "way, city has no mapping from a class"),
        ("- way", "the file has no mapping from a source"),
        ("way: [", "is not valid YAML"),
    ],
)
def test_mistakes_are_named_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'table.yaml'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no such table of shares; correct transfer\.prior\.table"):
        read_share_table(tmp_path / "none.yaml", SPACES)
