"""Frozen DINOv2 backbones: one image at a time in float32, as a map on the CPU, against batches in bfloat16 on the device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from gpu_bench import Bench, mib, rounded
from markdown import Row

from lat.models.backbones.frozen import FrozenBackbone, build_backbone
from lat.models.model_settings import BackboneSettings

BATCH = 16
SIZE_HW, IMAGE_SIZE = (1080, 1920), 518  # what becomes 518 x 921 pixels


def feature_rows(bench: Bench) -> Iterator[Row]:
    """A row per size of DINOv2; only the smallest where all is small."""
    for letter in "s" if bench.small else "sbl":
        settings = BackboneSettings(name=f"dinov2_vit{letter}14", weights="none", image_size=28 if bench.small else IMAGE_SIZE)
        backbone = build_backbone(settings).to(bench.device)
        yield _row(bench, backbone, settings)
        del backbone


def _row(bench: Bench, backbone: FrozenBackbone, settings: BackboneSettings) -> Row:
    size_hw = (40, 64) if bench.small else SIZE_HW
    images = torch.rand(2 if bench.small else BATCH, 3, *size_hw)
    on_device = images.to(bench.device)

    def one() -> None:
        backbone.feature_maps(images[:1].to(bench.device)).cpu()

    def batch() -> None:
        with torch.autocast(bench.device.type, torch.bfloat16), torch.inference_mode():
            backbone.feature_maps(on_device)

    alone = 1 / bench.seconds(one)
    with bench.memory() as memory:
        together = len(images) / bench.seconds(batch)
    height, width = backbone.resized_hw(size_hw)
    return {
        "backbone": settings.name,
        "pixels": f"{width} x {height}",
        "float32, 1 at a time (images/s)": rounded(alone),
        f"bfloat16, {len(images)} at a time (images/s)": rounded(together),
        "ratio": round(together / alone, 1),
        "peak MiB": mib(memory),
    }
