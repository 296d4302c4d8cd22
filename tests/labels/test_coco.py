from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from factories import coco_dict, label_space, labeled_boxes, write_json

from lat.core.errors import InputError
from lat.core.origin import Origin
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_of
from lat.labels.coco.read import read_labels
from lat.labels.coco.scan import scan_labels
from lat.labels.coco.write import write_labels, write_table
from lat.labels.table import LabelTable

SPACE = label_space("city", ["car", "truck"], ids=[9, 4])
"""Category ids are neither sorted nor without gaps."""


def document() -> dict[str, Any]:
    """Two images of 48 x 32 pixels: annotations 1 and 2 on image 1, annotation 3 on image 2."""
    return coco_dict(space=SPACE, category_ids=[[9, 4], [4]])


def read(folder: Path, value: object, **options: Any) -> LabelTable:
    return read_labels(write_json(folder / "labels.json", value), "city", **options)


# Reading


def with_root() -> dict[str, Any]:
    """The same document as Roboflow exports it."""
    value = document()
    for category in value["categories"]:
        category["supercategory"] = "vehicles"
    return {**value, "categories": [{"id": 0, "name": "vehicles", "supercategory": "none"}, *value["categories"]]}


def test_a_root_above_the_classes_is_no_class(tmp_path: Path) -> None:
    table, plain = read(tmp_path, with_root()), read(tmp_path, document())
    assert table.space == plain.space == SPACE
    assert table.labels.tolist() == plain.labels.tolist()
    assert table.repairs == {"category 0 'vehicles', the root of all others and without boxes, is no class": 1}
    assert plain.repairs == {}
    read(tmp_path, with_root(), expect=SPACE)


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (0, {"id": 1}),  # another id
        (0, {"supercategory": "things"}),  # it has a parent itself
        (0, {"name": "car park"}),  # is nobody's parent
        (1, {"supercategory": "none"}),  # not everybody's
        (None, {"category_id": 0}),  # a box is of it
    ],
)
def test_what_only_looks_like_a_root_stays_a_class(place: int | None, change: dict[str, Any], tmp_path: Path) -> None:
    value = with_root()
    (value["annotations"][0] if place is None else value["categories"][place]).update(change)
    table = read(tmp_path, value)
    assert len(table.space) == 3
    assert table.repairs == {}


def test_a_lone_category_is_no_root(tmp_path: Path) -> None:
    value = coco_dict([[]], space=label_space("city", ["cell"], ids=[0]))
    value["categories"][0]["supercategory"] = "none"
    assert len(read(tmp_path, value).space) == 1


def test_boxes_become_corners_and_category_ids_become_indices(tmp_path: Path) -> None:
    table = read(tmp_path, document())
    assert (len(table), table.num_boxes, table.space, table.repairs) == (2, 3, SPACE, {})
    assert table.file_names == ("001.png", "002.png")
    assert table.sizes_hw.tolist() == [[32, 48], [32, 48]]
    boxes = boxes_of(table, 0)
    assert boxes.boxes_xyxy.tolist() == [[2, 3, 12, 11], [20, 5, 26, 17]]
    assert boxes.labels.tolist() == [0, 1]
    assert boxes.annotation_ids.tolist() == [1, 2]
    assert boxes.scores.tolist() == boxes.weights.tolist() == [1, 1]
    assert boxes_of(table, 1).labels.tolist() == [1]


def test_annotations_in_any_order_go_to_their_images(tmp_path: Path) -> None:
    value = document()
    value["annotations"].reverse()
    table = read(tmp_path, value)
    assert [boxes_of(table, i).annotation_ids.tolist() for i in range(2)] == [[2, 1], [3]]
    value["images"].reverse()
    table = read(tmp_path, value)
    assert table.image_ids.tolist() == [2, 1]
    assert [boxes_of(table, i).annotation_ids.tolist() for i in range(2)] == [[3], [2, 1]]


def test_dtypes_are_the_small_ones(tmp_path: Path) -> None:
    table = read(tmp_path, document())
    assert {name: str(getattr(table, name).dtype) for name in ("boxes_xyxy", "labels", "scores", "is_crowd", "sizes_hw")} == {
        "boxes_xyxy": "float32",
        "labels": "int64",
        "scores": "float32",
        "is_crowd": "bool",
        "sizes_hw": "int32",
    }


def test_images_without_boxes_and_files_without_annotations_are_legal(tmp_path: Path) -> None:
    table = read(tmp_path, coco_dict([[], [[1, 1, 2, 2]], []]))
    assert [len(boxes_of(table, i)) for i in range(3)] == [0, 1, 0]
    empty = read(tmp_path, coco_dict([[], []]))
    assert (len(empty), empty.num_boxes) == (2, 0)
    assert boxes_of(empty, 1).boxes_xyxy.shape == (0, 4)
    assert boxes_of(empty, 1).class_scores is not None
    assert read(tmp_path, coco_dict([])).offsets.tolist() == [0]


def test_crowd_boxes_are_kept_with_weight_0(tmp_path: Path) -> None:
    value = document()
    value["annotations"][1]["iscrowd"] = 1
    table = read(tmp_path, value)
    assert table.is_crowd.tolist() == [False, True, False]
    assert boxes_of(table, 0).weights.tolist() == [1, 0]


def test_a_byte_order_mark_and_image_id_0_do_no_harm(tmp_path: Path) -> None:
    value = document()
    value["images"][0]["id"] = value["annotations"][0]["image_id"] = value["annotations"][1]["image_id"] = 0
    path = tmp_path / "labels.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(value).encode())
    assert len(boxes_of(read_labels(path, "city"), 0)) == 2


def test_at_least_keeps_all_images_and_the_boxes_of_a_score(tmp_path: Path) -> None:
    document = coco_dict([[(0, 0, 5, 5), (5, 5, 5, 5)], [(1, 1, 4, 4)], [], [(2, 2, 3, 3), (4, 4, 6, 6), (8, 8, 2, 2)]])
    for annotation, score in zip(document["annotations"], [0.2, 0.9, 0.1, 0.5, 0.4, 0.8], strict=True):
        annotation["score"] = score
    kept = read_labels(write_json(tmp_path / "a.json", document), "city").at_least(0.5)
    assert kept.annotation_ids.tolist() == [2, 4, 6]
    assert kept.offsets.tolist() == [0, 1, 1, 1, 3]
    assert kept.image_ids.tolist() == [1, 2, 3, 4]


def test_select_takes_images_in_the_order_asked_for(tmp_path: Path) -> None:
    table = read(tmp_path, coco_dict([[[1, 1, 2, 2]], [], [[3, 3, 4, 4], [5, 5, 6, 6]]]))
    chosen = table.select(np.array([2, 1, 2]))
    assert chosen.file_names == ("003.png", "002.png", "003.png")
    assert chosen.offsets.tolist() == [0, 2, 2, 4]
    for new, old in enumerate([2, 1, 2]):
        assert torch.equal(boxes_of(chosen, new).boxes_xyxy, boxes_of(table, old).boxes_xyxy)
    assert table.select(np.array([False, True, True])).image_ids.tolist() == [2, 3]
    assert table.select(np.array([], dtype=np.int64)).num_boxes == 0


def test_index_of_is_the_inverse_of_image_ids(tmp_path: Path) -> None:
    value = document()
    value["images"].reverse()
    table = read(tmp_path, value)
    assert table.index_of(table.image_ids).tolist() == [0, 1]
    assert table.index_of(np.array([1, 2, 1])).tolist() == [1, 0, 1]
    with pytest.raises(InputError, match="image 7 is not in the file"):
        table.index_of(np.array([1, 7]))


# Repairs


def test_a_box_over_the_border_is_clipped_and_counted(tmp_path: Path) -> None:
    value = coco_dict([[[-3, 4, 10, 5], [40, 30, 20, 20], [0, 0, 48, 32]]])
    table = read(tmp_path, value)
    assert table.boxes_xyxy.tolist() == [[0, 4, 7, 9], [40, 30, 48, 32], [0, 0, 48, 32]]
    assert table.repairs == {"box clipped at the image border": 2}


def test_rounding_at_the_border_is_no_repair(tmp_path: Path) -> None:
    table = read(tmp_path, coco_dict([[[47.3334, 1, 0.6667, 2]]]))
    assert table.repairs == {}
    assert table.boxes_xyxy[0, 2] == 48


def test_missing_area_and_iscrowd_are_repaired_and_counted(tmp_path: Path) -> None:
    value = document()
    del value["annotations"][0]["area"], value["annotations"][0]["iscrowd"]
    value["annotations"][1]["area"] = None
    table = read(tmp_path, value)
    assert table.repairs == {"missing area taken from the box": 2, "missing iscrowd taken as 0": 1}
    assert not table.is_crowd.any()


# Problems


def annotation(**change: Any) -> Callable[[dict[str, Any]], None]:
    """Change annotation 2; a value `...` takes the key away."""
    return lambda value: _change(value["annotations"][1], change)


def image(**change: Any) -> Callable[[dict[str, Any]], None]:
    """Change image 2 as `annotation` does annotation 2, without boxes on it."""

    def apply(value: dict[str, Any]) -> None:
        del value["annotations"][2:]
        _change(value["images"][1], change)

    return apply


def top(**change: Any) -> Callable[[dict[str, Any]], None]:
    return lambda value: _change(value, change)


def _change(record: dict[str, Any], change: dict[str, Any]) -> None:
    for key, new in change.items():
        record.pop(key) if new is ... else record.update({key: new})


NAN, BIG = math.nan, 10**30
PROBLEMS: list[tuple[Callable[[dict[str, Any]], None], str, str]] = [
    (annotation(id=0), "annotation 0", "not positive.*renumber the annotations from 1"),
    (annotation(id=-5), "annotation -5", "not positive.*renumber"),
    (annotation(id=1), "annotation 1", "occurs more than once in the file"),
    (annotation(id="2"), "annotations[1]", '`id` is "2"; `id` must be a whole number'),
    (annotation(id=2.0), "annotations[1]", "`id` is 2.0"),
    (annotation(id=True), "annotations[1]", "`id` is true"),
    (annotation(id=BIG), "annotations[1]", f"`id` is {BIG}"),
    (annotation(id=...), "annotations[1]", "`id` is missing"),
    (annotation(image_id=77), "annotation 2", "image 77 is not in the file"),
    (annotation(image_id="1"), "annotation 2", '`image_id` is "1"'),
    (annotation(image_id=...), "annotation 2", "`image_id` is missing"),
    (annotation(category_id=1), "annotation 2", "category 1 is not in the file's class list"),
    (annotation(category_id=None), "annotation 2", "`category_id` is null"),
    (annotation(category_id=...), "annotation 2", "`category_id` is missing"),
    (annotation(bbox=...), "annotation 2", "`bbox` is missing"),
    (annotation(bbox=[1, 2, 3]), "annotation 2", r"`bbox` is \[1, 2, 3\]; `bbox` must be a list of 4 numbers"),
    (annotation(bbox=[1, 2, "3", 4]), "annotation 2", "`bbox` is"),
    (annotation(bbox=[1, 2, None, 4]), "annotation 2", "`bbox` is"),
    (annotation(bbox=[1, 2, BIG**20, 4]), "annotation 2", "`bbox` is"),
    (annotation(bbox=[1, NAN, 3, 4]), "annotation 2", r"`bbox` is \[1, NaN, 3, 4\]; write finite numbers"),
    (annotation(bbox=[1, 2, math.inf, 4]), "annotation 2", "Infinity"),
    (annotation(bbox=[1, 2, 0, 4]), "annotation 2", r"the box \[1.0, 2.0, 0.0, 4.0\] has no area"),
    (annotation(bbox=[9, 9, -4, -4]), "annotation 2", "has no area"),
    (annotation(bbox=[48, 2, 5, 5]), "annotation 2", "outside its image of 48 x 32 pixels"),
    (annotation(bbox=[5, -8, 5, 8]), "annotation 2", "outside its image"),
    (annotation(area=NAN), "annotation 2", "`area` is NaN"),
    (annotation(area="large"), "annotation 2", "`area` is"),
    (annotation(iscrowd=2), "annotation 2", "`iscrowd` is 2; `iscrowd` must be 0 or 1"),
    (annotation(score=NAN), "annotation 2", "`score` is NaN"),
    (annotation(score=1.2), "annotation 2", "`score` is 1.2"),
    (annotation(score=None), "annotation 2", "`score` is null"),
    (lambda value: [a.update(class_scores=[0.1, 0.2]) for a in value["annotations"][:2]],
     "annotation 3", "`class_scores` is missing"),
    (lambda value: [a.update(class_scores=[0.1, a["id"] - 1]) for a in value["annotations"]], "annotation 3", "leave 0..1"),
    (lambda value: [a.update(class_scores=[0.1] * a["id"]) for a in value["annotations"][:2]] + [value["annotations"].pop()],
     "annotation 1", "must be a list of 2 numbers"),
    (lambda value: value["annotations"].append("box"), "annotations[3]", 'is "box", not an object'),
    (image(id=1), "image 1", "occurs more than once in the file"),
    (image(id="x"), "images[1]", '`id` is "x"'),
    (image(file_name=...), "image 2", "`file_name` is missing"),
    (image(file_name=7), "image 2", "`file_name` is 7"),
    (image(file_name=""), "image 2", "`file_name` is empty"),
    (image(file_name="../x.png"), "image 2", "leaves the images folder"),
    (image(file_name="a/../../x.png"), "image 2", "leaves the images folder"),
    (image(file_name="/etc/x.png"), "image 2", "leaves the images folder"),
    (image(file_name="..\\x.png"), "image 2", "leaves the images folder"),
    (image(file_name="C:\\x.png"), "image 2", "leaves the images folder"),
    (image(file_name="a\0.png"), "image 2", "leaves the images folder"),
    (image(width=0), "image 2", "`width` is 0"),
    (image(height=-3), "image 2", "`height` is -3"),
    (image(width=48.5), "image 2", "`width` is 48.5"),
    (image(height=...), "image 2", "`height` is missing"),
    (top(info=3), "info", "is not an object"),
    (top(categories=[]), "categories", "the class list is empty"),
    (top(annotations=...), "", "`annotations` is missing"),
    (top(images=...), "", "`images` is missing"),
    (top(categories=...), "", "`categories` is missing"),
    (top(annotations={}), "", "`annotations` is {}"),
    (lambda value: value["categories"][1].update(name="car"), "categories", "class name car"),
    (lambda value: value["categories"][1].update(id=9), "categories", "category id 9"),
    (lambda value: value["categories"][1].update(name=3), "category 4", "`name` is 3"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "item", "what"), PROBLEMS, ids=[f"{item}: {what}"[:60] for _, item, what in PROBLEMS])
def test_every_problem_is_found_with_its_file_and_item(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], item: str, what: str
) -> None:
    value = document()
    change(value)
    path = write_json(tmp_path / "labels.json", value)
    problems = scan_labels(path, "city").problems
    assert [(problem.file, problem.item) for problem in problems] == [(path, item)]
    with pytest.raises(InputError, match=what) as error:
        read_labels(path, "city")
    assert str(error.value).startswith(f"{path}: {item}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"images": [', "not JSON: .*line 1, column"),
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not a COCO labels file"),
    ],
)
def test_what_is_not_a_labels_file_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "labels.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"labels\.json: {what}"):
        read_labels(tmp_path / "labels.json", "city")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        read_labels(tmp_path / "none.json", "city")
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path, "city")


@pytest.mark.parametrize("name", ["a/b.png", "a..b.png", "..a.png", "a b.png", "ä.png"])
def test_file_names_that_stay_in_the_folder_are_accepted(tmp_path: Path, name: str) -> None:
    value = document()
    value["images"][0]["file_name"] = name
    assert read(tmp_path, value).file_names[0] == name


def test_the_first_ten_problems_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    value = coco_dict([[[1, 1, 2, 2]] * 25])
    for entry in value["annotations"][:12]:
        entry["category_id"] = 99
    with pytest.raises(InputError, match=r"labels\.json: 12 problems") as error:
        read(tmp_path, value)
    lines = str(error.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:11]] == [f"annotation {i}" for i in range(1, 11)]
    assert lines[11].strip() == "... and 2 more"
    assert len(lines) == 12


def test_two_problems_of_one_annotation_are_both_found(tmp_path: Path) -> None:
    value = document()
    value["annotations"][0].update(category_id=99, bbox=[0, 0, 0, 0])
    scan = scan_labels(write_json(tmp_path / "labels.json", value), "city")
    assert sorted(problem.what.split()[0] for problem in scan.problems) == ["category", "the"]
    assert scan.table is not None
    assert scan.table.annotation_ids.tolist() == [2, 3]


def test_expected_class_list_must_agree_in_ids_names_and_order(tmp_path: Path) -> None:
    read(tmp_path, document(), expect=label_space("another name", ["car", "truck"], ids=[9, 4]))
    others = [(["car", "truck"], [9, 5]), (["car", "van"], [9, 4]), (["truck", "car"], [4, 9]), (["car"], [9])]
    for names, ids in others:
        with pytest.raises(InputError, match=r"categories: the class list is \[9 car, 4 truck\], but that of nu is"):
            read(tmp_path, document(), expect=label_space("nu", names, ids))


# Writing


def random_labels(table: LabelTable, seed: int = 0) -> list[LabeledBoxes]:
    """0 to 3 boxes with scores and class scores on each image."""
    generator = np.random.default_rng(seed)
    labels = []
    for i in range(len(table)):
        n = i % 4
        corner = generator.uniform(0, 20, (n, 2))
        boxes = np.concatenate([corner, corner + generator.uniform(0.01, 12, (n, 2))], axis=1)
        class_scores = generator.uniform(0, 1, (n, 2))
        labels.append(
            labeled_boxes(
                SPACE,
                boxes.tolist(),
                class_scores.argmax(axis=1).tolist(),
                class_scores.max(axis=1).tolist(),
                class_scores.tolist(),
            )
        )
    return labels


def provenance_of(labels: list[LabeledBoxes]) -> list[list[dict[str, Any]]]:
    kinds = [
        {"origin": "ground_truth", "space": "nu", "annotation_id": 8},
        {"origin": "pseudo_label", "space": "city", "annotation_id": None},
    ]
    return [[kinds[(i + j) % 2] for j in range(len(boxes))] for i, boxes in enumerate(labels)]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    images = read(tmp_path, coco_dict([[]] * 9, space=label_space("nu", ["x"])))
    labels = random_labels(images)
    write_labels(
        tmp_path / "out.json", images, SPACE, labels, info={"method": "label_transfer"}, provenance=provenance_of(labels)
    )
    table = read_labels(tmp_path / "out.json", "city", expect=SPACE)
    assert table.repairs == {}
    assert table.info == {"method": "label_transfer"}
    assert table.annotation_ids.tolist() == list(range(1, table.num_boxes + 1))
    assert (table.file_names, table.image_ids.tolist()) == (images.file_names, images.image_ids.tolist())
    np.testing.assert_array_equal(table.sizes_hw, images.sizes_hw)
    for i, boxes in enumerate(labels):
        back = boxes_of(table, i)
        torch.testing.assert_close(back.boxes_xyxy, boxes.boxes_xyxy, rtol=0, atol=1e-4)
        torch.testing.assert_close(back.scores, boxes.scores, rtol=0, atol=1e-6)
        torch.testing.assert_close(back.class_scores, boxes.class_scores, rtol=0, atol=1e-6)
        assert torch.equal(back.labels, boxes.labels)
    assert table.provenance is not None
    assert table.provenance.spaces == ("city", "nu")
    first, second = (table.provenance[table.rows(i)] for i in (1, 2))
    assert (first.origin.tolist(), first.space.tolist(), first.annotation_ids.tolist()) == ([Origin.PSEUDO_LABEL], [0], [-1])
    assert (second.origin.tolist(), second.annotation_ids.tolist()) == ([Origin.GROUND_TRUTH, Origin.PSEUDO_LABEL], [8, -1])


def test_reading_and_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    images = read(tmp_path, coco_dict([[]] * 9))
    write_labels(tmp_path / "a.json", images, SPACE, random_labels(images), info={})
    again = read_labels(tmp_path / "a.json", "city")
    write_labels(tmp_path / "b.json", again, SPACE, [boxes_of(again, i) for i in range(len(again))], info={})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_provenance_tells_what_a_prior_did_where_there_was_one(tmp_path: Path) -> None:
    images = read(tmp_path, coco_dict([[]]))
    boxes = labeled_boxes(SPACE, [[1, 2, 4, 4], [1, 2, 5, 4], [1, 2, 6, 4]], [0, 1, 0], [0.5, 0.25, 0.01])
    plain = {"origin": "pseudo_label", "space": "nu", "annotation_id": 3}
    priors = [{"source_class": "van", "factor": 200.1234567, "kept": False}, {"source_class": "bus", "factor": 0, "kept": True}]
    provenance = [[plain, {**plain, "prior": priors[0]}, {**plain, "prior": priors[1]}]]
    write_labels(tmp_path / "out.json", images, SPACE, [boxes], info={}, provenance=provenance)
    table = read_labels(tmp_path / "out.json", "city")
    assert table.provenance is not None
    assert (prior := table.provenance.prior) is not None
    assert [prior.source_classes[i] if i >= 0 else None for i in prior.source_class] == [None, "van", "bus"]
    assert prior.factor.tolist() == [1, 200.123457, 0]
    assert prior.is_kept.tolist() == [False, False, True]
    write_table(tmp_path / "again.json", table)
    again, written = (json.loads((tmp_path / name).read_text())["annotations"] for name in ("again.json", "out.json"))
    assert [one["provenance"] for one in again] == [one["provenance"] for one in written]
    assert "prior" not in written[0]["provenance"]


@pytest.mark.parametrize(
    "wrong", ["van", {"source_class": "van", "factor": -1, "kept": True}, {"source_class": "van", "factor": 1}]
)
def test_a_malformed_prior_is_refused(tmp_path: Path, wrong: object) -> None:
    document = coco_dict([[[2, 3, 10, 8]]])
    entry = {"origin": "pseudo_label", "space": "nu", "annotation_id": 3, "prior": wrong}
    document["annotations"][0]["provenance"] = entry
    with pytest.raises(InputError, match="annotation 1: `provenance` is missing or malformed"):
        read(tmp_path, document)


def test_annotations_are_coco_with_the_categories_of_the_space(tmp_path: Path) -> None:
    images = read(tmp_path, coco_dict([[]]))
    boxes = labeled_boxes(SPACE, [[1, 2, 4.5, 4]], [1], [0.25])
    write_labels(tmp_path / "out.json", images, SPACE, [boxes], info={})
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "info": {},
        "images": [{"id": 1, "file_name": "001.png", "width": 48, "height": 32}],
        "categories": [{"id": 9, "name": "car"}, {"id": 4, "name": "truck"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 4, "bbox": [1, 2, 3.5, 2], "area": 7, "iscrowd": 0, "score": 0.25}
        ],
    }


def test_what_could_not_be_read_back_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    images = read(tmp_path, coco_dict([[]]))
    good = labeled_boxes(SPACE, [[1, 2, 4, 4]])
    broken = labeled_boxes(SPACE, [[1, 2, 4, 4]])
    broken.scores[0] = float("nan")
    path = tmp_path / "out.json"
    no_provenance: list[list[dict[str, Any]]] = [[]]
    cases: list[tuple[LabeledBoxes, dict[str, Any], str]] = [
        (broken, {"info": {}}, "JSON"),
        (good, {"info": {"loss": float("nan")}}, "JSON"),
        (labeled_boxes(SPACE, [[1, 2, 1.00001, 4]]), {"info": {}}, "image 1, box 0: .* has no area"),
        (labeled_boxes(SPACE, [[1, 2, 4, 4], [1, 2, 48.1, 4]]), {"info": {}}, "image 1, box 1: .* leaves the image"),
        (labeled_boxes(label_space(), [[1, 2, 4, 4]]), {"info": {}}, "boxes in space city"),
        (good, {"info": {}, "provenance": no_provenance}, "zip"),
    ]
    for boxes, options, what in cases:
        with pytest.raises(ValueError, match=what):
            write_labels(path, images, SPACE, [boxes], **options)
    with pytest.raises(ValueError, match="1 images but labels of 2"):
        write_labels(path, images, SPACE, [good, good], info={})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["labels.json"]
