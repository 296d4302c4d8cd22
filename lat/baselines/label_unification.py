"""Label unification: one detector over the joint label space, each image supervised only in its own space.

Any detector whose `losses` take `class_masks` can be trained on the batches of `UnifiedItems`, if built for
`joint_space_of` the label spaces; `SpaceView` then is a detector of one of them. Text embeddings instead of classifier
weights, which Plain-Det adds, are left out. Shape letters: N boxes of an image, K classes of the joint label space.

Source: Shi et al., Plain-Det (2024); Zhou et al., Simple Multi-dataset Detection (2022), its partitioned detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lat.core.label_space import JointLabelSpace, LabelSpace
from lat.core.structures import LabeledBoxes


def joint_space_of(joint: JointLabelSpace) -> LabelSpace:
    """All label spaces as one, named `joint`: classes are named `SPACE/CLASS`, in joint order, with category ids 1..K."""
    names = [f"{space.name}/{name}" for space in joint.spaces for name in space.class_names]
    return LabelSpace.from_names("joint", names)


class ImageItems(Protocol):
    """Images of one dataset with their boxes, as a detector trains on them."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def item(self, index: int, generator: torch.Generator) -> tuple[Any, LabeledBoxes]:
        """Image `index` (3, H, W), or what becomes it when it is moved, and its boxes, augmented at random from `generator`."""
        ...


class UnifiedItems:
    """Images of several datasets as one epoch, in which a dataset of n images has a share proportional to n^share_power.

    An epoch has n^p * m^(1 - p) items of such a dataset, where m is the size of the largest: every image comes at least once,
    all images of one dataset equally often, and the remaining items are drawn from them. Shares are exact per epoch, and hold
    on average in a batch.

    Args:
        parts: images of each dataset, with boxes in a space of `joint`.
        joint: the label spaces, in any order.
        share_power: share of a dataset ~ images^this: 0 equal shares, 0.5 by square root, 1 every image alike.
    """

    def __init__(self, parts: Sequence[ImageItems], joint: JointLabelSpace, share_power: float = 0.0) -> None:
        self.parts, self.joint = parts, joint
        self.space = joint_space_of(joint)
        self.counts = epoch_counts([len(part) for part in parts], share_power)
        self._ends = list(accumulate(self.counts))

    def __len__(self) -> int:
        return self._ends[-1]

    def item(self, index: int, generator: torch.Generator) -> tuple[Any, LabeledBoxes]:
        """An image of the dataset that item `index` of the epoch belongs to, and its boxes in that dataset's space."""
        which = next(i for i, end in enumerate(self._ends) if index < end)
        part = self.parts[which]
        place = index - (self._ends[which] - self.counts[which])
        if place >= self.counts[which] // len(part) * len(part):  # every image has come equally often: draw the rest
            place = int(torch.randint(len(part), (1,), generator=generator))
        return part.item(place % len(part), generator)

    def collate(self, items: list[tuple[Any, LabeledBoxes]]) -> tuple[list[Any], list[LabeledBoxes], list[Tensor]]:
        """Images, their boxes in the joint label space, and for each the supervised classes (K,) bool."""
        images, boxes = [image for image, _ in items], [one for _, one in items]
        masks = [self.joint.mask(one.space.name)[:-1] for one in boxes]
        return images, [to_joint_space(one, self.joint, self.space) for one in boxes], masks


def epoch_counts(sizes: Sequence[int], power: float) -> list[int]:
    """Items of each dataset in an epoch: round(size^power * largest^(1 - power)), at least its size."""
    assert min(sizes) > 0, "a dataset without images has no share"
    return [round(size**power * max(sizes) ** (1 - power)) for size in sizes]


def to_joint_space(boxes: LabeledBoxes, joint: JointLabelSpace, space: LabelSpace) -> LabeledBoxes:
    """The same boxes with their class in `space`, which is `joint_space_of(joint)`; class scores are dropped."""
    return replace(boxes, labels=boxes.labels + joint.offset(boxes.space.name), space=space, class_scores=None)


class SpaceView(nn.Module):
    """A detector of the joint label space as a `Detector` of one of its spaces.

    A Faster R-CNN (`softmax`) predicts a box for each class of a region, in the convention of that class's space, and its class
    scores and background sum to 1. The view keeps the boxes of its space and removes the other spaces' classes from the softmax,
    as in training: p_c becomes p_c / (1 - sum of p over the other spaces). Sigmoids (`null_bce`) are unchanged. A DETR predicts
    one box for all classes, with independent scores. Here every box takes its best class of this space.

    Args:
        detector: a `Detector` of `joint_space_of(joint)`.
        joint: the label spaces.
        name: the space to detect in.
        softmax: True for a Faster R-CNN, False for a DETR.
        sigmoids: True for a Faster R-CNN that was trained with `null_bce`; `softmax` is then True as well.
        score_threshold: boxes with a lower score in this space are left out.
    """

    def __init__(
        self,
        detector: nn.Module,
        joint: JointLabelSpace,
        name: str,
        *,
        softmax: bool,
        sigmoids: bool = False,
        score_threshold: float = 0.0,
    ) -> None:
        super().__init__()
        self.detector: Any = detector
        self.classes = joint.slice(name)
        self.space = joint.spaces[joint.index(name)]
        self.softmax, self.sigmoids, self.score_threshold = softmax, sigmoids, score_threshold

    def losses(self, images: list[Tensor], targets: list[LabeledBoxes]) -> dict[str, Tensor]:
        """Not implemented: train the detector of all spaces, not a view of one."""
        raise NotImplementedError

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections in this space alone, best first.

        The detector's own threshold and its number of detections per image act before, on all spaces together.
        """
        return [self._in_space(found) for found in self.detector.predict(images)]

    def _in_space(self, found: LabeledBoxes) -> LabeledBoxes:
        if self.softmax:
            found = found[(found.labels >= self.classes.start) & (found.labels < self.classes.stop)]
        all_scores = found.class_scores
        assert all_scores is not None
        class_scores = all_scores[:, self.classes]
        if self.softmax and not self.sigmoids:
            left = 1 - all_scores.sum(dim=1) + class_scores.sum(dim=1)
            class_scores = (class_scores / left.clamp(min=1e-6)[:, None]).clamp(max=1.0)
        if self.softmax:
            labels = found.labels - self.classes.start
        else:
            labels = class_scores.argmax(dim=1)
        scores = class_scores.gather(1, labels[:, None])[:, 0]
        order = scores.argsort(descending=True, stable=True)
        boxes = LabeledBoxes(found.boxes_xyxy, labels, self.space, scores=scores, class_scores=class_scores)
        return boxes[order[scores[order] >= self.score_threshold]]
