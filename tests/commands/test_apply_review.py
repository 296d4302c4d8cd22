"""Decisions from the report applied to a labels file; what is wrong with them is told in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from factories import coco_dict, write_json

from lat.cli import main
from lat.commands.apply_review import apply_decisions
from lat.core.errors import InputError
from lat.core.files import sha256_of_file
from lat.labels.coco.read import read_labels


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Three images with two, two and one boxes of score 0.5; annotations 1 to 5."""
    box = (2, 3, 10, 8)
    document = coco_dict([[box, (20, 5, 6, 12)], [box, (20, 5, 6, 12)], [box]])
    document["info"] = {"method": "label_transfer"}
    for annotation in document["annotations"]:
        annotation["score"] = 0.5
        annotation["provenance"] = {"origin": "ground_truth", "space": "nu", "annotation_id": annotation["id"]}
    return write_json(tmp_path / "run" / "nu.city.json", document)


def decisions_on(
    labels: Path, boxes: dict[int, str], images: dict[int, str] | None = None, changes: dict[str, Any] | None = None
) -> Path:
    content = {
        "format": "lat review decisions",
        "version": 1,
        "labels": {"file": str(labels), "sha256": sha256_of_file(labels)},
        "boxes": [{"annotation_id": number, "decision": decision} for number, decision in boxes.items()],
        "images": [{"image_id": number, "decision": decision} for number, decision in (images or {}).items()],
    }
    return write_json(labels.parent.parent / "decisions.json", content | (changes or {}))


def test_another_review_that_was_there_is_kept_and_told_of(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = apply_decisions(decisions_on(labels, {1: "accept"}))
    before = first.path.read_bytes()
    assert apply_decisions(decisions_on(labels, {1: "accept"})).note == "", "the same again"
    with pytest.raises(SystemExit):
        main(["review", "apply", str(decisions_on(labels, {2: "reject"}))])
    kept = labels.with_name("nu.city.reviewed.1.json")
    assert f"note: another review of these labels was there; it is kept as {kept}, and the run uses" in capsys.readouterr().out
    assert kept.read_bytes() == before
    assert "nu.city.reviewed.2.json" in apply_decisions(decisions_on(labels, {3: "reject"})).note
    assert len(list(labels.parent.glob("*.reviewed*"))) == 3


def test_rejected_boxes_go_accepted_ones_are_sure_and_the_rest_stays(labels: Path) -> None:
    before = labels.read_bytes()
    done = apply_decisions(decisions_on(labels, {1: "accept", 2: "reject"}))
    assert labels.read_bytes() == before
    assert done.path == labels.with_name("nu.city.reviewed.json")
    assert (done.accepted, done.rejected, done.rejected_images) == (1, 1, 0)
    table, original = read_labels(done.path, "city"), read_labels(labels, "city")
    assert table.annotation_ids.tolist() == [1, 3, 4, 5]
    assert table.scores.tolist() == [1.0, 0.5, 0.5, 0.5]
    assert table.image_ids.tolist() == original.image_ids.tolist()
    assert table.space.categories() == original.space.categories()
    assert table.provenance is not None
    assert table.provenance.annotation_ids.tolist() == [1, 3, 4, 5]
    assert table.info["method"] == "label_transfer"
    assert table.info["review"]["labels_sha256"] == sha256_of_file(labels)


def test_decisions_on_images_and_that_a_box_has_the_last_word(labels: Path) -> None:
    done = apply_decisions(decisions_on(labels, {2: "reject"}, {1: "accept", 2: "reject"}))
    table = read_labels(done.path, "city")
    assert table.image_ids.tolist() == [1, 3]
    assert dict(zip(table.annotation_ids.tolist(), table.scores.tolist(), strict=True)) == {1: 1.0, 5: 0.5}
    assert (done.accepted, done.rejected, done.rejected_images) == (1, 3, 1)


def test_no_decisions_change_nothing_but_the_info(labels: Path, tmp_path: Path) -> None:
    done = apply_decisions(decisions_on(labels, {}), out=tmp_path / "same.json")
    changed, original = json.loads(done.path.read_text()), json.loads(labels.read_text())
    assert changed["images"] == original["images"]
    assert changed["annotations"] == original["annotations"]


def test_labels_that_moved_are_named(labels: Path, tmp_path: Path) -> None:
    decisions = decisions_on(labels, {1: "reject"})
    moved = labels.rename(tmp_path / "elsewhere.json")
    with pytest.raises(InputError, match=r"nu\.city\.json, which does not exist; name the labels file with --labels"):
        apply_decisions(decisions)
    assert apply_decisions(decisions, moved).path == tmp_path / "elsewhere.reviewed.json"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"file": "LABELS", "sha256": "0" * 64}}, "another version of .*nu.city.json"),
        ({"boxes": [{"annotation_id": 77, "decision": "accept"}]}, "decides on annotation 77, which is not in .*nu.city.json"),
        ({"images": [{"image_id": 9, "decision": "reject"}]}, "decides on image 9, which is not in .*nu.city.json"),
        (
            {"boxes": [{"annotation_id": 1, "decision": "maybe"}]},
            "entry 0 of `boxes` has no `annotation_id`, or a dec",
        ),
        ({"boxes": [{"annotation_id": True, "decision": "accept"}]}, "entry 0 of `boxes`"),
        ({"boxes": [{"annotation_id": 1, "decision": one} for one in ("accept", "reject")]}, "decides twice on annotation_id 1"),
        ({"boxes": None}, "has no list `boxes`"),
        ({"format": "other"}, "is not a file of review decisions"),
        ({"version": 2}, "has version 2 of the format, not 1"),
        ({"labels": {}}, "does not name the labels"),
    ],
)
def test_what_is_wrong_with_decisions(labels: Path, changes: dict[str, Any], message: str) -> None:
    if changes.get("labels", {}).get("file"):
        changes = {"labels": changes["labels"] | {"file": str(labels)}}
    with pytest.raises(InputError, match=message) as caught:
        apply_decisions(decisions_on(labels, {}, changes=changes))
    assert "\n" not in str(caught.value)
    assert "decisions.json" in str(caught.value)
    assert not labels.with_name("nu.city.reviewed.json").exists()


def test_the_original_is_never_written(labels: Path) -> None:
    before = labels.read_bytes()
    with pytest.raises(InputError, match="is the labels file itself"):
        apply_decisions(decisions_on(labels, {1: "reject"}), out=labels)
    assert labels.read_bytes() == before


def test_on_the_command_line(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decisions = decisions_on(labels, {1: "accept", 2: "reject"}, {3: "reject"})
    out = tmp_path / "corrected.json"
    with pytest.raises(SystemExit) as done:
        main(["review", "apply", str(decisions), "--out", str(out)])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"wrote {out}: boxes: 1 accepted, 2 left out; images: 1 left out\n"
    decisions.write_text("{broken")
    with pytest.raises(SystemExit) as failed:
        main(["review", "apply", str(decisions)])
    assert failed.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {decisions}: is not valid JSON (Expecting property name")
