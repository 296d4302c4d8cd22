"""The parts of a Faster R-CNN for each backbone: feature pyramid, proposal network, box head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torchvision.models import get_model_weights
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.poolers import LevelMapper

from lat.core.convnet_weights import read_pretrained
from lat.core.convnets import channels_of
from lat.core.errors import InputError
from lat.detectors.detector_settings import TORCHVISION_BACKBONES, DetectorSettings
from lat.detectors.region_pooling import SingleLevelRoIAlign
from lat.detectors.small_resnet import SmallResNet
from lat.detectors.torchvision.convnet_pyramid import ConvnetPyramid
from lat.detectors.torchvision.level_pooling import LevelsRoIAlign
from lat.detectors.torchvision.weighted_rcnn import FullPrecisionRPNHead, WeightedRegionProposalNetwork, WeightedRoIHeads


@dataclass(frozen=True)
class RcnnRecipe:
    """The parts that a backbone is combined with; lengths in pixels of the resized image."""

    strides: tuple[int, ...]  # of pyramid levels "0", "1", ..., finest first; images are padded to multiples of the last
    proposal_levels: tuple[str, ...]  # levels that carry anchors
    anchor_sizes: tuple[tuple[int, ...], ...]  # one tuple per proposal level, all of equal length
    pooled_levels: tuple[str, ...]  # levels that regions are pooled from
    head_channels: int  # width of the two layers of the box head
    top_proposals: tuple[int, int]  # most confident anchors per level before NMS, in training and prediction
    proposals: tuple[int, int]  # proposals per image after NMS, in training and prediction
    anchors_per_image: int  # anchors sampled from an image for the proposal loss
    regions_per_image: int  # regions sampled from an image for the box loss
    channels: int  # of every level


_SMALL = RcnnRecipe(
    strides=(4, 8, 16),
    proposal_levels=("1", "2"),
    anchor_sizes=((12, 20, 30), (44, 64, 90)),
    pooled_levels=("0",),
    head_channels=192,
    top_proposals=(200, 200),
    proposals=(64, 150),
    anchors_per_image=64,
    regions_per_image=64,
    channels=64,
)
_RESNET = RcnnRecipe(  # torchvision's own values
    strides=(4, 8, 16, 32),
    proposal_levels=("0", "1", "2", "3", "pool"),
    anchor_sizes=((32,), (64,), (128,), (256,), (512,)),
    pooled_levels=("0", "1", "2", "3"),
    head_channels=1024,
    top_proposals=(2000, 1000),
    proposals=(2000, 1000),
    anchors_per_image=256,
    regions_per_image=512,
    channels=256,
)
_LIGHT_WIDTH = 200  # channels at stride 16 up to which a network of timm counts as light


def recipe_of(backbone: str) -> RcnnRecipe:
    """torchvision's own recipe for its ResNets and heavy networks of timm, that of the small backbone for it and light ones.

    Raises:
        InputError: if it is a network of timm without such levels.
    """
    if backbone in TORCHVISION_BACKBONES:
        return _SMALL if backbone == "small" else _RESNET
    return _SMALL if channels_of("backbone", backbone, (16,))[0] <= _LIGHT_WIDTH else _RESNET


def build_detector_backbone(settings: DetectorSettings, *, download: bool) -> nn.Module:
    """The backbone with its feature pyramid.

    With `weights: none` nothing is frozen and norm layers train. With any other weights batch norms are frozen, and the
    last `trainable_layers` stages train. `download` False does not read ImageNet weights.

    Raises:
        InputError: if the weights are not found or cannot be downloaded.
    """
    if settings.backbone == "small":
        return SmallResNet()
    if settings.backbone not in TORCHVISION_BACKBONES:
        recipe, trainable = recipe_of(settings.backbone), None if settings.weights == "none" else settings.trainable_layers
        weights = read_pretrained("weights", settings.backbone) if download and settings.weights == "pretrained" else None
        has_extra_level = "pool" in recipe.proposal_levels
        shape = (settings.backbone, recipe.strides, recipe.channels)
        return ConvnetPyramid(*shape, has_extra_level=has_extra_level, trainable_layers=trainable, weights=weights)
    if settings.weights == "none":
        fpn: nn.Module = resnet_fpn_backbone(
            backbone_name=settings.backbone, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
        )
        return fpn
    fetched = get_model_weights(settings.backbone).DEFAULT if download and settings.weights == "pretrained" else None
    try:
        result: nn.Module = resnet_fpn_backbone(
            backbone_name=settings.backbone,
            weights=fetched,
            norm_layer=FrozenBatchNorm2d,
            trainable_layers=settings.trainable_layers,
        )
        return result
    except (OSError, RuntimeError) as error:  # no network, disk full, or checksum mismatch
        what = f"the weights of {settings.backbone} could not be downloaded ({error})"
        raise InputError("weights", what, "give the path of a local file") from error


def build_region_proposal_network(channels: int, recipe: RcnnRecipe) -> WeightedRegionProposalNetwork:
    """Proposal network with anchors of three shapes per size and torchvision's thresholds."""
    anchors = AnchorGenerator(recipe.anchor_sizes, ((0.5, 1.0, 2.0),) * len(recipe.anchor_sizes))
    return WeightedRegionProposalNetwork(
        anchors,
        FullPrecisionRPNHead(channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=recipe.anchors_per_image,
        positive_fraction=0.5,
        pre_nms_top_n=dict(zip(("training", "testing"), recipe.top_proposals, strict=True)),
        post_nms_top_n=dict(zip(("training", "testing"), recipe.proposals, strict=True)),
        nms_thresh=0.7,
    )


def build_roi_heads(
    channels: int,
    recipe: RcnnRecipe,
    regions_per_image: int,
    num_outputs: int,
    *,
    is_binary: bool = False,
    dropout: float = 0.0,
) -> WeightedRoIHeads:
    """Box head on RoIAlign 7 x 7 with `num_outputs` = K + 1 and torchvision's thresholds."""
    pool = _build_pool(recipe)
    return WeightedRoIHeads(
        pool,
        TwoMLPHead(channels * 7 * 7, recipe.head_channels),
        FastRCNNPredictor(recipe.head_channels, num_outputs),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=regions_per_image,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=0.0,  # the four parameters of torchvision's own post-processing, which is not used
        nms_thresh=1.0,
        detections_per_img=1,
        is_binary=is_binary,
        dropout=dropout,
    )


def _build_pool(recipe: RcnnRecipe) -> nn.Module:
    if len(recipe.pooled_levels) == 1:
        return SingleLevelRoIAlign(recipe.pooled_levels[0], recipe.strides[0])
    pool = LevelsRoIAlign(list(recipe.pooled_levels), output_size=7, sampling_ratio=2)
    # Set scales explicitly: the pooler infers them once from the first image, wrongly if that image was padded.
    pool.scales = [1.0 / stride for stride in recipe.strides]
    pool.map_levels = LevelMapper(recipe.strides[0].bit_length() - 1, recipe.strides[-1].bit_length() - 1)
    result: nn.Module = pool
    return result
