"""The mark of tests that need transformers, and detectors of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lat.core.label_space import LabelSpace
from lat.detectors.base import build_detector, transformers_problem
from lat.detectors.detector_settings import DetectorSettings

PROBLEM = transformers_problem()
NEEDS_TRANSFORMERS = pytest.mark.skipif(PROBLEM is not None, reason=f"needs transformers: {PROBLEM}")
NAMES = ("rtdetr", "rtdetr_v2", "deformable_detr")
SPACE = LabelSpace.from_names("shapes", ("disc", "bar"))


def detr(name: str, space: LabelSpace = SPACE, **settings: Any) -> nn.Module:
    """A small detector, the same at every call."""
    torch.manual_seed(0)
    return build_detector(DetectorSettings(detector=name, **settings), space)
