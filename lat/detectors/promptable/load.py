"""Load a promptable model from a folder or the hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.detectors.base import transformers_problem
from lat.detectors.promptable.detector import FAMILIES, PromptableDetector

ALIASES = {
    "grounding_dino": "IDEA-Research/grounding-dino-tiny",
    "mm_grounding_dino": "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg",
    "owlv2": "google/owlv2-base-patch16-ensemble",
    "sam3": "facebook/sam3",
}
"""Short names of models on the hub. SAM 3 asks you to accept its licence there first."""


def load_promptable(model: str, space: LabelSpace, prompts: Sequence[str], threshold: float) -> PromptableDetector:
    """The detector, in eval mode on the CPU, in float32.

    Args:
        model: a key of `ALIASES`, a folder that `save_pretrained` wrote for model and processor, or a name on the hub.
        space: a class for each prompt.
        prompts: texts.
        threshold: detections with a lower score are dropped.

    Raises:
        InputError: if transformers does not import, or the model cannot be read, is of no known family or lacks weights.
    """
    if (problem := transformers_problem()) is not None:
        raise InputError("--model", f"needs transformers, which does not import ({problem})", "install lat-detection[detr]")
    name = ALIASES.get(model, model)
    network, processor = _fetched(name)
    return PromptableDetector(network, processor, space, prompts, threshold).eval()


def _fetched(name: str) -> tuple[Any, Any]:
    import torch
    import transformers

    from lat.detectors.transformers.detr_config import not_fetched

    try:
        kind = transformers.AutoConfig.from_pretrained(name).model_type
    except Exception as error:  # a damaged file may raise anything
        raise not_fetched(name, error) from error
    if kind not in FAMILIES:
        raise InputError("--model", f"{name} is {kind or 'of no model type'}", f"choose one that is {', '.join(FAMILIES)}")
    library: Any = transformers.Sam3Model if kind == "sam3" else transformers.AutoModelForZeroShotObjectDetection
    try:
        with _without_progress():
            network, report = library.from_pretrained(name, dtype=torch.float32, output_loading_info=True)
            processor = transformers.AutoProcessor.from_pretrained(name)
    except Exception as error:
        raise not_fetched(name, error) from error
    if absent := sorted(report["missing_keys"]):
        raise InputError("--model", f"{name} has no weights for {absent[0]} and {len(absent) - 1} more", "name a whole model")
    return network, processor


@contextmanager
def _without_progress() -> Iterator[None]:
    """The library draws no bars of its own."""
    from transformers.utils import logging

    was_drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_drawn:
            logging.enable_progress_bar()
