"""The numbers that a run computes with; needs torch alone, for `lat doctor`, which Lightning Fabric would keep waiting."""

from __future__ import annotations

import torch

from lat.engine.training_settings import RuntimeSettings


def precision_of(runtime: RuntimeSettings) -> str:
    """What Fabric calls the precision of these settings on this machine: 32-true, 16-mixed or bf16-mixed."""
    if runtime.precision == "auto":
        has_bfloat16 = uses_cuda(runtime) and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if has_bfloat16 else "32-true"
    return "32-true" if runtime.precision == "tf32" else runtime.precision


def uses_cuda(runtime: RuntimeSettings) -> bool:
    """Whether these settings take a GPU of CUDA on this machine."""
    return runtime.device_kind in ("auto", "cuda") and torch.cuda.is_available()
