import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tables import PETS, row, table

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.data.tensors import boxes_of
from lat.evaluation.detection_ap import detection_ap
from lat.labels import chunks
from lat.labels.table import LabelTable

A, B = (10, 10, 30, 30), (50, 50, 90, 70)


def test_one_perfect_box_has_100():
    result = detection_ap(table([row(0, 0, A)]), table([row(0, 0, A)]))
    assert result.ap == pytest.approx(100)
    assert result.ap50 == pytest.approx(100)
    assert result.per_class == {"cat": pytest.approx(100), "dog": None}
    assert (result.images, result.boxes, result.labels) == (2, 1, 1)


def test_one_of_two_found_counts_the_recall_levels_up_to_a_half():
    # Precision is 1 at the 51 recall levels 0, 0.01 .. 0.50, and 0 at the other 50.
    result = detection_ap(table([row(0, 0, A), row(1, 0, B)]), table([row(0, 0, A)]))
    assert result.ap == pytest.approx(100 * 51 / 101)


def test_a_false_box_above_the_right_one_halves_the_precision():
    result = detection_ap(table([row(0, 0, A)]), table([row(0, 0, A, 0.4), row(0, 0, B, 0.6)]))
    assert result.ap == pytest.approx(50)
    below = detection_ap(table([row(0, 0, A)]), table([row(0, 0, A, 0.6), row(0, 0, B, 0.4)]))
    assert below.ap == pytest.approx(100)


def test_an_overlap_counts_at_the_thresholds_it_reaches():
    # 20 x 20 against its lower 20 x 15.2 part: IoU 0.76 reaches 0.50, 0.55 .. 0.75, six of ten thresholds.
    result = detection_ap(table([row(0, 0, A)]), table([row(0, 0, (10, 14.8, 30, 30))]))
    assert result.ap == pytest.approx(60)
    assert (result.ap50, result.ap75, result.ap85) == (pytest.approx(100), pytest.approx(100), 0)


def test_the_mean_is_over_classes_that_have_truth():
    truth = table([row(0, 0, A), row(0, 1, B)])
    assert detection_ap(truth, table([row(0, 0, A), row(0, 0, B)])).per_class == {"cat": pytest.approx(100), "dog": 0}
    assert detection_ap(truth, table([row(0, 0, A)])).ap == pytest.approx(50)


def test_nothing_found_is_0_and_nothing_to_find_is_undefined():
    some, none = table([row(0, 1, A)]), table([])
    empty = detection_ap(some, none)
    assert (empty.ap, empty.ap50, empty.per_class, empty.boxes) == (0.0, 0.0, {"cat": None, "dog": 0.0}, 1)
    for labels in (some, none):
        undefined = detection_ap(none, labels)
        assert (undefined.ap, undefined.ap50, undefined.per_class) == (None, None, {"cat": None, "dog": None})
    assert detection_ap(table([row(0, 1, A, crowd=True)]), some).to_dict()["ap"] is None


def test_labels_in_a_crowd_are_neither_right_nor_wrong():
    truth = table([row(0, 0, A), row(0, 0, (40, 40, 100, 100), crowd=True)])
    inside = row(0, 0, (60, 60, 70, 70), 0.9)
    assert detection_ap(truth, table([row(0, 0, A, 0.5), inside])).ap == pytest.approx(100)
    assert detection_ap(truth, table([row(0, 0, A, 0.5), inside])).boxes == 1
    assert detection_ap(table([row(0, 0, A)]), table([row(0, 0, A, 0.5), inside])).ap == pytest.approx(50)
    assert detection_ap(table([row(0, 0, A)]), table([row(0, 0, A, 0.5), (*inside[:4], True)])).ap == pytest.approx(100)


def test_no_label_of_a_crowded_image_is_left_out():
    rows = [row(0, 0, (x, y, x + 3, y + 3)) for x in range(0, 100, 4) for y in range(0, 100, 4)]
    assert len(rows) == 625
    assert detection_ap(table(rows), table(rows)).ap == pytest.approx(100)


def test_a_list_of_boxes_is_as_good_as_a_table():
    truth, labels = random_tables(3)
    listed = detection_ap(truth, [boxes_of(labels, int(i)) for i in labels.index_of(truth.image_ids)])
    assert listed == detection_ap(truth, labels)


def test_images_are_matched_by_id_and_their_order_does_not_matter():
    truth, labels = random_tables(4)
    shuffled = labels.select(np.random.default_rng(0).permutation(len(labels)))
    assert detection_ap(truth, shuffled) == detection_ap(truth, labels)


def test_files_that_do_not_belong_together_are_refused():
    truth = table([row(0, 0, A)], path="truth.json")
    with pytest.raises(InputError, match=r"labels.json: lacks 1 of the images of truth.json: image id 2;"):
        detection_ap(truth, table([row(0, 0, A)], image_ids=(1,), path="labels.json"))
    with pytest.raises(InputError, match=r"truth.json: lacks 6 .* image id 3, 4, 5, 6, 7, \.\.\.;"):
        detection_ap(truth, table([], image_ids=range(1, 9), path="labels.json"))
    for other in (LabelSpace("pets", ("cat", "dog"), (3, 7)), LabelSpace("pets", ("dog", "cat"), (3, 7))):
        with pytest.raises(InputError, match=r"labels.json: its categories are not those of truth.json"):
            detection_ap(truth, table([row(0, 0, A)], space=other, path="labels.json"))
    renamed = LabelSpace("another name", PETS.class_names, PETS.category_ids)
    assert detection_ap(truth, table([row(0, 0, A)], space=renamed)).ap == pytest.approx(100)


def random_tables(seed: int) -> tuple[LabelTable, LabelTable]:
    """30 images; empty ones, crowds, a class without truth, a class without labels, and 130 labels in one image."""
    random = np.random.default_rng(seed)
    space = LabelSpace("five", tuple("abcde"), (9, 2, 40, 1, 5))
    truth, labels = [], []
    for image in range(30):
        for _ in range(random.integers(0, 9) if image % 7 else 0):
            x, y, w, h = random.uniform(10, 45, 4)
            label = int(random.choice([0, 1, 3, 4]))
            truth.append(row(image, label, (x, y, x + w, y + h), crowd=bool(random.random() < 0.15)))
            for _ in range(random.integers(0, 3)):
                dx, dy, dw, dh = random.normal(0, 1.5, 4)
                labels.append(row(image, label % 4, (x + dx, y + dy, x + w + dw, y + h + dh), random.random()))
        for _ in range(130 if image == 3 else random.integers(0, 4)):
            x, y, w, h = random.uniform(10, 45, 4)
            labels.append(row(image, int(random.integers(0, 4)), (x, y, x + w, y + h), round(random.random(), 1)))
    image_ids = random.permutation(50)[:30].tolist()
    return table(truth, image_ids, space), table(labels, image_ids, space)


def reference_ap(truth: LabelTable, labels: LabelTable) -> np.ndarray:
    """Precision of pycocotools (10, 101, K) for all sizes, with room for 1000 labels an image."""

    def annotations(one: LabelTable) -> list[dict]:
        images = np.repeat(one.image_ids, np.diff(one.offsets))
        rows = zip(
            images, one.space.to_category_ids(one.labels), one.boxes_xyxy.astype(float), one.scores, one.is_crowd, strict=True
        )
        return [
            {
                "id": i,
                "image_id": int(image),
                "category_id": int(category),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "score": float(score),
                "iscrowd": int(crowd),
            }
            for i, (image, category, (x1, y1, x2, y2), score, crowd) in enumerate(rows, start=1)
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images = [{"id": int(i)} for i in truth.image_ids]
        coco.dataset = {"images": images, "categories": truth.space.categories(), "annotations": annotations(truth)}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(annotations(labels)), "bbox")
        evaluation.params.maxDets = [1, 10, 1000]
        evaluation.evaluate()
        evaluation.accumulate()
    by_id = evaluation.eval["precision"][:, :, :, 0, 2]
    return by_id[:, :, np.argsort(np.argsort(truth.space.category_ids))]


@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools(seed, capfd):
    truth, labels = random_tables(seed)
    precision = reference_ap(truth, labels)
    result = detection_ap(truth, labels)
    assert 5 < result.ap < 95
    assert result.ap == pytest.approx(100 * precision[precision > -1].mean(), abs=1e-9)
    assert result.ap50 == pytest.approx(100 * precision[0][precision[0] > -1].mean(), abs=1e-9)
    for k, name in enumerate(truth.space.class_names):
        expected = None if (precision[:, :, k] == -1).all() else pytest.approx(100 * precision[:, :, k].mean(), abs=1e-9)
        assert result.per_class[name] == expected
    assert result.per_class["c"] is None
    assert json.loads(json.dumps(result.to_dict()))["per_class"] == result.per_class
    assert capfd.readouterr() == ("", "")


def random_ties(seed: int, images: int = 12) -> tuple[LabelTable, LabelTable]:
    """Truth and labels of two classes whose scores have three values, over images in an order that is not that of their ids."""
    random = np.random.default_rng(seed)
    truth, labels = [], []
    for image in range(images):
        for _ in range(random.integers(0, 6)):
            x, y, w, h = random.uniform(5, 45, 4)
            label = int(random.integers(0, 2))
            truth.append(row(image, label, (x, y, x + w, y + h), crowd=bool(random.random() < 0.2)))
            for _ in range(random.integers(0, 4)):
                dx, dy = random.normal(0, 3, 2)
                labels.append(row(image, label, (x + dx, y + dy, x + w + dx, y + h + dy), float(random.choice([0.25, 0.5, 1.0]))))
    image_ids = random.permutation(images).tolist()
    return table(truth, image_ids), table(labels, image_ids)


DEGENERATE = {
    "equal scores": random_ties(0),
    "equal scores again": random_ties(1),
    "all scores equal": (table([row(0, 0, A), row(1, 0, B)]), table([row(1, 0, A), row(0, 0, A), row(1, 0, B), row(0, 0, B)])),
    "only crowds": (table([row(0, 0, A, crowd=True)]), table([row(0, 0, A, 0.5), row(1, 0, B, 0.7)])),
    "labels of a class without truth": (table([row(0, 0, A)]), table([row(0, 1, A, 0.5)])),
    "labels on images without truth": (table([row(0, 0, A)]), table([row(1, 0, A, 0.5), row(0, 0, A, 0.4)])),
    "a score of 0": (table([row(0, 0, A), row(1, 0, A)]), table([row(0, 0, A, 0.0), row(1, 0, B, 0.0)])),
    "tiny boxes": (table([row(0, 0, (1, 1, 1.001, 1.001))]), table([row(0, 0, (1, 1, 1.001, 1.001), 0.5)])),
    "a box of many labels": (table([row(0, 0, A)]), table([row(0, 0, A, 0.5)] * 150)),
    "a label of many boxes": (table([row(0, 0, A)] * 150), table([row(0, 0, A, 0.5)])),
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("at_once", [1, 512])
def test_degenerate_input_equals_pycocotools(case, at_once, monkeypatch):
    monkeypatch.setattr(chunks, "IMAGES_AT_ONCE", at_once)
    truth, labels = DEGENERATE[case]
    precision, result = reference_ap(truth, labels), detection_ap(truth, labels)
    levels = {"ap": precision, "ap50": precision[0], "ap75": precision[5], "ap85": precision[7]}
    for name, level in levels.items():
        defined = level[level > -1]
        assert getattr(result, name) == (pytest.approx(100 * defined.mean(), abs=1e-9) if len(defined) else None), name
    for k, name in enumerate(truth.space.class_names):
        defined = precision[:, :, k][precision[:, :, k] > -1]
        assert result.per_class[name] == (pytest.approx(100 * defined.mean(), abs=1e-9) if len(defined) else None), name
