from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from factories import coco_dict, label_space, write_coco, write_json
from omegaconf import OmegaConf

from lat.core.errors import InputError
from lat.data.data_settings import DatasetSettings
from lat.data.dataset import load_dataset, load_test, load_truth
from lat.data.tensors import boxes_of

BOX = [[2, 3, 10, 8]]


def many(n: int, **options: Any) -> dict[str, Any]:
    return coco_dict([BOX] * n, **options)


def ids(dataset: Any) -> list[int]:
    return dataset.labels.image_ids.tolist()


def test_item_i_is_the_image_its_size_and_its_boxes(tmp_path: Path) -> None:
    train, validation = load_dataset(write_coco(tmp_path))
    assert validation is None
    assert (train.name, len(train), train.space.class_names, train.size_hw(1)) == ("city", 2, ("car", "truck"), (32, 48))
    image = train.image(0)
    assert image.shape == (3, 32, 48)
    assert image.dtype == torch.float32
    assert image.min() >= 0
    assert image.max() <= 1
    x1, y1, x2, y2 = train.boxes(0).boxes_xyxy[0].int().tolist()
    assert image[:, y1:y2, x1:x2].flatten(1).std(dim=1).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert float(image[0, y1:y2, x1:x2].mean()) > 0.3 > float(image[:, 20:, :].mean())


def test_select_keeps_images_and_boxes_together(tmp_path: Path) -> None:
    train, _ = load_dataset(write_coco(tmp_path))
    turned = train.select(np.array([1, 0]))
    assert torch.equal(turned.image(0), train.image(1))
    assert torch.equal(turned.boxes(0).boxes_xyxy, train.boxes(1).boxes_xyxy)


def test_a_wrong_image_is_named_when_it_is_opened(tmp_path: Path) -> None:
    train, _ = load_dataset(write_coco(tmp_path))
    (tmp_path / "images" / "002.png").unlink()
    with pytest.raises(InputError, match=r"002\.png: no such image file"):
        train.image(1)


def test_validation_from_a_file_of_its_own(tmp_path: Path) -> None:
    write_coco(tmp_path / "val", many(3))
    settings = write_coco(
        tmp_path, validation=str(tmp_path / "val/annotations.json"), validation_images=str(tmp_path / "val/images")
    )
    train, validation = load_dataset(settings)
    assert validation is not None
    assert (len(train), len(validation)) == (2, 3)
    assert validation.image_path(0) == tmp_path / "val/images/001.png"


def test_validation_file_must_have_the_same_class_list(tmp_path: Path) -> None:
    other = write_json(tmp_path / "val.json", many(1, space=label_space("city", ["truck", "car"])))
    with pytest.raises(InputError, match=r"val\.json: categories: the class list is \[1 truck, 2 car\]"):
        load_dataset(write_coco(tmp_path, validation=str(other)))


def test_splits_of_one_file(tmp_path: Path) -> None:
    value = many(5, splits=["train", "val", "train", "test", ""])
    train, validation = load_dataset(write_coco(tmp_path, value, split="train", validation_split="val"))
    assert (ids(train), ids(validation)) == ([1, 3], [2])
    train, validation = load_dataset(write_coco(tmp_path, value, validation_split="val"))
    assert (ids(train), ids(validation)) == ([1, 3, 4, 5], [2])
    train, validation = load_dataset(write_coco(tmp_path, value, split="train"))
    assert (ids(train), validation) == ([1, 3], None)
    with pytest.raises(InputError, match=r"no image has the split 'trian'; .* has test, train, val"):
        load_dataset(write_coco(tmp_path, value, split="trian"))


def test_a_held_out_share_is_disjoint_complete_and_stays_when_images_are_added(tmp_path: Path) -> None:
    train, validation = load_dataset(write_coco(tmp_path / "a", many(200), validation_fraction=0.2))
    held_out = set(ids(validation))
    assert held_out | set(ids(train)) == set(range(1, 201))
    assert not held_out & set(ids(train))
    assert 20 <= len(held_out) <= 60  # 40 expected, standard deviation 5.7
    _, fewer = load_dataset(write_coco(tmp_path / "b", many(100), validation_fraction=0.2))
    assert set(ids(fewer)) == {i for i in held_out if i <= 100}
    _, more = load_dataset(write_coco(tmp_path / "a", many(200), validation_fraction=0.4))
    assert held_out < set(ids(more))


def test_a_share_that_holds_out_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="validation_fraction 1e-06 holds out none of 2 images"):
        load_dataset(write_coco(tmp_path, validation_fraction=1e-6))


@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_part_without_boxes_is_refused(tmp_path: Path, part: str) -> None:
    boxes = [[], BOX] if part == "training" else [BOX, []]
    value = coco_dict(boxes, splits=["train", "val"])
    with pytest.raises(InputError, match=rf"annotations\.json: the {part} part of city has no boxes \(1 images\)"):
        load_dataset(write_coco(tmp_path, value, split="train", validation_split="val"))


def test_a_missing_images_folder_is_refused(tmp_path: Path) -> None:
    settings = write_coco(tmp_path)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="images: no such images folder"):
        load_dataset(settings)


def test_test_images_are_those_of_the_file_that_are_in_no_other_part(tmp_path: Path) -> None:
    value = many(5, splits=["train", "test", "val", "train", "test"])
    settings = write_coco(tmp_path, value, split="train", validation_split="val")
    parts = [part for part in load_dataset(settings) if part is not None]
    assert load_test(settings, parts) is None
    test = load_test(replace(settings, truth={"city": settings.annotations}), parts)
    assert test is not None
    assert ids(test) == [2, 5]
    assert len(test.boxes(0)) == 1
    seen = replace(settings, truth={"city": str(write_json(tmp_path / "test.json", many(1)))})
    with pytest.raises(InputError, match=r"test\.json: has no boxes on images that are in no other part"):
        load_test(seen, parts)


WAY = label_space("way", ["vehicle"])


def load_with_truth(folder: Path, truth: dict[str, Any]) -> Any:
    path = write_json(folder / "truth.way.json", truth)
    value = many(3, splits=["val", "train", "train"])
    settings = write_coco(folder, value, split="train", validation_split="val", truth={"way": str(path)})
    train, _ = load_dataset(settings)
    return settings, train


def test_truth_is_of_the_training_images_in_their_order(tmp_path: Path) -> None:
    value = coco_dict([[[1, 1, 4, 4]], [], [[3, 3, 4, 4]]], space=WAY)
    value["images"].reverse()
    settings, train = load_with_truth(tmp_path, value)
    truth = load_truth(settings, train, WAY)
    assert truth is not None
    assert truth.image_ids.tolist() == ids(train) == [2, 3]
    assert [len(boxes_of(truth, i)) for i in range(2)] == [0, 1]
    assert truth.space == WAY
    assert load_truth(settings, train, label_space("nu")) is None


def test_truth_of_other_images_or_classes_is_refused(tmp_path: Path) -> None:
    settings, train = load_with_truth(tmp_path, coco_dict([BOX] * 2, space=WAY))
    with pytest.raises(InputError, match=r"truth\.way\.json: image 3: is not in the file"):
        load_truth(settings, train, WAY)
    settings, train = load_with_truth(tmp_path, coco_dict([BOX] * 3, space=WAY, size_hw=(32, 49)))
    with pytest.raises(InputError, match=r"2 problems.*\n.*image 2: has another file name or size"):
        load_truth(settings, train, WAY)
    with pytest.raises(InputError, match="categories"):
        load_truth(settings, train, label_space("way", ["car"]))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"name": "a.b"}, r"datasets\.name: is 'a\.b'"),
        ({"name": "a/b"}, r"datasets\.name"),
        ({"name": ""}, r"datasets\.name"),
        ({"images": ""}, r"datasets\.city\.images: is empty"),
        ({"validation_fraction": 1.0}, r"datasets\.city\.validation_fraction: is 1\.0"),
        ({"validation_fraction": float("nan")}, "validation_fraction"),
        ({"validation": "v.json", "validation_fraction": 0.1}, "validation and validation_fraction are both given"),
        ({"validation_images": "v"}, "validation_images: is given without validation"),
        ({"split": "a", "validation_split": "a"}, "validation_split"),
    ],
)
def test_unusable_settings_are_refused(change: dict[str, Any], what: str) -> None:
    sound = {"name": "city", "images": "i", "annotations": "a.json"}
    with pytest.raises(InputError, match=what):
        DatasetSettings(**{**sound, **change})


def test_settings_can_be_a_structured_configuration() -> None:
    given = {"name": "city", "images": "i", "annotations": "a.json", "truth": {"way": "t.json"}}
    settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DatasetSettings), given))
    assert settings == DatasetSettings("city", "i", "a.json", truth={"way": "t.json"})


def test_files_that_a_known_command_makes_are_missing_with_that_command(tmp_path: Path) -> None:
    settings = replace(write_coco(tmp_path), made_by="lat import coco")
    load_dataset(settings)
    for path in (tmp_path / "images", tmp_path / "annotations.json"):
        path.rename(tmp_path / "away")
        with pytest.raises(InputError) as caught:
            load_dataset(settings)
        assert str(caught.value) == f"{path}: is not there; make it with `lat import coco`"
        (tmp_path / "away").rename(path)
    with pytest.raises(InputError, match=r"val\.json: is not there; make it with `lat import coco`"):
        load_dataset(replace(settings, validation=str(tmp_path / "val.json")))
