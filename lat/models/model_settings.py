"""Settings of the label-transfer model: the features it sees, the proposals it learns from, its heads and its fusion."""

from __future__ import annotations

from dataclasses import dataclass

from lat.core.convnet_names import check_convnet_name
from lat.core.errors import InputError

DINOV2_PATCH = 14
DINOV2_MODELS = {
    f"dinov2_vit{letter}14{suffix}": f"vit_{size}_patch14{registers}_dinov2.lvd142m"
    for letter, size in (("s", "small"), ("b", "base"), ("l", "large"), ("g", "giant"))
    for suffix, registers in (("", ""), ("_reg", "_reg4"))
}
"""Names of timm by ours."""
BACKBONES = ("upstream", *DINOV2_MODELS, "random")
"""Names of frozen backbones beside those of timm's convolutional networks."""
IMAGES_AT_ONCE = {"s": 32, "b": 16, "l": 8, "g": 4}  # through DINOv2 on a GPU, by the size in the name; others have 16
CONVNET_STRIDES = (8, 16)  # of the two maps of a convolutional network
CACHES = ("memory", "disk", "none")
CACHE_DTYPES = ("float16", "float32")
LOSSES_OF_RELATIONS = ("class_relational_bce", "nll_plus")
CLASSIFICATION_LOSSES = ("masked_softmax", "null_bce", *LOSSES_OF_RELATIONS)


@dataclass(frozen=True)
class BackboneSettings:
    """Which frozen features the label-transfer model sees, and where they are kept.

    Raises:
        InputError: if a field has a value that it does not offer.
    """

    name: str = (
        "upstream"  # upstream (an upstream detector's own features), efficientnet_lite0 or another convolutional network of
    )
    # timm, dinov2_vit{s,b,l,g}14 (also with _reg), or random
    upstream_dataset: str = ""  # of upstream: whose detector; empty for the first dataset's
    weights: str = (
        "pretrained"  # of DINOv2 and convolutional networks: pretrained (downloaded once, but for efficientnet_lite0), a
    )
    # local file, or none (random weights)
    blocks: int = 1  # of DINOv2: blocks whose tokens are concatenated, spread evenly up to the last; 1 for the last alone
    image_size: int = 0  # shorter side in pixels to which images are resized before the backbone; 0 keeps their own size
    cache: str = "memory"  # where features are kept: memory, disk, or none (computed again at each use)
    cache_dtype: str = "float16"  # number format of kept features: float16 or float32

    def __post_init__(self) -> None:
        check_convnet_name("name", self.name, BACKBONES)
        for field, choices in (("cache", CACHES), ("cache_dtype", CACHE_DTYPES)):
            if getattr(self, field) not in choices:
                raise InputError(field, f"is '{getattr(self, field)}'", f"choose one of {', '.join(choices)}")
        if self.blocks < 1:
            raise InputError("blocks", f"is {self.blocks}", "choose 1 or more")
        if self.image_size < 0:
            what = f"is {self.image_size}"
            raise InputError("image_size", what, "give the shorter side in pixels, or 0 for the image's own size")
        if self.name in DINOV2_MODELS and self.image_size % DINOV2_PATCH:
            nearest = max(DINOV2_PATCH, round(self.image_size / DINOV2_PATCH) * DINOV2_PATCH)
            what = f"is {self.image_size}, not a multiple of DINOv2's patch side {DINOV2_PATCH}"
            raise InputError("image_size", what, f"give {nearest}")


def images_at_once(backbone: str) -> int:
    """The most images that go through a frozen backbone together on a GPU: enough to fill it, few enough for 24 GB."""
    is_dinov2 = backbone in DINOV2_MODELS
    return IMAGES_AT_ONCE[backbone.removeprefix("dinov2_vit")[0]] if is_dinov2 else 16


@dataclass(frozen=True)
class ProposalSettings:
    """How training proposals are made from ground truth and pseudo-labels; nothing of it acts at transfer."""

    jitter_probability: float = 0.5  # share of ground-truth boxes that are moved
    jitter_scale: float = 0.1  # largest move of a side, as a share of the box's width or height
    drop_probability: float = 0.05  # share of ground-truth boxes that are left out
    hide_ground_truth: float = 0.0  # share of images whose ground-truth boxes are all left out
    hide_class_vectors: float = 0.5  # share of images whose ground-truth boxes lose their class vector
    background_proposals: int = 8  # random boxes per image that teach what background looks like

    def __post_init__(self) -> None:
        for name in ("jitter_probability", "drop_probability", "hide_ground_truth", "hide_class_vectors"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(name, f"is {getattr(self, name)}", "choose a share between 0 and 1")
        if not 0.0 <= self.jitter_scale < 0.5:
            raise InputError("jitter_scale", f"is {self.jitter_scale}", "choose a share of at least 0 and below 0.5")
        if self.background_proposals < 0:
            raise InputError("background_proposals", f"is {self.background_proposals}", "choose 0 or more")


@dataclass(frozen=True)
class HeadSettings:
    """Size of the heads and how proposals are matched to ground truth."""

    pooled_size: int = 7  # side of the RoIAlign grid
    dim: int = 256  # channels of a region feature
    match_iou: float = 0.5  # smallest IoU of a proposal with the ground-truth box that it is matched to
    classification_loss: str = "masked_softmax"  # masked_softmax (the paper's) or null_bce; class_relational_bce and
    # nll_plus need `lat relations` first

    def __post_init__(self) -> None:
        for name in ("pooled_size", "dim"):
            if getattr(self, name) < 1:
                raise InputError(name, f"is {getattr(self, name)}", "choose 1 or more")
        if not 0.0 < self.match_iou <= 1.0:
            raise InputError("match_iou", f"is {self.match_iou}", "choose an IoU above 0 and at most 1")
        if self.classification_loss not in CLASSIFICATION_LOSSES:
            remedy = f"choose one of {', '.join(CLASSIFICATION_LOSSES)}"
            raise InputError("classification_loss", f"is '{self.classification_loss}'", remedy)


_FUSION_CHOICES = {
    "attention": ("sff", "standard", "none"),
    "attend": ("overlapping", "image"),
    "cap": ("scale", "clamp", "none"),
    "cap_branch": ("class", "feature"),
    "confidence": ("multiply", "add_log"),
}


@dataclass(frozen=True)
class FusionSettings:
    """How proposals of an image attend to each other."""

    attention: str = "sff"  # sff | standard (one softmax over both values, no cap, no confidence) | none
    attend: str = "overlapping"  # overlapping (only proposals with IoU > 0) | image (all proposals of the image)
    cap: str = "scale"  # how a row is held below 1/sqrt(N): scale the whole row | clamp its entries | none
    cap_branch: str = "class"  # the branch that the cap acts on: class | feature
    confidence: str = "multiply"  # how key confidence enters the feature branch: multiply the logit | add_log
    residual: bool = True  # add the fused values to the region feature instead of replacing it

    def __post_init__(self) -> None:
        for name, choices in _FUSION_CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(name, f"is '{getattr(self, name)}'", f"choose one of {', '.join(choices)}")
