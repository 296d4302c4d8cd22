"""A setting of another shape than it has is one line that names it and says how to write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lat.config.load import load_config
from lat.core.errors import InputError

DATASETS = "datasets:\n  - {name: a, images: i, annotations: x.json}\n  - {name: b, images: i, annotations: y.json}\n"
ENTRY = r"write each entry as `- name: NAME`, with a dash in front$"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("datasets: {a: {images: i}}", rf"'datasets' is a mapping, not a list; {ENTRY}"),
        ("datasets: 5", rf"'datasets' is '5', not a list; {ENTRY}"),
        ("datasets:", rf"'datasets' is empty, not a list; {ENTRY}"),
        ("datasets: [a, b]", r"'datasets\[0\]' is 'a', not a section; write its settings below `datasets:`$"),
        ("datasets: [{name: [a]}]", r"'datasets\[0\]\.name' is a list, not a single value; write name: VALUE$"),
        (
            "datasets: [{name: a, truth: [1]}]",
            r"'datasets\[0\]\.truth' is a list, not a mapping; write `NAME: VALUE` below `truth:`$",
        ),
        (f"{DATASETS}lat: 5", r"'lat' is '5', not a section; write its settings below `lat:`$"),
        (f"{DATASETS}lat:", r"'lat' is empty, not a section; write its settings below `lat:`$"),
        (f"{DATASETS}lat: {{training: [1]}}", r"'lat\.training' is a list, not a section; write its settings below `training:`$"),
        (
            f"{DATASETS}upstream: {{members: {{a: 1}}}}",
            r"'upstream\.members' is a mapping, not a list; write each entry as `- \.\.\.`",
        ),
        (f"{DATASETS}seed: {{a: 1}}", r"'seed' is a mapping, not a single value; write seed: VALUE$"),
        (f"{DATASETS}label_sets: {{a: b}}", rf"'label_sets' is a mapping, not a list; {ENTRY}"),
    ],
)
def test_a_wrong_shape_is_named_with_the_remedy(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"c\.yaml: {said}"):
        load_config(tmp_path / "c.yaml")


def test_options_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(DATASETS, encoding="utf-8")
    with pytest.raises(InputError, match=r"'lat' is '5', not a section; write its settings below `lat:`$"):
        load_config(tmp_path / "c.yaml", ["lat=5"])


def test_what_is_filled_in_later_and_what_may_be_empty_is_left(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"{DATASETS}seed: ${{oc.decode:'7'}}\nupstream: {{members: []}}\n", encoding="utf-8")
    assert load_config(tmp_path / "c.yaml").seed == 7
