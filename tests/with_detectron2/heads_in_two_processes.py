"""The registered heads in as many processes as train together, with a different number of proposals in each."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.distributed as dist
from drawn_spaces import CITY, JOINT, make_cfg, randomise
from torch import Tensor

from lat.core.structures import LabeledBoxes
from lat.models.model_settings import ProposalSettings
from lat.models.proposals import PrivilegedProposalGenerator


def boxes_of_process(rank: int) -> LabeledBoxes:
    """2 boxes in the first process, 8 in the second."""
    draw = torch.Generator().manual_seed(rank)
    corner = 20 * torch.rand(2 + 6 * rank, 2, generator=draw)
    labels = torch.arange(len(corner)) % len(CITY)
    return LabeledBoxes(torch.cat([corner, corner + 4 + 8 * torch.rand(len(corner), 2, generator=draw)], dim=1), labels, CITY)


def losses_of(ranks: tuple[int, ...]) -> dict[str, Tensor]:
    """The losses of a batch of the images of some processes."""
    from detectron2.layers import ShapeSpec
    from detectron2.modeling import ROI_HEADS_REGISTRY
    from detectron2.structures import ImageList

    from lat.detectron2.conversion import instances_from_proposals

    heads = ROI_HEADS_REGISTRY.get("SemanticFeatureFusionROIHeads")(make_cfg(), {"map": ShapeSpec(channels=8, stride=4)}).train()
    randomise(heads)
    maps = torch.cat([torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(9 + rank)) for rank in ranks])
    truth = [boxes_of_process(rank) for rank in ranks]
    maker = PrivilegedProposalGenerator(JOINT, ProposalSettings())
    proposals = [instances_from_proposals(maker.propose(boxes, []), (32, 32)) for boxes in truth]
    images = ImageList(torch.zeros(len(ranks), 3, 32, 32), [(32, 32)] * len(ranks))
    return heads(images, {"map": maps}, proposals, truth)[1]


def write_losses(rank: int, folder: Path) -> None:
    """The losses of one of two processes that train together, as `RANK.json`."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    losses = {name: loss.item() for name, loss in losses_of((rank,)).items()}
    (folder / f"{rank}.json").write_text(json.dumps(losses))
    dist.destroy_process_group()
