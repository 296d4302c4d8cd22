"""Load model inputs from dataset dictionaries: the mapper, and data loaders that use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import build_detection_test_loader, build_detection_train_loader, get_detection_dataset_dicts

from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace
from lat.core.structures import LabeledBoxes
from lat.data.augment.transforms import flip_horizontally, mirror_boxes
from lat.data.images import read_image
from lat.detectron2.config_node import read_lat_config
from lat.detectron2.conversion import drop_outside, instances_from_boxes
from lat.detectron2.dataset_catalog import boxes_of_record

_FLIPS = {"horizontal": 0.5, "none": 0.0}


class LabelTransferMapper:
    """Turns a dataset dictionary of `register_datasets` into an input of `LabelTransferRCNN`, or of any Detectron2 detector.

    Reads the image with `lat`'s own reader, mirrors it randomly in training, and clips boxes to it; boxes without remaining area
    are dropped from all fields. `INPUT.RANDOM_FLIP` (horizontal or none) and `INPUT.FORMAT` apply; the backbone resizes by
    `MODEL.LAT.IMAGE_SIZE`, and `INPUT.MIN_SIZE_*` are ignored.

    Args:
        is_train: whether images may be mirrored.
        image_format: channel order of the result, BGR or RGB.
        flip_probability: share of training images that are mirrored.
        joint: the label spaces of the model, to check those of the labels against; None skips the check.
    """

    @configurable
    def __init__(
        self,
        is_train: bool = True,
        *,
        image_format: str = "BGR",
        flip_probability: float = 0.5,
        joint: JointLabelSpace | None = None,
    ) -> None:
        self.flip_probability = flip_probability if is_train else 0.0
        self.image_format = image_format
        self.joint = joint

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        if cfg.INPUT.RANDOM_FLIP not in _FLIPS:
            raise InputError("INPUT.RANDOM_FLIP", f"is '{cfg.INPUT.RANDOM_FLIP}'", f"choose one of {', '.join(_FLIPS)}")
        return {
            "is_train": is_train,
            "image_format": cfg.INPUT.FORMAT,
            "flip_probability": _FLIPS[cfg.INPUT.RANDOM_FLIP],
            "joint": read_lat_config(cfg).joint if "LAT" in cfg.MODEL else None,
        }

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """One image with its labels.

        Returns:
            `image` (3, H, W) uint8, `label_space`, `instances` and `pseudo_labels` as `LabelTransferRCNN` takes them, and
            `file_name`, `image_id`, `height`, `width` of the record.

        Raises:
            InputError: if the image cannot be read or differs in size from its record, the record's dataset was not registered
                by `lat`, or one of its label spaces is not the model's.
        """
        size_hw = (record["height"], record["width"])
        ground_truth, pseudo_labels = boxes_of_record(record)
        for boxes in (ground_truth, *pseudo_labels):
            self._check(boxes, record)
        pixels = read_image(Path(record["file_name"]), size_hw).transpose(2, 0, 1)
        image = torch.from_numpy(np.ascontiguousarray(pixels[::-1] if self.image_format == "BGR" else pixels))
        if torch.rand(()) < self.flip_probability:
            pseudo_labels = [mirror_boxes(boxes, size_hw) for boxes in pseudo_labels]
            image, ground_truth = flip_horizontally(image, ground_truth)
        return {
            **{key: record[key] for key in ("file_name", "image_id", "height", "width")},
            "image": image,
            "label_space": ground_truth.space.name,
            "instances": instances_from_boxes(drop_outside(ground_truth, size_hw), size_hw),
            "pseudo_labels": {
                boxes.space.name: instances_from_boxes(drop_outside(boxes, size_hw), size_hw) for boxes in pseudo_labels
            },
        }

    def _check(self, boxes: LabeledBoxes, record: Mapping[str, Any]) -> None:
        if self.joint is not None and boxes.space not in self.joint.spaces:
            what = f"has labels in '{boxes.space.name}' with classes {', '.join(boxes.space.class_names)}"
            remedy = "list that space in MODEL.LAT.LABEL_SPACES with these classes, in this order, and their category ids"
            raise InputError(record["file_name"], what, remedy)


def build_train_loader(cfg: CfgNode) -> Any:
    """Detectron2's training loader over `DATASETS.TRAIN`, with `LabelTransferMapper`.

    The datasets differ in their classes, which Detectron2's own loader refuses; images without boxes stay, whatever
    `DATALOADER.FILTER_EMPTY_ANNOTATIONS` says.
    """
    records = get_detection_dataset_dicts(list(cfg.DATASETS.TRAIN), filter_empty=False, check_consistency=False)
    return build_detection_train_loader(cfg, mapper=LabelTransferMapper(cfg, True), dataset=records)


def build_test_loader(cfg: CfgNode, name: str) -> Any:
    """Detectron2's test loader over one registered dataset, with `LabelTransferMapper`; it keeps the labels."""
    records = get_detection_dataset_dicts([name], filter_empty=False, check_consistency=False)
    return build_detection_test_loader(records, mapper=LabelTransferMapper(cfg, False), num_workers=cfg.DATALOADER.NUM_WORKERS)
