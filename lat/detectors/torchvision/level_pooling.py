"""RoIAlign on several levels of a pyramid, each region from one of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_align

_OUTSIDE = -1e6  # pixels: no sample of a region there lies on a map


class LevelsRoIAlign(MultiScaleRoIAlign):
    """torchvision's, whose `scales` and `map_levels` are set; a device pools without waiting.

    torchvision asks which regions belong to a level, and a device would have to say how many. Here each level pools all regions,
    but those of other levels from outside of its map, where the kernel reads nothing and gives zeros, and the results are added.
    """

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Pooled regions (R, C, S, S) in the order of the images, from boxes (R_i, 4) in pixels; `image_shapes` is ignored."""
        levels = [x[name] for name in self.featmap_names]
        if levels[0].device.type == "cpu":
            on_host: Tensor = super().forward(x, boxes, image_shapes)
            return on_host
        image = torch.cat([of_image.new_full((len(of_image), 1), i) for i, of_image in enumerate(boxes)])
        regions, of_region = torch.cat(boxes), self.map_levels(boxes)[:, None]
        pooled = levels[0].new_zeros(())
        for number, (level, scale) in enumerate(zip(levels, self.scales, strict=True)):
            own = torch.where(of_region == number, regions, _OUTSIDE)
            pooled = pooled + roi_align(level, torch.cat([image, own], dim=1), self.output_size, scale, self.sampling_ratio)
        return pooled
