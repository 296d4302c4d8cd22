"""Any legal labels are written and read back; files with one thing wrong are refused, or read as something sound."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_documents import documents
from factories import coco_dict, label_space, write_json
from hypothesis import given
from hypothesis import strategies as st
from mutations import Mutant, damaged, examples, mutants
from tables import assert_same_table
from trust.one_line import bounded

from lat.commands.apply_review import apply_decisions
from lat.core.errors import InputError
from lat.core.files import sha256_of_file
from lat.labels.class_scores import TopScores
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_table
from lat.labels.store import LabelShards, stored_labels, to_arrow
from lat.labels.store import shards as shards_module
from lat.labels.store.recent import Recent
from lat.labels.table import LabelTable

SPACE = label_space("city", ["car", "truck"], ids=[9, 4])


@examples()
@given(document=documents(), thin=st.sampled_from([None, 1e-6, 4e-5, 6e-5, 0.02]))
def test_what_is_read_is_written_and_read_again(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any], thin: float | None
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    for annotation in document["annotations"][:1] if thin else ():
        annotation["bbox"][2] = thin
    try:
        first = read_labels(write_json(folder / "0.json", document), "city")
    except InputError:  # the drawn box lies outside its image once it is thin
        assert thin
        return
    write_table(folder / "1.json", first)
    second = read_labels(folder / "1.json", "city")
    assert second.repairs == {}
    for name in ("image_ids", "sizes_hw", "offsets", "labels", "is_crowd", "annotation_ids"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), name)
    assert (first.file_names, first.space, first.info) == (second.file_names, second.space, second.info)
    np.testing.assert_allclose(first.boxes_xyxy, second.boxes_xyxy, rtol=0, atol=1.1e-4)
    np.testing.assert_allclose(first.scores, second.scores, rtol=0, atol=6e-7)
    write_table(folder / "2.json", second)  # class scores that were rounded to 0 are in the order of their classes from here on
    write_table(folder / "3.json", read_labels(folder / "2.json", "city"))
    assert (folder / "2.json").read_bytes() == (folder / "3.json").read_bytes()


def full_document() -> dict[str, Any]:
    """Labels with all that a file may hold."""
    value = coco_dict([[(2, 3, 10, 8.25), (20, 5, 6, 12)], [], [(4, 4, 5, 5)]], [[9, 4], [], [4]], space=SPACE)
    for annotation in value["annotations"]:
        source = {"origin": "ground_truth", "space": "nu", "annotation_id": 5}
        source["prior"] = {"source_class": "van", "factor": 0.5, "kept": False}
        annotation |= {"score": 0.25, "class_scores": [0.25, 0.5], "provenance": source}
    return value


def assert_sound(table: LabelTable) -> None:
    borders = table.sizes_hw[table.image_of_box][:, [1, 0, 1, 0]]
    assert ((table.boxes_xyxy >= 0) & (table.boxes_xyxy <= borders)).all()
    assert (table.boxes_xyxy[:, 2:] > table.boxes_xyxy[:, :2]).all()
    assert ((table.scores >= 0) & (table.scores <= 1)).all()
    assert ((table.labels >= 0) & (table.labels < len(table.space))).all()
    assert isinstance(table.class_scores, np.ndarray | TopScores | None)


def refused_or_read(read: Callable[[], Any], name: str) -> Any:
    """What a function reads, or None if it refuses the file of that name in lines that a terminal can show."""
    try:
        with bounded():
            return read()
    except InputError as error:
        found = str(error).splitlines(), len(error.details)
    lines, details = found
    assert name in lines[0]
    assert len(lines) == 1 + details
    assert all(line.isprintable() for line in lines)
    return None


def test_labels_with_one_thing_wrong(tmp_path: Path) -> None:
    path = write_json(tmp_path / "labels.json", full_document())
    data, says = path.read_bytes(), read_labels(path, "city")

    @examples(2)
    @given(mutants(data, "json"))
    def check(mutant: Mutant) -> None:
        path.write_bytes(mutant.data)
        found = refused_or_read(lambda: read_labels(path, "city"), path.name)
        if found is not None:
            assert_sound(found)
            if mutant.says_the_same:
                assert_same_table(found, says)

    check()


@pytest.mark.parametrize("origin", [{}, [], 1, None, "nobody"])
def test_an_origin_that_is_none_is_a_problem(origin: object, tmp_path: Path) -> None:
    document = full_document()
    document["annotations"][0]["provenance"]["origin"] = origin
    path = write_json(tmp_path / "labels.json", document)
    assert refused_or_read(lambda: read_labels(path, "city"), path.name) is None


def test_decisions_with_one_thing_wrong(tmp_path: Path) -> None:
    labels = write_json(tmp_path / "labels.json", full_document())
    decisions = {
        **{"format": "lat review decisions", "version": 1},
        "labels": {"file": str(labels), "sha256": sha256_of_file(labels)},
        "boxes": [{"annotation_id": 1, "decision": "accept"}, {"annotation_id": 2, "decision": "reject"}],
        "images": [{"image_id": 3, "decision": "reject"}],
    }
    path, before = write_json(tmp_path / "decisions.json", decisions), labels.read_bytes()
    data, out = path.read_bytes(), tmp_path / "out.json"
    apply_decisions(path, out=out)
    says = json.loads(out.read_bytes())["annotations"]

    @examples()
    @given(mutants(data, "json"))
    def check(mutant: Mutant) -> None:
        path.write_bytes(mutant.data)
        out.unlink(missing_ok=True)
        if refused_or_read(lambda: apply_decisions(path, out=out), "decisions.json") is None:
            assert not out.exists()
        else:
            assert_sound(read_labels(out, "city"))
            assert json.loads(out.read_bytes())["annotations"] == says or not mutant.says_the_same
        assert labels.read_bytes() == before

    check()


def test_a_damaged_part_of_a_store_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "KEPT", Recent(0))  # so that every reading reads
    table = read_labels(write_json(tmp_path / "labels.json", full_document()), "city")
    shards = LabelShards(tmp_path / "parts", table, SPACE)
    shards.prepare("inputs", [range(len(table))])
    shards.write(0, to_arrow(table, 0))
    shards.export(tmp_path / "out.json", {})
    path = shards.path(0)
    data, says = path.read_bytes(), stored_labels(tmp_path / "out.json", shards.folder, table, SPACE)
    assert says is not None

    @examples()
    @given(damaged(data))
    def check(mutant: Mutant) -> None:
        path.write_bytes(mutant.data)
        with bounded():
            found = stored_labels(tmp_path / "out.json", shards.folder, table, SPACE)
        if found is not None:
            assert_same_table(found, says)

    check()
