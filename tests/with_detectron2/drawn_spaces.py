"""Two drawn datasets that label each other's images, and a Detectron2 configuration for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from factories import coco_dict, label_space, labeled_boxes, write_coco
from torch import nn

from lat.core.label_space import JointLabelSpace
from lat.core.structures import LabeledBoxes
from lat.data.dataset import DetectionDataset, load_dataset
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_labels
from lat.labels.table import LabelTable

CITY = label_space("city", ["car", "truck"], [3, 7])
WAY = label_space("way", ["vehicle"], [5])
JOINT = JointLabelSpace((CITY, WAY))
BOXES = [[[2, 3, 20, 18], [25, 5, 12, 22]], [[4, 4, 15, 15]], []]
SIZES_HW = [(30, 45), (42, 28), (30, 45)]


def write_dataset(folder: Path, name: str) -> DetectionDataset:
    """Three images of two sizes, the last without boxes; the second box of city's first image is a crowd."""
    space = JOINT.spaces[JOINT.index(name)]
    ids = [[3, 7], [7], []] if name == "city" else [[5, 5], [5], []]
    document = coco_dict(BOXES, ids, space=space)
    for image, (height, width) in zip(document["images"], SIZES_HW, strict=True):
        image.update(height=height, width=width)
    if name == "city":
        document["annotations"][1]["iscrowd"] = 1
    dataset, _ = load_dataset(write_coco(folder / name, document, name=name))
    return dataset


def write_pseudo_labels(dataset: DetectionDataset, path: Path) -> LabelTable:
    """Labels of a dataset's images in the other space: two slightly moved boxes an image, with class scores."""
    space = WAY if dataset.space == CITY else CITY
    scores = [[0.8], [0.4]] if space == WAY else [[0.1, 0.7], [0.6, 0.2]]
    labels = [0, 0] if space == WAY else [1, 0]
    written: list[LabeledBoxes] = []
    for i in range(len(dataset)):
        moved = [[3.0 + i, 4, 21, 20], [8, 7, 26, 27]]
        written.append(labeled_boxes(space, moved, labels, [max(row) for row in scores], scores))
    write_labels(path, dataset.labels, space, written, info={})
    return read_labels(path, space.name, expect=space)


def draw_all(folder: Path) -> tuple[list[DetectionDataset], dict[str, list[LabelTable]]]:
    """Both datasets, and the pseudo-labels of each."""
    datasets = [write_dataset(folder, name) for name in JOINT.names]
    return datasets, {d.name: [write_pseudo_labels(d, folder / f"{d.name}.other.json")] for d in datasets}


def make_cfg(**lat: Any) -> Any:
    """A configuration with LAT's parts, on the CPU, with random weights; `lat` are keys of MODEL.LAT in small letters."""
    from detectron2.config import get_cfg

    from lat.detectron2 import add_lat_config, set_label_spaces

    cfg = get_cfg()
    add_lat_config(cfg)
    set_label_spaces(cfg, JOINT.spaces)
    cfg.MODEL.META_ARCHITECTURE = "LabelTransferRCNN"
    cfg.MODEL.BACKBONE.NAME = "FrozenDINOv2"
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "PrivilegedProposalGenerator"
    cfg.MODEL.ROI_HEADS.NAME = "SemanticFeatureFusionROIHeads"
    cfg.MODEL.DEVICE = "cpu"
    small = {"weights": "none", "dim": 16, "pooled_size": 2, "background_proposals": 3}
    decode = {"score_threshold": 0.01, "nms_iou": 0.3, "max_detections": 3}
    for key, value in {**small, **decode, **lat}.items():
        cfg.MODEL.LAT[key.upper()] = value
    return cfg


def awaken(network: nn.Module) -> None:
    """Give random DINOv2 blocks their say: fresh layer scales are so small that no patch attends to another."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(1.0)


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Weights large enough for every part to matter."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
