"""Our datasets in Detectron2's catalogs, and what the mapper makes of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2.modeling", reason="needs Detectron2, see docs/detectron2.md", exc_type=ImportError)

from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from drawn_spaces import CITY, JOINT, draw_all, make_cfg, write_dataset, write_pseudo_labels
from factories import label_space

from lat.core.errors import InputError
from lat.data.dataset import DetectionDataset
from lat.detectron2 import LabelTransferMapper, build_test_loader, register_datasets, registered_datasets, unregister_datasets
from lat.labels.table import LabelTable

pytestmark = pytest.mark.detectron2
Drawn = tuple[list[DetectionDataset], dict[str, list[LabelTable]]]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return draw_all(tmp_path_factory.mktemp("bridge"))


@pytest.fixture(scope="module")
def records(drawn: Drawn) -> list[dict[str, Any]]:
    """City's records."""
    with registered_datasets(*drawn) as names:
        return DatasetCatalog.get(names[0])


def registered() -> set[str]:
    return {name for catalog in (DatasetCatalog, MetadataCatalog) for name in catalog if name.startswith(("lat_", "mine"))}


def test_records_are_of_detectron2s_format_with_scores_and_weights(records: list[dict[str, Any]]) -> None:
    """The first image of city: a car of category 3 at xywh 2, 3, 20, 18, and a crowd of category 7."""
    first = records[0]
    assert (first["image_id"], first["height"], first["width"]) == (1, 30, 45)
    assert Path(first["file_name"]).is_file()
    assert first["space"] == CITY
    car, crowd = first["annotations"]
    assert (car["bbox"], car["bbox_mode"], car["category_id"]) == ([2, 3, 22, 21], BoxMode.XYXY_ABS, 0)
    assert (car["iscrowd"], car["weight"], car["score"], car["annotation_id"]) == (0, 1.0, 1.0, 1)
    assert (crowd["category_id"], crowd["iscrowd"], crowd["weight"], crowd["annotation_id"]) == (1, 1, 0.0, 2)
    assert [len(record["annotations"]) for record in records] == [2, 1, 0]
    (pseudo,) = first["pseudo_labels"]
    np.testing.assert_allclose(pseudo["class_scores"], [[0.8], [0.4]], atol=1e-6)


def test_metadata_maps_category_ids_with_gaps(drawn: Drawn) -> None:
    with registered_datasets(*drawn) as names:
        metadata = MetadataCatalog.get(names[0])
        assert metadata.thing_classes == ["car", "truck"]
        assert metadata.thing_dataset_id_to_contiguous_id == {3: 0, 7: 1}
        assert metadata.label_space == "city"


def test_names_are_unique_by_content(drawn: Drawn, tmp_path: Path) -> None:
    datasets, pseudo_labels = drawn
    with registered_datasets(datasets, pseudo_labels) as names:
        assert [name.rsplit("_", 1)[0] for name in names] == ["lat_city", "lat_way"]
        elsewhere = write_dataset(tmp_path, "city")
        with registered_datasets([elsewhere]) as others, registered_datasets([datasets[0]]) as without_pseudo:
            assert len({*names, *others, *without_pseudo}) == 4
            with registered_datasets(datasets, pseudo_labels) as again:
                assert again == names
            assert set(names) <= set(DatasetCatalog)
    assert registered() == set()


def test_a_name_with_other_content_is_refused_and_nothing_is_registered(drawn: Drawn) -> None:
    datasets, _ = drawn
    with registered_datasets(datasets[:1], names=["mine"]):
        before = registered()
        with pytest.raises(InputError, match="mine: is registered already with other content; unregister it first"):
            register_datasets(datasets, names=["mine2", "mine"])
        with pytest.raises(InputError, match="mine2: is registered already"):
            register_datasets(datasets, names=["mine2", "mine2"])
        assert registered() == before == {"mine"}
        assert len(DatasetCatalog.get("mine")[0]["annotations"]) == 2
        assert register_datasets(datasets[:1], names=["mine"]) == ["mine"]
    DatasetCatalog.register("mine", list)
    try:
        with pytest.raises(InputError, match="mine: is registered already"):
            register_datasets(datasets[:1], names=["mine"])
    finally:
        unregister_datasets(["mine"])


def test_a_failing_block_leaves_nothing_registered(drawn: Drawn) -> None:
    def fail() -> None:
        with registered_datasets(*drawn):
            assert len(registered()) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert registered() == set()
    unregister_datasets(["lat_unknown"])


def test_pseudo_labels_follow_the_images_of_the_dataset(drawn: Drawn) -> None:
    datasets, pseudo_labels = drawn
    last_first = datasets[0].select(np.array([2, 0]))
    with registered_datasets([last_first], {"city": pseudo_labels["city"]}) as names:
        found = DatasetCatalog.get(names[0])
    assert [record["image_id"] for record in found] == [3, 1]
    assert [record["pseudo_labels"][0]["boxes_xyxy"][0, 0] for record in found] == [5.0, 3.0]


def test_pseudo_labels_that_do_not_fit_are_refused(drawn: Drawn, tmp_path: Path) -> None:
    datasets, pseudo_labels = drawn
    with pytest.raises(InputError, match="pseudo_labels: there is no dataset 'nu'"):
        register_datasets(datasets, {"nu": []})
    with pytest.raises(InputError, match="has labels in the label space of city itself"):
        register_datasets(datasets, {"city": pseudo_labels["way"]})
    fewer = write_pseudo_labels(datasets[0].select(np.array([0])), tmp_path / "fewer.json")
    with pytest.raises(InputError, match="image 2 is not in the file"):
        register_datasets(datasets, {"city": [fewer]})
    with pytest.raises(InputError, match="names: there are 1 for 2 datasets"):
        register_datasets(datasets, names=["mine"])
    assert registered() == set()


def test_the_mapper_turns_every_column_into_a_field(records: list[dict[str, Any]]) -> None:
    one = LabelTransferMapper(make_cfg(), False)(records[0])
    truth, pseudo = one["instances"], one["pseudo_labels"]["way"]
    assert one["label_space"] == "city"
    assert truth.gt_boxes.tensor.tolist() == [[2, 3, 22, 21], [25, 5, 37, 27]]
    assert truth.gt_classes.tolist() == [0, 1]
    assert truth.gt_weights.tolist() == [1, 0]
    assert truth.gt_class_scores.tolist() == [[1, 0], [0, 1]]
    assert truth.gt_annotation_ids.tolist() == [1, 2]
    torch.testing.assert_close(pseudo.gt_class_scores, torch.tensor([[0.8], [0.4]]))
    torch.testing.assert_close(pseudo.gt_scores, torch.tensor([0.8, 0.4]))
    assert pseudo.gt_weights.tolist() == [1, 1]


def test_class_scores_of_a_labels_file_become_fields_of_ground_truth(drawn: Drawn) -> None:
    """Labels in the space of city that another model wrote, as transferred labels are: scores and full class scores."""
    datasets, pseudo_labels = drawn
    transferred = DetectionDataset("transferred", datasets[1].images_dir, pseudo_labels["way"][0])
    with registered_datasets([transferred]) as names:
        instances = LabelTransferMapper(is_train=False)(DatasetCatalog.get(names[0])[0])["instances"]
    torch.testing.assert_close(instances.gt_class_scores, torch.tensor([[0.1, 0.7], [0.6, 0.2]]))
    torch.testing.assert_close(instances.gt_scores, torch.tensor([0.7, 0.6]))
    assert instances.gt_classes.tolist() == [1, 0]


def test_a_box_that_clips_to_nothing_leaves_all_fields_together(records: list[dict[str, Any]]) -> None:
    """The car moves out of the image to the left; the crowd, moved over the right border, keeps its own row."""
    moved = copy.deepcopy(records[0])
    moved["annotations"][0]["bbox"] = [-30, 3, -10, 21]
    moved["annotations"][1]["bbox"] = [40, 5, 52, 27]
    moved["pseudo_labels"][0]["boxes_xyxy"][1] = [8, 30, 26, 40]
    one = LabelTransferMapper(make_cfg(), False)(moved)
    truth, pseudo = one["instances"], one["pseudo_labels"]["way"]
    assert truth.gt_boxes.tensor.tolist() == [[40, 5, 45, 27]]
    assert {name: len(column) for name, column in truth.get_fields().items()} == dict.fromkeys(truth.get_fields(), 1)
    assert (truth.gt_classes.tolist(), truth.gt_weights.tolist(), truth.gt_annotation_ids.tolist()) == ([1], [0], [2])
    assert truth.gt_class_scores.tolist() == [[0, 1]]
    torch.testing.assert_close(pseudo.gt_class_scores, torch.tensor([[0.8]]))


def test_a_mirrored_image_takes_all_its_boxes_along(records: list[dict[str, Any]]) -> None:
    """In a width of 45, x from 2 to 22 becomes 23 to 43."""
    plain = LabelTransferMapper(make_cfg(), False)(records[0])
    mirrored = LabelTransferMapper(True, flip_probability=1.0)(records[0])
    assert torch.equal(mirrored["image"], plain["image"].flip(2))
    assert mirrored["instances"].gt_boxes.tensor[0].tolist() == [23, 3, 43, 21]
    assert mirrored["pseudo_labels"]["way"].gt_boxes.tensor[0].tolist() == [24, 4, 42, 20]
    assert torch.equal(LabelTransferMapper(False, flip_probability=1.0)(records[0])["image"], plain["image"])


def test_the_channel_order_is_that_of_the_configuration(drawn: Drawn, records: list[dict[str, Any]]) -> None:
    cfg = make_cfg()
    images = {}
    for channels in ("BGR", "RGB"):
        cfg.INPUT.FORMAT = channels
        images[channels] = LabelTransferMapper(cfg, False)(records[0])["image"]
    torch.testing.assert_close(images["RGB"].float() / 255, drawn[0][0].image(0))
    assert torch.equal(images["BGR"], images["RGB"].flip(0))
    assert not torch.equal(images["BGR"], images["RGB"])


def test_labels_of_other_classes_than_the_models_are_refused(drawn: Drawn) -> None:
    datasets, _ = drawn
    cfg = make_cfg(label_spaces=[{"NAME": "city", "CLASS_NAMES": ["truck", "car"], "CATEGORY_IDS": [7, 3]}])
    with registered_datasets(datasets[:1]) as names:
        record = DatasetCatalog.get(names[0])[0]
    with pytest.raises(
        InputError, match=r"001\.png: has labels in 'city' with classes car, truck; list that space in MODEL\.LAT\.LABEL_SPACES"
    ):
        LabelTransferMapper(cfg, False)(record)
    with pytest.raises(InputError, match="the record names no label space; register it"):
        LabelTransferMapper(cfg, False)({"file_name": "a.png", "height": 1, "width": 1, "annotations": []})
    cfg.INPUT.RANDOM_FLIP = "vertical"
    with pytest.raises(InputError, match=r"INPUT\.RANDOM_FLIP: is 'vertical'; choose one of horizontal, none"):
        LabelTransferMapper(cfg, True)


def test_detectron2s_own_mapper_reads_the_records(records: list[dict[str, Any]]) -> None:
    mapper = DatasetMapper(True, augmentations=[T.NoOpTransform()], image_format="BGR")
    one = mapper(records[0])
    assert one["instances"].gt_classes.tolist() == [0]  # it drops crowds
    assert torch.equal(one["image"], LabelTransferMapper(make_cfg(), False)(records[0])["image"])


def test_loaders_keep_labels_and_images_without_boxes(drawn: Drawn) -> None:
    cfg = make_cfg()
    cfg.DATALOADER.NUM_WORKERS = 0
    with registered_datasets(*drawn) as names:
        batches = list(build_test_loader(cfg, names[0]))
    assert [len(batch[0]["instances"]) for batch in batches] == [2, 1, 0]
    assert [len(batch[0]["pseudo_labels"]["way"]) for batch in batches] == [2, 2, 2]


def test_the_spaces_of_the_drawn_datasets_are_told_apart_by_their_ids() -> None:
    """Otherwise the checks of label spaces above would say little."""
    assert label_space("city", ["car", "truck"]) not in JOINT.spaces
