"""`MODEL.LAT` in a Detectron2 configuration: our own settings in capitals, and the label spaces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from detectron2.config import CfgNode

from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace, LabelSpace
from lat.labelling.keep_and_fuse import DecodeSettings
from lat.models.backbones.dinov2 import DINOV2_MODELS
from lat.models.backbones.frozen import BackboneSettings
from lat.models.feature_fusion import FusionSettings
from lat.models.label_transfer_model import HeadSettings
from lat.models.proposals import ProposalSettings

Settings = TypeVar("Settings")

_KINDS = (BackboneSettings, ProposalSettings, HeadSettings, FusionSettings, DecodeSettings)
_NOT_OFFERED = {"cache", "cache_dtype"}  # features are computed with each batch
_SPACE_KEYS = ("NAME", "CLASS_NAMES", "CATEGORY_IDS")


@dataclass(frozen=True)
class ComponentSettings:
    """The checked settings of `MODEL.LAT`.

    Attributes:
        joint: all label spaces, in order.
        target: the output label space of inference unless an input names another; empty for none.
    """

    joint: JointLabelSpace
    target: str
    backbone: BackboneSettings
    proposals: ProposalSettings
    head: HeadSettings
    fusion: FusionSettings
    decode: DecodeSettings


def add_lat_config(cfg: CfgNode) -> None:
    """Add `MODEL.LAT` with the defaults of `lat` to a Detectron2 configuration.

    Each field of `BackboneSettings` (except the feature cache), `ProposalSettings`, `HeadSettings`, `FusionSettings` and
    `DecodeSettings` is a key in capitals. More keys are `LABEL_SPACES`, a list of {NAME, CLASS_NAMES, CATEGORY_IDS}, whose ids
    default to 1..K, and `TARGET`, the output label space of inference.
    """
    node = CfgNode()
    for kind in _KINDS:
        for field in fields(kind):
            if field.name not in _NOT_OFFERED:
                node[field.name.upper()] = field.default
    node.BACKBONE = "dinov2_vits14"
    node.LABEL_SPACES = []
    node.TARGET = ""
    cfg.MODEL.LAT = node


def set_label_spaces(cfg: CfgNode, spaces: Sequence[LabelSpace]) -> None:
    """Write label spaces to `MODEL.LAT.LABEL_SPACES`, in the order of the joint label space."""
    cfg.MODEL.LAT.LABEL_SPACES = [
        dict(zip(_SPACE_KEYS, (space.name, list(space.class_names), list(space.category_ids)), strict=True)) for space in spaces
    ]


def read_lat_config(cfg: CfgNode) -> ComponentSettings:
    """The settings in `MODEL.LAT`.

    Raises:
        InputError: if our settings reject a value, the label spaces are missing or invalid, the target is not one of them, or the
            backbone is not a DINOv2.
    """
    if "LAT" not in cfg.MODEL:
        raise InputError("MODEL.LAT", "is not there", "call lat.detectron2.add_lat_config(cfg) before merging the file")
    node = cfg.MODEL.LAT
    joint = JointLabelSpace(tuple(_label_space(entry) for entry in node.LABEL_SPACES))
    if not joint.spaces:
        raise InputError("MODEL.LAT.LABEL_SPACES", "is empty", "list the label spaces, or call set_label_spaces(cfg, spaces)")
    if node.TARGET not in ("", *joint.names):
        raise InputError("MODEL.LAT.TARGET", f"is '{node.TARGET}'", f"choose one of {', '.join(joint.names)}")
    backbone = _read(node, BackboneSettings)
    if backbone.backbone not in DINOV2_MODELS:
        raise InputError("MODEL.LAT.BACKBONE", f"is '{backbone.backbone}'", f"choose one of {', '.join(DINOV2_MODELS)}")
    return ComponentSettings(
        joint=joint,
        target=node.TARGET,
        backbone=backbone,
        proposals=_read(node, ProposalSettings),
        head=_read(node, HeadSettings),
        fusion=_read(node, FusionSettings),
        decode=_read(node, DecodeSettings),
    )


def _read(node: CfgNode, kind: type[Settings]) -> Settings:
    names = [field.name for field in fields(kind) if field.name not in _NOT_OFFERED]  # type: ignore[arg-type]
    try:
        return kind(**{name: node[name.upper()] for name in names})
    except InputError as error:
        where = re.sub(r"\b(?:lat|transfer)\.(\w+)", lambda match: f"MODEL.LAT.{match[1].upper()}", error.where)
        raise InputError(where, error.what, error.remedy) from None


def _label_space(entry: Any) -> LabelSpace:
    where = "MODEL.LAT.LABEL_SPACES"
    if not isinstance(entry, dict) or not {"NAME", "CLASS_NAMES"} <= set(entry) <= set(_SPACE_KEYS):
        raise InputError(where, f"has the entry {entry!r}", "write NAME, CLASS_NAMES and optionally CATEGORY_IDS")
    names = [str(name) for name in entry["CLASS_NAMES"]]
    ids = entry.get("CATEGORY_IDS") or range(1, len(names) + 1)
    return LabelSpace(str(entry["NAME"]), tuple(names), tuple(int(category_id) for category_id in ids))
