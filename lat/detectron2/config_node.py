"""`MODEL.LAT` in a Detectron2 configuration: our own settings in capitals, and the label spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from detectron2.config import CfgNode

from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace, LabelSpace
from lat.labelling.labelling_settings import DecodeSettings
from lat.models.model_settings import DINOV2_MODELS, BackboneSettings, FusionSettings, HeadSettings, ProposalSettings

Settings = TypeVar("Settings")

_KINDS = (BackboneSettings, ProposalSettings, HeadSettings, FusionSettings, DecodeSettings)
_NOT_OFFERED = {"upstream_dataset", "cache", "cache_dtype"}  # they need a run, or more than one batch
_KEYS = {"name": "BACKBONE", "written_threshold": "SCORE_THRESHOLD"}  # all others are those of our fields in capitals
_SPACE_KEYS = ("NAME", "CLASS_NAMES", "CATEGORY_IDS")


@dataclass(frozen=True)
class ComponentSettings:
    """The checked settings of `MODEL.LAT`.

    Attributes:
        joint: all label spaces, in order.
        target: the output label space of inference unless an input names another; empty for none.
        weights_seed: of random weights of the backbone.
        box_loss_weight: weight of the box loss beside the classification loss.
    """

    joint: JointLabelSpace
    target: str
    backbone: BackboneSettings
    proposals: ProposalSettings
    head: HeadSettings
    fusion: FusionSettings
    decode: DecodeSettings
    weights_seed: int
    box_loss_weight: float


def add_lat_config(cfg: CfgNode) -> None:
    """Add `MODEL.LAT` with the defaults of `lat` to a Detectron2 configuration.

    Each field of `BackboneSettings` (but for its dataset and the feature cache), `ProposalSettings`, `HeadSettings`,
    `FusionSettings` and `DecodeSettings` is a key in capitals, except that a name is `BACKBONE` and the threshold is
    `SCORE_THRESHOLD`. Beside them stand `WEIGHTS_SEED`, `BOX_LOSS_WEIGHT`, `LABEL_SPACES`, a list of {NAME, CLASS_NAMES,
    CATEGORY_IDS}, whose ids are 1..K if left out, and `TARGET`, the label space in which inference answers.
    """
    node = CfgNode()
    for kind in _KINDS:
        for field in fields(kind):
            if field.name not in _NOT_OFFERED:
                node[_key(field.name)] = field.default
    node.BACKBONE = "dinov2_vits14"
    node.WEIGHTS_SEED = 0
    node.BOX_LOSS_WEIGHT = 1.0
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
    if backbone.name not in DINOV2_MODELS:
        raise InputError("MODEL.LAT.BACKBONE", f"is '{backbone.name}'", f"choose one of {', '.join(DINOV2_MODELS)}")
    return ComponentSettings(
        joint=joint,
        target=node.TARGET,
        backbone=backbone,
        proposals=_read(node, ProposalSettings),
        head=_read(node, HeadSettings),
        fusion=_read(node, FusionSettings),
        decode=_read(node, DecodeSettings),
        weights_seed=node.WEIGHTS_SEED,
        box_loss_weight=node.BOX_LOSS_WEIGHT,
    )


def _read(node: CfgNode, kind: type[Settings]) -> Settings:
    names = [field.name for field in fields(kind) if field.name not in _NOT_OFFERED]  # type: ignore[arg-type]
    try:
        return kind(**{name: node[_key(name)] for name in names})
    except InputError as error:
        raise InputError(f"MODEL.LAT.{_key(error.where)}", error.what, error.remedy) from None


def _key(name: str) -> str:
    return _KEYS.get(name, name.upper())


def _label_space(entry: Any) -> LabelSpace:
    where = "MODEL.LAT.LABEL_SPACES"
    if not isinstance(entry, dict) or not {"NAME", "CLASS_NAMES"} <= set(entry) <= set(_SPACE_KEYS):
        raise InputError(where, f"has the entry {entry!r}", "write NAME, CLASS_NAMES and optionally CATEGORY_IDS")
    names = [str(name) for name in entry["CLASS_NAMES"]]
    ids = entry.get("CATEGORY_IDS") or range(1, len(names) + 1)
    return LabelSpace(str(entry["NAME"]), tuple(names), tuple(int(category_id) for category_id in ids))
