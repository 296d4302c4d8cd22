"""Trainable feature extractors: a small head on frozen features, or a ResNet-18 on image crops."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from lat.relations.relation_settings import RelationSearch
from lat.relations.samples import LabeledSamples


def build_extractor(samples: LabeledSamples, search: RelationSearch, is_normalized: bool = True) -> nn.Sequential:
    """What is trained below the heads, from samples (B, ...) to features (B, dim): by `features` one of the two below.

    Args:
        samples: samples of the input size.
        search: its `features` and `dim`.
        is_normalized: whether features get mean 0 and deviation 1 over the batch. With mean 0 they have no direction that raises
            all classes together, so relations of one class do not support those of another; otherwise standalone classes are
            missed (graph edit distance 4 on handwritten digits).
    """
    dim = search.training.dim
    body = crop_resnet18(dim) if search.settings.features == "crops" else feature_head(samples, dim)
    return nn.Sequential(body, nn.BatchNorm1d(dim, affine=False)) if is_normalized else nn.Sequential(body)


def feature_head(samples: LabeledSamples, dim: int) -> nn.Sequential:
    """Two layers on flattened samples (B, ...), features (B, dim)."""
    inputs = math.prod(samples.inputs.shape[1:])
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())


def crop_resnet18(dim: int) -> nn.Module:
    """An untrained ResNet-18 on RGB crops (B, 3, H, W), features (B, dim)."""
    network = resnet18(weights=None)
    network.fc = nn.Sequential(nn.Linear(network.fc.in_features, dim), nn.ReLU())
    result: nn.Module = network
    return result


@torch.no_grad()
def run_in_eval(model: nn.Module, inputs: Tensor, chunk: int = 1024) -> Tensor:
    """The outputs of a model for inputs (N, ...), in eval mode, `chunk` at a time."""
    was_training = model.training
    model.eval()
    outputs = torch.cat([model(part) for part in inputs.split(chunk)])
    model.train(was_training)
    return outputs
