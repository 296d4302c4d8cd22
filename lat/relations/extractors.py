"""Feature extractors that are trained to find relations: a small head on frozen features, or a ResNet-18 on image crops."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from lat.relations.samples import LabeledSamples


def feature_head(samples: LabeledSamples, dim: int) -> nn.Sequential:
    """Two layers on flattened samples (B, ...), features (B, dim) with mean 0 and deviation 1 over the batch.

    Without a mean of their own, features carry no direction in which all classes rise together, so relations of one class do not
    lend support to those of another. With one, standalone classes are missed (graph edit distance 4 on handwritten digits).
    """
    inputs = math.prod(samples.inputs.shape[1:])
    layers = (nn.Flatten(), nn.Linear(inputs, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())
    return nn.Sequential(*layers, nn.BatchNorm1d(dim, affine=False))


def crop_resnet18(dim: int) -> nn.Module:
    """An untrained ResNet-18 on RGB crops (B, 3, H, W), features (B, dim) with mean 0 and deviation 1 over the batch."""
    network = resnet18(weights=None)
    network.fc = nn.Sequential(nn.Linear(network.fc.in_features, dim), nn.ReLU(), nn.BatchNorm1d(dim, affine=False))
    return network


@torch.no_grad()
def run_in_eval(model: nn.Module, inputs: Tensor, chunk: int = 1024) -> Tensor:
    """What a model with one output says of (N, ...) inputs, in eval mode, `chunk` at a time."""
    was_training = model.training
    model.eval()
    outputs = torch.cat([model(part) for part in inputs.split(chunk)])
    model.train(was_training)
    return outputs
