from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from factories import coco_dict, label_space, labeled_boxes, write_json

from lat.core.errors import InputError
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_of
from lat.evaluation.box_doubt import _margin
from lat.labels.class_scores import TOP_CLASSES, TopScores, class_scores_of, dense_scores, joined_scores, one_hot
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_labels, write_table
from lat.labels.store import LabelShards, stored_labels, to_arrow
from lat.labels.table import LabelTable
from lat.labels.written_boxes import table_of_boxes

MANY = label_space("lvis", [f"class {i}" for i in range(100)], ids=[3 * i + 2 for i in range(100)])
FEW = label_space("city", ["car", "truck", "bus"], ids=[9, 4, 6])


def plain_top(vector: np.ndarray, label: int) -> tuple[dict[int, float], float]:
    """The kept scores by class, and the rest, one class after the other."""
    rounded = [round(float(score), 6) for score in vector]
    order = sorted(range(len(rounded)), key=lambda i: (i != label, -rounded[i], i))[:TOP_CLASSES]
    kept = {i: rounded[i] for i in order if rounded[i] > 0 or i == label}
    return kept, round(sum(float(score) for i, score in enumerate(vector) if i not in order), 6)


def vectors_of(count: int, num_classes: int = 100) -> np.ndarray:
    return np.random.default_rng(2).dirichlet(np.full(num_classes, 0.05), count).astype(np.float32)


def test_the_highest_scores_are_kept_with_that_of_the_own_class() -> None:
    vectors = vectors_of(50)
    vectors[3] = 0.01  # all equal
    vectors[4, :90] = 0  # few
    labels = vectors.argmax(axis=1)
    labels[::5] = (labels[::5] + 7) % 100  # not the best
    top = class_scores_of(vectors, labels)
    assert isinstance(top, TopScores)
    assert len(top) == 50
    for i, (vector, label) in enumerate(zip(vectors, labels.tolist(), strict=True)):
        kept, rest = plain_top(vector, label)
        classes = [c for c in top.classes[i].tolist() if c >= 0]
        assert dict(zip(classes, np.round(top.scores[i].astype(float), 6).tolist(), strict=False)) == kept
        assert top.rest[i] == pytest.approx(rest, abs=1.5e-6)
        assert (np.diff(top.scores[i]) <= 0).all()
    assert (top.classes[3, 0], sorted(top.classes[3].tolist())) == (0, list(range(16)))
    np.testing.assert_allclose(top.dense().sum(axis=1), vectors.sum(axis=1), atol=1e-4)


def test_the_rest_is_spread_over_the_classes_that_are_not_kept() -> None:
    top = TopScores(np.array([[2, -1]], np.int32), np.array([[0.4, 0]], np.float32), np.array([0.6], np.float32), 5)
    np.testing.assert_allclose(top.dense(), [[0.15, 0.15, 0.4, 0.15, 0.15]])
    whole = vectors_of(3, num_classes=64)
    np.testing.assert_array_equal(class_scores_of(whole, np.zeros(3, np.int64)), np.round(whole.astype(float), 6).astype("f4"))


def test_rows_of_both_kinds_are_joined() -> None:
    for num_classes in (3, 100):
        first, second = one_hot(np.array([1, 0]), num_classes), one_hot(np.array([2]), num_classes)
        assert dense_scores(joined_scores(first, second)).argmax(axis=1).tolist() == [1, 0, 2]


# Files


def images_of(tmp_path: Path, count: int) -> LabelTable:
    return read_labels(write_json(tmp_path / "images.json", coco_dict([[]] * count, space=label_space("nu", ["x"]))), "nu")


def boxes_of_many(count: int) -> list[LabeledBoxes]:
    vectors = vectors_of(2 * count)
    corners = [[1, 2, 4, 4], [1, 2, 5, 4]]
    return [
        labeled_boxes(MANY, corners, some.argmax(axis=1).tolist(), some.max(axis=1).tolist(), some.tolist())
        for some in np.split(vectors, count)
    ]


def test_many_classes_are_written_as_pairs_and_read_back_from_file_and_store(tmp_path: Path) -> None:
    images, found = images_of(tmp_path, 4), boxes_of_many(4)
    path = tmp_path / "labels.json"
    write_labels(path, images, MANY, found, info={})
    table = read_labels(path, "lvis", expect=MANY)
    assert isinstance(table.class_scores, TopScores)
    first = json.loads(path.read_text())["annotations"][0]
    kept, rest = plain_top(found[0].class_scores[0].numpy(), int(found[0].labels[0]))  # type: ignore[index]
    assert {MANY.category_ids.index(i): score for i, score in first["class_scores"]} == kept
    assert first["class_scores"][0][1] == first["score"]
    assert first["class_scores_rest"] == pytest.approx(rest, abs=1.5e-6)
    for i, boxes in enumerate(found):
        back = boxes_of(table, i).class_scores
        assert back is not None
        assert boxes.class_scores is not None
        assert back.shape == (2, 100)
        assert torch.equal(back.argmax(dim=1), boxes.labels)
        torch.testing.assert_close(back.amax(dim=1), boxes.scores, atol=1e-6, rtol=0)
        torch.testing.assert_close(back.sum(dim=1), boxes.class_scores.sum(dim=1), atol=1e-4, rtol=0)

    write_table(tmp_path / "again.json", table)
    again = json.loads((tmp_path / "again.json").read_text())["annotations"]
    assert again == json.loads(path.read_text())["annotations"]

    shards = LabelShards(tmp_path / "parts", images, MANY)
    shards.prepare("", [range(0, 3), range(3, 4)])
    shards.write(0, to_arrow(table_of_boxes(images, MANY, found[:3])))
    shards.write(1, to_arrow(table_of_boxes(images, MANY, found[3:], first_image=3), 3))
    shards.export(tmp_path / "streamed.json", {})
    assert (tmp_path / "streamed.json").read_bytes() == path.read_bytes()
    stored = stored_labels(tmp_path / "streamed.json", shards.folder, images, MANY)
    assert stored is not None
    assert isinstance(stored.class_scores, TopScores)
    for name, column in table.class_scores.columns().items():
        np.testing.assert_array_equal(stored.class_scores.columns()[name], column)
        assert stored.class_scores.columns()[name].dtype == column.dtype


def test_doubt_is_that_of_whole_vectors(tmp_path: Path) -> None:
    images, found = images_of(tmp_path, 4), boxes_of_many(4)
    table = table_of_boxes(images, MANY, found)
    vectors = np.concatenate([boxes.class_scores.numpy() for boxes in found])  # type: ignore[union-attr]
    whole = replace(table, class_scores=vectors)
    np.testing.assert_allclose(_margin(table, np.zeros(8)), _margin(whole, np.zeros(8)), atol=1e-5)


def with_scores(values: list[Any], **more: Any) -> dict[str, Any]:
    document = coco_dict([[[2, 3, 10, 8]] * len(values)], space=FEW, category_ids=[[9] * len(values)])
    for annotation, value in zip(document["annotations"], values, strict=True):
        annotation["class_scores"] = value
        annotation.update(more)
    return document


def test_any_file_may_have_vectors_and_pairs(tmp_path: Path) -> None:
    document = with_scores([[0.5, 0.25, 0.125], [[6, 0.5]], [[4, 0.5], [9, 0.25], [6, 0.125]]])
    document["annotations"][1]["class_scores_rest"] = 0.5
    table = read_labels(write_json(tmp_path / "labels.json", document), "city")
    assert isinstance(table.class_scores, np.ndarray)
    assert table.class_scores.tolist() == [[0.5, 0.25, 0.125], [0.25, 0.25, 0.5], [0.25, 0.5, 0.125]]

    many = coco_dict([[[2, 3, 10, 8]] * 3], space=MANY, category_ids=[[8, 2, 2]])
    pairs = [[i, 0.01] for i in MANY.category_ids[5:]]
    for annotation, value in zip(many["annotations"], ([0.01] * 100, pairs, [[5, 0.25], [8, 0.5]]), strict=True):
        annotation["class_scores"] = value
    top = read_labels(write_json(tmp_path / "labels.json", many), "lvis").class_scores
    assert isinstance(top, TopScores)
    assert top.classes[0].tolist() == [*range(16)]
    assert top.classes[1].tolist() == [*range(5, 21)]
    np.testing.assert_allclose(top.rest, [0.84, 0.79, 0], atol=1e-6)
    assert (top.classes[2].tolist(), top.scores[2, :3].tolist()) == ([2, 1, *[-1] * 14], [0.5, 0.25, 0])


@pytest.mark.parametrize(
    "wrong",
    [
        [[5, 0.5]],  # no such category
        [[9, 0.5], [9, 0.25]],
        [[9, 1.5]],
        [[9, float("nan")]],
        [[9, True]],
        [[9.0, 0.5]],
        [[9, 0.5], 0.25],
        [[9, 0.5, 1]],
    ],
)
def test_malformed_pairs_are_refused_by_name(wrong: list[Any], tmp_path: Path) -> None:
    path = write_json(tmp_path / "labels.json", with_scores([[0.5, 0.25, 0.125], wrong]))
    with pytest.raises(InputError, match=r"annotation 2: `class_scores` is \[\[.*; its pairs must be \[category id, score"):
        read_labels(path, "city")


def test_a_rest_out_of_range_is_refused_by_name(tmp_path: Path) -> None:
    for value, what in ((-0.5, "-0.5; it must lie in 0..3"), (4, "4; it must lie in 0..3"), ("x", '"x"; .* must be a number')):
        path = write_json(tmp_path / "labels.json", with_scores([[[9, 0.5]]], class_scores_rest=value))
        with pytest.raises(InputError, match=f"annotation 1: `class_scores_rest` is {what}"):
            read_labels(path, "city")
