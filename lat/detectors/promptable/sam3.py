"""SAM 3: one prompt at a time; the features of the image are computed once for all.

Source: Carion et al., SAM 3: Segment Anything with Concepts (2025). A score is that of the box times that of the concept's being
there at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lat.detectors.promptable.asked import joined_scores, padded_texts, pixel_values


class Sam3Asking:
    """The prompts as texts."""

    def __init__(self, network: Any, processor: Any, prompts: Sequence[str]) -> None:
        self.image_processor = processor.image_processor
        self.texts = padded_texts(processor.tokenizer, prompts, network.config.text_config.max_position_embeddings)

    def answers(self, network: Any, images: list[Tensor]) -> tuple[Tensor, Tensor]:
        device, count = network.device, len(images)
        seen = network.get_vision_features(pixel_values=pixel_values(self.image_processor, images, device))
        height, width = images[0].shape[-2:]
        scores, boxes = [], []
        for token_ids, mask in zip(self.texts["input_ids"], self.texts["attention_mask"], strict=True):
            text = {"input_ids": token_ids.to(device).expand(count, -1), "attention_mask": mask.to(device).expand(count, -1)}
            output = network(vision_embeds=seen, **text)
            of_boxes = output.pred_logits.float().sigmoid()
            if output.presence_logits is not None:
                of_boxes = of_boxes * output.presence_logits.float().sigmoid().view(count, 1)
            scores.append(of_boxes[..., None])
            boxes.append(output.pred_boxes * output.pred_boxes.new_tensor([width, height, width, height]))
        return joined_scores(scores), torch.cat(boxes, dim=1)
