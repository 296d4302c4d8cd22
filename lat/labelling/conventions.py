"""Box conventions: how two protocols draw the same objects differently, and how far each measurement of a box can be trusted.

Shape letters: N boxes, K_s and K_t classes of the source's and of the target's label space. Sides and offsets are those of
`lat.labelling.box_pairs`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import pi
from typing import Self

import torch
from torch import Tensor

from lat.core.boxes import clip_to_images
from lat.labelling.box_pairs import on_border, sides_of

MIN_SPREAD = 0.01  # nobody follows a convention more closely than this, as a share of a box's side


@dataclass(frozen=True, eq=False)
class BoxConventions:
    """For each source class and target class, how a box of the one becomes a box of the other; `estimate_conventions` finds it.

    Attributes:
        offsets: (K_s, K_t, 4) float32, the systematic difference; 0 where none is certain.
        human_variance: (K_s, K_t, 4) float32, variance of a moved human box around the target's box, as a share of its side; inf
            where too few pairs were seen.
        detector_variance: (K_t, 4) float32, the same of a box of the target's detector.
        detector_bias: (K_t, 4) float32, by how much the target's detector is off on images of the source.
        exceptions: (K_s, K_t, 4) float32 in [0, 1], share of boxes with a side that does not follow the convention at all, such
            as the hidden side of an object where one protocol draws the visible part and the other the full extent.
    """

    offsets: Tensor
    human_variance: Tensor
    detector_variance: Tensor
    detector_bias: Tensor
    exceptions: Tensor

    @classmethod
    def unknown(cls, num_source: int, num_target: int) -> Self:
        """Nothing is known: no human box is kept."""
        unseen = torch.full((num_source, num_target, 4), float("inf"))
        nothing, none = torch.zeros(num_source, num_target, 4), torch.zeros(num_target, 4)
        return cls(nothing, unseen, torch.full((num_target, 4), MIN_SPREAD**2), none, nothing.clone())

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return type(self)(*(getattr(self, one.name).to(device) for one in fields(self)))

    def without_exceptions(self, of_classes: Tensor) -> Self:
        """The same where every side of some classes, (K_s, K_t) bool, follows the convention."""
        return replace(self, exceptions=self.exceptions.masked_fill(of_classes[..., None], 0.0))

    def moved(self, boxes_xyxy: Tensor, source_labels: Tensor, target_labels: Tensor, sizes_hw: Tensor) -> Tensor:
        """Source boxes (N, 4) as the target's protocol draws them; sides on the border of the image (N, 2) stay there."""
        return _shifted(boxes_xyxy, self.offsets[source_labels, target_labels], sizes_hw)

    def unbiased(self, boxes_xyxy: Tensor, target_labels: Tensor, sizes_hw: Tensor) -> Tensor:
        """Boxes (N, 4) of the target's detector on images of the source (N, 2), without its bias there."""
        return _shifted(boxes_xyxy, -self.detector_bias[target_labels], sizes_hw)

    def human_share(self, moved_xyxy: Tensor, drawn_xyxy: Tensor, source_labels: Tensor, target_labels: Tensor) -> Tensor:
        """(N, 4) in [0, 1]: the weight of the human box in each side; the box that networks drew has the rest.

        Where every box follows the convention, the weights are inverse variances. Where some do not, a side is the likelier to
        be such an exception the further away networks draw it (Bayes; the side of an exception is at a random position within
        the box's size).

        Args:
            moved_xyxy: (N, 4) the human boxes, moved to the target's convention.
            drawn_xyxy: (N, 4) the boxes that the target's detector and the model drew.
            source_labels: (N,) int64.
            target_labels: (N,) int64.
        """
        ours = self.human_variance[source_labels, target_labels].clamp(min=MIN_SPREAD**2)
        theirs = self.detector_variance[target_labels].clamp(min=MIN_SPREAD**2)
        both = ours + theirs
        apart = ((moved_xyxy - drawn_xyxy) / sides_of(moved_xyxy)).square()
        follows = (1 - self.exceptions[source_labels, target_labels]) * torch.exp(-apart / (2 * both)) / (2 * pi * both).sqrt()
        odds_against = self.exceptions[source_labels, target_labels] / follows.nan_to_num(0.0).clamp(min=1e-12)
        return theirs / both / (1 + odds_against)


def _shifted(boxes_xyxy: Tensor, offsets: Tensor, sizes_hw: Tensor) -> Tensor:
    """Boxes (N, 4) with their sides moved by offsets (N, 4); those on the border of the image (N, 2) stay there."""
    shift = (offsets * sides_of(boxes_xyxy)).masked_fill(on_border(boxes_xyxy, sizes_hw), 0.0)
    return clip_to_images(boxes_xyxy + shift, sizes_hw)
