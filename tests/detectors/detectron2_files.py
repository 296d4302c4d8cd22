"""A small Detectron2 configuration in two files, and the marks of tests that need Detectron2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lat.core.label_space import LabelSpace
from lat.detectors.base import build_detector, detectron2_problem
from lat.detectors.detector_settings import DetectorSettings

PROBLEM = detectron2_problem()
NEEDS_DETECTRON2 = (pytest.mark.detectron2, pytest.mark.skipif(PROBLEM is not None, reason=f"needs Detectron2: {PROBLEM}"))
SPACE = LabelSpace.from_names("shapes", ("disc", "bar"))
# A Base-RCNN file as Detectron2's own, with a body that builds in a blink: thin, of depth 50 because of its bottleneck blocks.
BASE_C4 = """
MODEL:
  META_ARCHITECTURE: "GeneralizedRCNN"
  MASK_ON: True
  RESNETS: {DEPTH: 50, RES2_OUT_CHANNELS: 16, STEM_OUT_CHANNELS: 8, WIDTH_PER_GROUP: 8}
  ROI_HEADS: {NAME: "Res5ROIHeads", BATCH_SIZE_PER_IMAGE: 16}
  RPN: {PRE_NMS_TOPK_TEST: 100, PRE_NMS_TOPK_TRAIN: 100, POST_NMS_TOPK_TEST: 30, POST_NMS_TOPK_TRAIN: 40}
  ANCHOR_GENERATOR: {SIZES: [[16, 32]]}
VERSION: 2
"""
CHILD = '_BASE_: "base/c4.yaml"\nMODEL: {RPN: {NMS_THRESH: 0.6}}\n'
# A feature pyramid that builds as fast; for the built-in ResNets.
THIN_FPN = {"MODEL.FPN.OUT_CHANNELS": 16, "MODEL.ROI_BOX_HEAD.FC_DIM": 16, "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50}


def write_yaml(folder: Path) -> str:
    """Write both files and return the path of the one that inherits from the other."""
    (folder / "base").mkdir()
    (folder / "base" / "c4.yaml").write_text(BASE_C4)
    (folder / "child.yaml").write_text(CHILD)
    return str(folder / "child.yaml")


def from_yaml(path: str, *overrides: str, **more: Any) -> nn.Module:
    """The detector of a YAML file, the same at every call."""
    torch.manual_seed(0)
    settings = DetectorSettings(
        detector="detectron2", backbone=path, overrides=dict(zip(overrides[::2], overrides[1::2], strict=True)), **more
    )
    return build_detector(settings, SPACE)
