"""OWLv2: each prompt is a query of its own, and each cell of the image has a box and a score for every query.

Source: Minderer et al., Scaling Open-Vocabulary Object Detection (2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchvision.ops import box_convert

from lat.detectors.promptable.asked import padded_texts, pixel_values

TEMPLATE = "a photo of a {}"
"""What the model was trained to read a class name in."""


class Owlv2Asking:
    """The prompts as queries."""

    def __init__(self, network: Any, processor: Any, prompts: Sequence[str]) -> None:
        self.image_processor = processor.image_processor
        texts = [TEMPLATE.format(prompt) for prompt in prompts]
        self.queries = padded_texts(processor.tokenizer, texts, network.config.text_config.max_position_embeddings)

    def answers(self, network: Any, images: list[Tensor]) -> tuple[Tensor, Tensor]:
        device, count = network.device, len(images)
        queries = {name: self.queries[name].to(device).repeat(count, 1) for name in ("input_ids", "attention_mask")}
        output = network(pixel_values=pixel_values(self.image_processor, images, device), **queries)
        longer = max(images[0].shape[-2:])  # the image is padded to a square, of which boxes are shares
        return output.logits.float().sigmoid(), box_convert(output.pred_boxes, "cxcywh", "xyxy") * longer
