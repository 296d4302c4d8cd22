"""The gain of caching frozen features: steps per second of label-transfer training with and without the cache.

Both columns train the same heads on the same batches; "recomputed" first runs the frozen backbone on each batch of images. Images
are random pixels in memory and proposals are random boxes: neither costs more than in a real run. The column "fill" is a one-time
cost per image, and again per mirrored image.

    python benchmarks/label_transfer_training.py [--device cuda] [--json FILE]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from markdown import Row, print_rows
from torch import Tensor

from lat.config.sections import LabelTransferSettings
from lat.core.label_space import JointLabelSpace, LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.base import build_detector
from lat.detectors.detector_settings import DetectorSettings
from lat.models.backbones.frozen import FrozenBackbone, build_backbone
from lat.models.feature_cache import FeatureCache
from lat.models.label_transfer_model import LabelTransferModel, TransferInput
from lat.models.model_settings import BackboneSettings, FusionSettings, HeadSettings, ProposalSettings
from lat.models.proposals import PrivilegedProposalGenerator
from lat.street_scenes import DEFAULT_DATASETS, SPACES

JOINT = JointLabelSpace(tuple(SPACES[name] for name in DEFAULT_DATASETS))
BATCH_SIZE = LabelTransferSettings().training.batch_size
BOXES_PER_SPACE = 10
DATASET = JOINT.names[0]


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    settings: BackboneSettings
    size_hw: tuple[int, int]
    recomputed_steps: int


CASES = (
    Case("upstream (small)", BackboneSettings(), (144, 192), 15),
    Case("DINOv2 ViT-S/14", BackboneSettings(name="dinov2_vits14", weights="none", image_size=518), (518, 518), 2),
)
CACHED_STEPS = 20


class RandomImages:
    """A batch of images of noise, as a source of the feature cache."""

    def __init__(self, size_hw: tuple[int, int]) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (BATCH_SIZE, 3, *size_hw), dtype=torch.uint8, generator=generator)

    def __len__(self) -> int:
        return len(self.images)

    def size_hw(self, index: int) -> tuple[int, int]:
        return self.images.shape[2], self.images.shape[3]

    def pixels(self, index: int) -> Tensor:
        return self.images[index]

    def image_path(self, index: int) -> Path:
        raise NotImplementedError("only a cache on disk needs files")


def random_boxes(space: LabelSpace, size_hw: tuple[int, int], generator: torch.Generator) -> LabeledBoxes:
    frame = torch.tensor([size_hw[1], size_hw[0]])
    sides = frame * (0.1 + 0.3 * torch.rand(BOXES_PER_SPACE, 2, generator=generator))
    corner = (frame - sides) * torch.rand(BOXES_PER_SPACE, 2, generator=generator)
    labels = torch.randint(len(space), (BOXES_PER_SPACE,), generator=generator)
    return LabeledBoxes(torch.cat([corner, corner + sides], dim=1), labels, space)


class Training:
    """Label-transfer training on one batch of images, with features from the function passed to `step`."""

    def __init__(self, backbone: FrozenBackbone, size_hw: tuple[int, int]) -> None:
        torch.manual_seed(0)
        self.device = backbone.device
        self.size_hw = size_hw
        self.scales = backbone.scales(size_hw)
        self.model = LabelTransferModel(JOINT, backbone.channels, HeadSettings(), FusionSettings()).to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.proposer = PrivilegedProposalGenerator(JOINT, ProposalSettings())
        self.generator = torch.Generator().manual_seed(0)

    def step(self, batch_of_maps: Callable[[], list[Tensor]]) -> None:
        """Proposals, features, losses, gradients, update."""
        images, truth = [], []
        for features in batch_of_maps():
            own, *others = (random_boxes(space, self.size_hw, self.generator) for space in JOINT.spaces)
            proposals = self.proposer.propose_for_training(own, others, self.size_hw, self.generator)
            images.append(TransferInput(features, self.scales, self.size_hw, proposals).to(self.device))
            truth.append(own.to(self.device))
        loss = sum(self.model.losses(images, truth).values(), torch.zeros((), device=self.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def seconds(action: Callable[[], object], repeats: int) -> float:
    """Mean duration of an action, after one uncounted warm-up."""
    action()
    synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        action()
    synchronize()
    return (time.perf_counter() - start) / repeats


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(case: Case, device: str) -> Row:
    upstream = build_detector(DetectorSettings(), JOINT.spaces[0]) if case.settings.name == "upstream" else None
    backbone = build_backbone(case.settings, upstream).to(device)
    source = RandomImages(case.size_hw)
    cache = FeatureCache(backbone, {DATASET: source}, case.settings)
    start = time.perf_counter()
    cache.fill(flips=(False,))
    fill = (time.perf_counter() - start) / BATCH_SIZE
    training = Training(backbone, case.size_hw)
    cached = seconds(lambda: training.step(lambda: [cache.get(DATASET, i) for i in range(BATCH_SIZE)]), CACHED_STEPS)
    recomputed = seconds(lambda: training.step(lambda: list(backbone.feature_maps(source.images))), case.recomputed_steps)
    return {
        "backbone": case.name,
        "image": f"{case.size_hw[1]} x {case.size_hw[0]}",
        "cached (steps/s)": round(1 / cached, 2),
        "recomputed (steps/s)": round(1 / recomputed, 3),
        "ratio": round(recomputed / cached, 1),
        "fill (s/image)": round(fill, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    rows = [measure(case, options.device) for case in CASES]
    print(f"Batches of {BATCH_SIZE} images, {options.device}, {torch.get_num_threads()} threads\n")
    print_rows("label_transfer_training", rows, options.json)


if __name__ == "__main__":
    main()
