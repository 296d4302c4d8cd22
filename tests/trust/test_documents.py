"""YAML and JSON that users bring: whatever is wrong with a file is one line that names it, soon and in little memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import coco_dict, label_space, write_coco
from trust.one_line import bounded, refused

from lat.baselines.class_map import read_class_map
from lat.config.load import load_config
from lat.core.documents import Depth, check_yaml, parse_json
from lat.core.errors import InputError
from lat.labelling.answers import read_answers
from lat.labelling.share_table import read_share_table
from lat.relations.reviewed_file import from_yaml

CITY, NU = label_space("city"), label_space("nu")
LAUGHS = "".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 10 if i else ['x'] * 10)}]\n" for i in range(9))
MANY = f"a: &a [{', '.join('x' * 100)}]\nb: [{', '.join(['*a'] * 1000)}]\n"
WRONG_YAML = {
    "aliases, 10^9": LAUGHS,
    "aliases, 10^5": MANY,
    "an anchor inside itself": "a: &a [*a]\n",
    "300 lists": f"a: {'[' * 300}{']' * 300}\n",
    "20,000 lists": f"a: {'[' * 20_000}{']' * 20_000}\n",
    "a number of 5,000 digits": f"a: {'1' * 5000}\n",
    "no date": "a: 2020-99-99\n",
    "not UTF-8": b"a: \xff\n",
    "a key that is a list": "[a, b]: c\n? {a: b}\n: c\n",
}
READERS = {
    "config": load_config,
    "relations": lambda path: from_yaml(path, [CITY, NU]),
    "prior": lambda path: read_share_table(path, {"city": CITY, "nu": NU}),
    "answers": lambda path: read_answers(path, {"city": CITY, "nu": NU}),
    "class map": lambda path: read_class_map(path, CITY, NU),
}


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("kind", WRONG_YAML)
@pytest.mark.parametrize("reader", READERS)
def test_yaml_that_is_wrong_or_grows_without_end(reader: str, kind: str, tmp_path: Path) -> None:
    path = written(tmp_path / "mine.yaml", WRONG_YAML[kind])
    with bounded(), pytest.raises(InputError, match=r"mine\.yaml: ") as caught:
        READERS[reader](path)  # type: ignore[operator]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", WRONG_YAML)
def test_the_same_in_data_yaml(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data" / "images").mkdir(parents=True)
    content = WRONG_YAML[kind]
    written(tmp_path / "data" / "data.yaml", content + (b"" if isinstance(content, bytes) else "\ntrain: images\n"))  # type: ignore[operator]
    line = refused(capsys, "import", "yolo", "--root", tmp_path / "data", "--out", tmp_path / "out")
    assert "data.yaml: " in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", ["[{a: 1}]", "[[a]]", "{a: car}", "[yes]", "[null]", "{0: {b: c}}"])
def test_class_names_in_data_yaml_are_texts(names: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data" / "images").mkdir(parents=True)
    written(tmp_path / "data" / "data.yaml", f"names: {names}\ntrain: images\n")
    assert "names" in refused(capsys, "import", "yolo", "--root", tmp_path / "data", "--out", tmp_path / "out")


@pytest.mark.parametrize("kind", ["fifo", "device"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_not_a_file_is_not_waited_for(reader: str, kind: str, tmp_path: Path) -> None:
    with bounded(), pytest.raises(InputError, match=r"is a (FIFO|device), not a file"):
        READERS[reader](special(tmp_path / "mine.yaml", kind))  # type: ignore[operator]


def special(path: Path, kind: str) -> Path:
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return path


def test_sound_yaml_with_aliases_is_read_as_ever(tmp_path: Path) -> None:
    path = written(tmp_path / "prior.yaml", "nu: {city: {car: &c {car: 0.5}, truck: *c}}\n")
    rows = read_share_table(path, {"city": CITY, "nu": NU})["nu", "city"]
    np.testing.assert_array_equal(rows[0].numpy(), [0.5, 0, 0.5])
    np.testing.assert_array_equal(rows[1].numpy(), [0.5, 0, 0.5])
    check_yaml("fine", f"a: &a [{', '.join('x' * 98)}]\nb: [{', '.join(['*a'] * 100)}]\n")  # 100 times 99 values


@pytest.mark.parametrize(
    "option",
    [
        "seed=[",
        "seed=*a",
        f"seed={'[' * 300}",
        f"seed={'1' * 5000}",
        f"seed={2**70}",
        "seed=2020-99-99",
        "target=&a [*a]",
        "seed=\x1b",
    ],
)
def test_an_option_that_is_no_value(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "mine.yaml", "datasets: [{name: a}, {name: b}]\n")
    assert refused(capsys, "check", tmp_path / "mine.yaml", option)


def test_seeds_have_64_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "mine.yaml", f"seed: {2**70}\n")
    assert "'seed' is 1.18e+21; write a number of at most 64 bits" in refused(capsys, "check", tmp_path / "mine.yaml")


@pytest.mark.parametrize("pieces", [1, 3, 64])
def test_depth_is_the_same_in_any_pieces(pieces: int) -> None:
    text = rb'[{"a\\\"[[":"]]\\"},["x\u005b"],{"b":{"c":[1,"{"]}}, [[' * 2
    deep = Depth()
    for start in range(0, len(text), pieces):
        deep.look_at(text[start : start + pieces])
    assert deep._depth == 2 * 3  # the outer list and the two at the end stay open


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 65 + b"1" + b"}" * 65, b"1" * 5000, b"\xff", b"[1", b""])
def test_json_that_is_wrong_is_one_line(data: bytes) -> None:
    with bounded(), pytest.raises(ValueError, match=r".+") as caught:
        parse_json(data)
    assert "\n" not in str(caught.value)
    assert parse_json(b"[" * 64 + b'"[[["' + b"]" * 64)


def task(x: Any, meta: Any = None) -> dict[str, Any]:
    value = {"rectanglelabels": ["car"], "x": x, "y": 1, "width": 1, "height": 1}
    result = [{"type": "rectanglelabels", "value": value, "meta": meta}]
    return {"data": {"file_name": "001.png"}, "annotations": [{"result": result}]}


def sample(detections: Any) -> dict[str, Any]:
    return {"samples": [{"file_name": "001.png", "gt": {"_cls": "Detections", "detections": detections}}]}


def box(*corners: float) -> dict[str, Any]:
    return {"label": "car", "bounding_box": corners}


BACK: dict[str, list[Any]] = {
    "label-studio": [
        {},
        [1],
        [{"data": 5}],
        [{"data": {}, "annotations": 5}],
        [{"data": {}, "annotations": [5]}],
        [{"data": {}, "annotations": [{"result": 5}]}],
        [{"data": {}, "annotations": [{"result": ["x"]}]}],
        [{"data": {}, "annotations": [{"result": [{"type": "rectanglelabels", "value": 5}]}]}],
        [task(10**400)],
        [task(1, meta=5)],
    ],
    "fiftyone": [
        [],
        {"samples": 5},
        {"samples": [5]},
        sample(5),
        sample([5]),
        sample([box(1, 2, 3)]),
        sample([box(1, 2, 3, 10**400)]),
        sample([box(0, 0, 1e308, 1e308)]),
    ],
}


@pytest.mark.parametrize(("tool", "content"), [(tool, content) for tool, cases in BACK.items() for content in cases])
def test_corrections_of_wrong_types_write_nothing(
    tool: str, content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = write_coco(tmp_path / "data", coco_dict())
    back = written(tmp_path / "samples.json", json.dumps(content))
    field = ["--field", "gt"] if tool == "fiftyone" else []
    out = tmp_path / "out.json"
    line = refused(capsys, "import", tool, "--root", back, "--labels", settings.annotations, "--out", out, *field)
    assert line.startswith(str(back))
    assert not out.exists()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "null",
        '{"format": "lat review decisions", "version": 1, "labels": {"file": "FILE", "sha256": "x"}, "boxes": [], "images": []}',
        '{"format": "lat review decisions", "version": 1, "labels": {"file": "l.json", "sha256": "x"}, "boxes": "ab"}',
        f'{{"format": "lat review decisions", "version": 1, "labels": {{"file": "l.json", "sha256": "x"}},'
        f' "boxes": [{{"annotation_id": {2**70}, "decision": "accept"}}], "images": []}}',
    ],
)
@pytest.mark.parametrize("file", ["", ".", "/", "a\\u0000b", "n" * 5000])
def test_decisions_that_are_wrong(text: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "decisions.json", text.replace("FILE", file))
    assert refused(capsys, "review", "apply", path)


def test_a_review_overwrites_nothing_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lat.core.files import sha256_of_file

    labels = Path(write_coco(tmp_path / "data", coco_dict()).annotations)
    content = {"file": str(labels), "sha256": sha256_of_file(labels)}
    empty: dict[str, Any] = {"format": "lat review decisions", "version": 1, "labels": content, "boxes": [], "images": []}
    decisions = written(tmp_path / "decisions.json", json.dumps(empty))
    mine = written(tmp_path / "mine.yaml", "seed: 1")
    assert "already exists" in refused(capsys, "review", "apply", decisions, "--out", mine)
    assert mine.read_text() == "seed: 1"
    for kept in (decisions, labels):
        before = kept.read_bytes()
        assert "must not change" in refused(capsys, "review", "apply", decisions, "--out", kept, "--force")
        assert kept.read_bytes() == before
