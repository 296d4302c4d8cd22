"""Grounding DINO and MM-Grounding-DINO: all prompts in one text, each box scored against every token of it.

Source: Liu et al., Grounding DINO (2023); Zhao et al., An Open and Comprehensive Pipeline for Unified Object Grounding and
Detection (2024), whose code scores a class by the mean over its tokens, as this does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_convert

from lat.core.errors import InputError
from lat.detectors.promptable.asked import joined_scores


class _Text(NamedTuple):
    """Some prompts as one text: (T,) token ids, and (K, T) bool, which tokens are of which prompt."""

    token_ids: Tensor
    of_prompt: Tensor


class GroundingDinoAsking:
    """Texts of as many prompts as the model reads at once; several texts take several passes over an image."""

    def __init__(self, network: Any, processor: Any, prompts: Sequence[str]) -> None:
        self.image_processor = processor.image_processor
        self.texts = _texts(processor.tokenizer, prompts, network.config.max_text_len)

    def answers(self, network: Any, images: list[Tensor]) -> tuple[Tensor, Tensor]:
        device = network.device
        pixels = self.image_processor(images, do_rescale=False, return_tensors="pt", device=device).to(device)
        height, width = images[0].shape[-2:]
        scores, boxes = [], []
        for text in self.texts:
            token_ids = text.token_ids.to(device).expand(len(images), -1)
            output = network(**pixels, input_ids=token_ids, attention_mask=torch.ones_like(token_ids))
            of_tokens = output.logits.float()[..., : token_ids.shape[1]].sigmoid()  # tokens beyond the text are -inf
            weights = text.of_prompt.to(device).float()
            scores.append(of_tokens @ (weights / weights.sum(dim=1, keepdim=True)).T)
            size = output.pred_boxes.new_tensor([width, height, width, height])
            boxes.append(box_convert(output.pred_boxes, "cxcywh", "xyxy") * size)
        return joined_scores(scores), torch.cat(boxes, dim=1)


def _texts(tokenizer: Any, prompts: Sequence[str], longest: int) -> list[_Text]:
    """The prompts in order, each followed by a full stop, in as few texts of at most `longest` tokens as that takes."""
    stop = tokenizer(".", add_special_tokens=False)["input_ids"]
    tokens = [tokenizer(prompt.lower().replace(".", " "), add_special_tokens=False)["input_ids"] for prompt in prompts]
    texts: list[list[list[int]]] = [[]]
    room = longest - 2  # its first and its last token
    for prompt, ids in zip(prompts, tokens, strict=True):
        if not 0 < len(ids) + len(stop) <= longest - 2:
            raise InputError("prompts", f"'{prompt}' has {len(ids)} tokens; the text of this model has {longest}", "shorten it")
        if len(ids) + len(stop) > room:
            texts.append([])
            room = longest - 2
        texts[-1].append(ids)
        room -= len(ids) + len(stop)
    return [_text(tokenizer, members, stop) for members in texts]


def _text(tokenizer: Any, members: Sequence[Sequence[int]], stop: Sequence[int]) -> _Text:
    token_ids, spans = [tokenizer.cls_token_id], []
    for ids in members:
        spans.append(range(len(token_ids), len(token_ids) + len(ids)))
        token_ids += [*ids, *stop]
    token_ids.append(tokenizer.sep_token_id)
    of_prompt = torch.zeros(len(members), len(token_ids), dtype=torch.bool)
    for row, span in zip(of_prompt, spans, strict=True):
        row[span.start : span.stop] = True
    return _Text(torch.tensor(token_ids), of_prompt)
