"""A promptable detector behind `predict`, as the detectors that `lat` trains are.

Shape letters: B images of one size, Q boxes, K prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from lat.core.label_space import LabelSpace
from lat.core.lazy_table import LazyTable
from lat.core.structures import LabeledBoxes
from lat.detectors.detections import indices_by_size, inference, is_solid
from lat.detectors.detector_settings import DetectorSettings

MOST_BOXES = 300
"""Boxes kept of an image before those of one class suppress each other, best first."""


class Asking(Protocol):
    """How the models of one family are asked, and what their answers mean."""

    def __init__(self, network: Any, processor: Any, prompts: Sequence[str]) -> None:
        """Make the prompts into what the network reads."""

    def answers(self, network: Any, images: list[Tensor]) -> tuple[Tensor, Tensor]:
        """What it sees on images (3, H, W) of one size.

        Returns:
            (B, Q, K) scores in [0, 1], of each box and prompt; and (B, Q, 4) xyxy in pixels of the images.
        """


FAMILIES: Mapping[str, type[Asking]] = LazyTable(
    {
        "grounding-dino": "lat.detectors.promptable.grounding_dino:GroundingDinoAsking",
        "mm-grounding-dino": "lat.detectors.promptable.grounding_dino:GroundingDinoAsking",
        "owlv2": "lat.detectors.promptable.owlv2:Owlv2Asking",
        "sam3": "lat.detectors.promptable.sam3:Sam3Asking",
    }
)
"""By `model_type` of transformers."""


class PromptableDetector(nn.Module):
    """A detector of the classes that prompts describe.

    Args:
        network: the library's model.
        processor: the library's processor of images and texts for it.
        space: a class for each prompt.
        prompts: K texts.
        threshold: detections with a lower score are dropped.
    """

    def __init__(self, network: Any, processor: Any, space: LabelSpace, prompts: Sequence[str], threshold: float) -> None:
        super().__init__()
        self.network, self.space, self.threshold = network, space, threshold
        self.asking = FAMILIES[network.config.model_type](network, processor, prompts)

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of each image on the CPU, best first, with `class_scores` (N, K), in pixels of the image.

        Images (3, H, W), float32 in [0, 1], run together with those of their size, so that a result does not depend on others.
        """
        found: dict[int, LabeledBoxes] = {}
        with inference(self):
            for indices in indices_by_size(images, DetectorSettings(image_size=0)):
                same = [images[i] for i in indices]
                size_hw = (same[0].shape[-2], same[0].shape[-1])
                scores, boxes = self.asking.answers(self.network, same)
                for index, of_image, at in zip(indices, scores.float().cpu(), boxes.float().cpu(), strict=True):
                    found[index] = self._kept(of_image, at, size_hw)
        return [found[index] for index in range(len(images))]

    def _kept(self, class_scores: Tensor, boxes_xyxy: Tensor, size_hw: tuple[int, int]) -> LabeledBoxes:
        """The boxes (Q, 4) of one image whose best class scores enough, of (Q, K) scores."""
        scores, labels = class_scores.max(dim=1)
        boxes_xyxy = clip_boxes_to_image(boxes_xyxy, size_hw)
        usable = is_solid(boxes_xyxy) & (scores >= self.threshold)
        best = scores.masked_fill(~usable, -1.0).argsort(descending=True, stable=True)[:MOST_BOXES]
        best = best[usable[best]]
        return LabeledBoxes(boxes_xyxy[best], labels[best], self.space, scores=scores[best], class_scores=class_scores[best])
