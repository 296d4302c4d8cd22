"""Names of datasets and label sets become names of files, parts of pages and keys: letters, digits, '_' and '-' alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trust.one_line import refused

WRONG = [
    "<b>x</b>",
    "<script>alert(1)</script>",
    "\u202eytic",
    "a\u2067b",
    "a b",
    "../x",
    "a/b",
    ".x",
    "a.b",
    "\x1b[31m",
    "a\0b",
    "größe",
    "",
]


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("owner", ["datasets", "label_sets"])
def test_other_names_are_refused_in_a_line(owner: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datasets = [{"name": one, "images": "images", "annotations": "a.json"} for one in ("a", "b")]
    content = {"datasets": datasets, "label_sets": [{"name": name, "files": {"a": "b.json"}}]}
    if owner == "datasets":
        content = {"datasets": [datasets[0], {**datasets[1], "name": name}]}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(content))
    line = refused(capsys, "check", path)
    assert line.startswith(f"{path}: ")
    assert f"{owner}.name is " in line
    assert line.endswith("; use letters, digits, '_' and '-'")
