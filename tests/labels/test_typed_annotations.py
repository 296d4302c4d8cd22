"""Sound files are read by another way than those with problems: both must give the same."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from coco_documents import documents
from factories import coco_dict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import assert_same_table

from lat.labels.coco import pieces
from lat.labels.coco.pieces import Doubt
from lat.labels.coco.problems import load_json
from lat.labels.coco.scan import _scan_typed, scan_document, scan_labels


def scan_both(path: Path) -> bool:
    """Compare the scan of a file with that of its content record by record; whether it was read the short way."""
    problems: list[Any] = []
    document = load_json(path, problems)
    found = scan_labels(path, "city")
    if document is None:
        assert [str(one) for one in found.problems] == [str(one) for one in problems]
        assert found.table is None
    else:
        wanted = scan_document(path, document, "city")
        assert found.problems == wanted.problems
        assert (found.table is None, found.images is None) == (wanted.table is None, wanted.images is None)
        if found.table is not None and wanted.table is not None:
            assert_same_table(found.table, wanted.table)
            assert found.table.repairs == wanted.table.repairs
    try:
        _scan_typed(path, "city", None)
    except Doubt:
        return False
    return True


@pytest.fixture(autouse=True, params=[1, 90, 500_000])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_PIECE", request.param)


ONE_FOLDER = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ONE_FOLDER
@given(document=documents(), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_sound_files(tmp_path: Path, document: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    assert scan_both(path)


VALUES: list[Any] = [
    *(None, True, "1", "", "\ud800", 1.0, 0, -1, 7, 2, 10**30, 2**63, 1.5, 1e300, float("nan"), float("inf")),
    *([], {}, [1], [[2, 0.5]], [[2, 2]], [[2, 0.5], [2, 0.5]], [0.5] * 3, [2.0] * 3),
    *([5, 5, 0, 3], [900, 5, 2, 3], [1, 2, 3], [1, 2, 3, True], [1, 2, 3, "4"]),
]


@ONE_FOLDER
@given(document=documents(), data=st.data())
def test_files_with_one_thing_changed(tmp_path: Path, document: dict[str, Any], data: st.DataObject) -> None:
    document = deepcopy(document)
    places: list[Any] = [document]
    for place in places:
        children = place.values() if isinstance(place, dict) else place
        places += [child for child in children if isinstance(child, dict | list) and child]
    place = data.draw(st.sampled_from(places))
    key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    if data.draw(st.booleans()):
        place[key] = data.draw(st.sampled_from(VALUES))
    else:
        del place[key]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document))
    scan_both(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"note"', b'"n\xff"'),  # not UTF-8, in what nobody reads
        (b'"hello"', b'"\xff"'),
        (b'"hello"', b'"\n"'),
        (b'"hello"', b'"\\x"'),
        (b'"hello"', b'"\\ud800"'),
        (b'"hello"', b"NaN"),
        (b'"hello"', b"01"),
        (b'"hello"', b"1e400"),
        (b'"hello"', b"[" * 100_000),
        (b'"hello"', b"[1,]"),
        (b'"id": 2', b'"id": 2, "id": 3'),
        (b'"id": 2', b'"\\u0069d": 2'),
        (b'"annotations"', b'"annotations": [], "annotations"'),
        (b"{", b"\xef\xbb\xbf{"),
        (b"{", b"[{"),
        (b"}]}", b"}]"),
        (b"}]}", b"},]}"),
        (b"}]}", b"}]} x"),
        (b"}, {", b"} {"),
        (b"}, {", b"},, {"),
    ],
)
def test_files_with_other_bytes(old: bytes, new: bytes, tmp_path: Path) -> None:
    document = coco_dict()
    document["annotations"][1]["note"] = "hello"
    document["annotations"] = document.pop("annotations")
    content = json.dumps(document).encode()
    assert old in content
    path = tmp_path / "labels.json"
    path.write_bytes(content.replace(old, new, 1) if old != b"}, {" else new.join(content.rsplit(old, 1)))
    scan_both(path)


@pytest.mark.parametrize("is_mapped", [False, True])
def test_what_replaces_a_file_while_it_is_read_does_not_mix_with_it(
    is_mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_MAPPED_BYTES", 0 if is_mapped else 1 << 30)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(coco_dict()))
    whole, begun = pieces.SoundFile(path), pieces.SoundFile(path)
    if is_mapped:  # as `lat` replaces files
        (tmp_path / "new.json").write_text("[]")
        (tmp_path / "new.json").replace(path)
    else:
        os.truncate(path, 9)
    assert [*begun.annotations()] == [*whole.annotations()] != []


def test_no_file_and_an_empty_one(tmp_path: Path) -> None:
    assert not scan_both(tmp_path / "missing.json")
    (tmp_path / "empty.json").write_bytes(b"")
    assert not scan_both(tmp_path / "empty.json")
    assert not scan_both(tmp_path)


def test_many_objects_inside_an_annotation_cost_no_more_than_time(tmp_path: Path) -> None:
    document = coco_dict()
    document["annotations"][0]["segments"] = [{"a": 1}] * 50
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document))
    scan_both(path)
