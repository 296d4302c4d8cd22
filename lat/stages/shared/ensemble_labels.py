"""What the detectors of a label space find together on a batch of images, and which of it becomes labels.

A CPU goes image by image. A device does all images at once; the program waits once for each detector and view of the images, and
once for the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.data.augment.transforms import mirror_boxes
from lat.detectors.detected import Detected, hand_out
from lat.detectors.detections import BatchedPrediction
from lat.detectors.device_ensemble import fuse_detected, keep_detected
from lat.detectors.ensemble import fuse_members
from lat.stages.shared.detection import Predictor
from lat.stages.shared.kept_detections import NMS_IOU, keep_of_images, keep_pseudo_labels


@dataclass(frozen=True, eq=False)
class Members:
    """The detectors of one label space.

    Attributes:
        predictors: at least one.
        mirrored: whether they are asked about mirror images too.
    """

    predictors: Sequence[Predictor]
    mirrored: bool

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """What all detect on each image, and with `mirrored` on its mirror image too; detections of one object averaged."""
        found = [one.predict(images) for one in self.predictors]
        if self.mirrored:
            seen = [one.predict(_mirrored(images)) for one in self.predictors]
            found += [[mirror_boxes(boxes, _size_hw(image)) for boxes, image in zip(each, images, strict=True)] for each in seen]
        return [fuse_members(boxes) for boxes in zip(*found, strict=True)]

    def detect(self, images: list[Tensor]) -> Detected:
        """The same where the images are, which is no CPU; all members must be `on_device`."""
        found = [one.detect(images) for one in self.predictors]
        if self.mirrored:
            widths = [image.shape[-1] for image in images]
            found += [one.detect(_mirrored(images)).mirrored(widths) for one in self.predictors]
        return fuse_detected(found)

    def on_device(self, image: Tensor) -> bool:
        """Whether they can leave what they find in an image on its device."""
        return image.device.type != "cpu" and all(isinstance(one.detector, BatchedPrediction) for one in self.predictors)


class ShardLabels:
    """The labels of the images of a shard, batch after batch.

    Args:
        wanted: detectors, and the score from which their detections are labels; the same detectors see the images once.
        most: labels of an image.
    """

    def __init__(self, wanted: Sequence[tuple[Members, float]], most: int) -> None:
        self.wanted, self.most = wanted, most
        self.members = {id(members): members for members, _ in wanted}
        self._found: dict[int, list[LabeledBoxes]] = {key: [] for key in self.members}  # by a CPU, which chooses in the end
        self._kept: list[list[LabeledBoxes]] = [[] for _ in wanted]  # by a device

    def add(self, images: list[Tensor]) -> None:
        """See some images, (3, H, W) float32 in [0, 1], at least one, all on one device."""
        if all(members.on_device(images[0]) for members in self.members.values()):
            for kept, of_batch in zip(self._kept, self._chosen_there(images), strict=True):
                kept += of_batch
            return
        for key, members in self.members.items():
            self._found[key] += members.predict(images)

    def kept(self, number: int, space: LabelSpace) -> tuple[LabeledBoxes, list[int]]:
        """The labels of all images for one of `wanted`, image after image, and how many there are on each."""
        members, threshold = self.wanted[number]
        if of_images := self._kept[number]:
            return LabeledBoxes.joined(of_images), [len(boxes) for boxes in of_images]
        return keep_of_images(self._found[id(members)], space, threshold, self.most)

    def _chosen_there(self, images: list[Tensor]) -> list[list[LabeledBoxes]]:
        """The labels of each image for each of `wanted`, chosen where the images are."""
        detected = {key: members.detect(images) for key, members in self.members.items()}
        kept = [keep_detected(detected[id(members)], threshold, self.most, NMS_IOU) for members, threshold in self.wanted]
        labels = [boxes for boxes in hand_out(kept) if boxes is not None]
        if len(labels) == len(self.wanted):
            return labels
        found = {key: members.predict(images) for key, members in self.members.items()}  # a chain of suppressions was very long
        return [
            [keep_pseudo_labels(boxes, threshold, self.most) for boxes in found[id(members)]]
            for members, threshold in self.wanted
        ]


def _mirrored(images: list[Tensor]) -> list[Tensor]:
    return [image.flip(-1) for image in images]


def _size_hw(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
