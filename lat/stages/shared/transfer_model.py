"""The label-transfer model of a run: its inputs, the frozen features, the model itself and its output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lat.core.copies import to_device
from lat.core.decoded_proposals import Decoded
from lat.core.errors import InputError
from lat.core.structures import LabeledBoxes, Proposals
from lat.data.augment.transforms import mirror_boxes
from lat.data.dataset import DetectionDataset
from lat.data.read_ahead import read_ahead
from lat.data.tensors import boxes_of
from lat.engine.checkpoint import load_checkpoint
from lat.engine.runtime import laid_out
from lat.labels.table import LabelTable
from lat.models.backbones.frozen import FrozenBackbone, build_backbone
from lat.models.feature_cache import FeatureCache
from lat.models.label_transfer_model import LabelTransferModel, TransferInput
from lat.models.model_settings import BackboneSettings
from lat.models.proposals import PrivilegedProposalGenerator, counted_of_all
from lat.stages.shared.detection import load_detector
from lat.stages.shared.proposed import Proposed
from lat.stages.shared.relation_files import joint_relation_table
from lat.workspace.label_files import read_pseudo_labels
from lat.workspace.paths import require
from lat.workspace.reading import reading_threads
from lat.workspace.reviewed_labels import ReviewedImages
from lat.workspace.workspace import Workspace

TransferBatch = tuple[list[TransferInput], list[LabeledBoxes]]

TRANSFERRED_PER_BATCH = 16  # at transfer


def backbone_files(workspace: Workspace) -> tuple[Path, ...]:
    """The file of the upstream detector whose features the label-transfer model uses, if any."""
    model = workspace.paths.backbone_model
    return () if model is None else (model,)


def label_set_files(workspace: Workspace, names: Sequence[str]) -> tuple[Path, ...]:
    """The files of outside label sets that label the images of these datasets."""
    return tuple(path for one in workspace.config.label_sets for path in one.paths_for(names))


class TransferItems:
    """The training images of some datasets with ground truth and pseudo-labels, as the label-transfer model sees them.

    Args:
        workspace: the run.
        features: the frozen backbone's maps of the images.
        names: the datasets.
        reviewed: images with labels in another space that a person has decided on. Each is an item once more, behind those of
            the datasets, with the same proposals and these labels as ground truth.
    """

    def __init__(
        self, workspace: Workspace, features: FeatureCache, names: Sequence[str], reviewed: Sequence[ReviewedImages] = ()
    ) -> None:
        self.reviewed = reviewed
        self.features = features
        self.horizontal_flip = workspace.config.augmentation.horizontal_flip
        self.generator = PrivilegedProposalGenerator(workspace.data.joint, workspace.config.lat.proposals)
        self.parts = {name: workspace.data.train_part(name) for name in names}
        self.pseudo_labels: dict[str, list[LabelTable]] = {
            name: [read_pseudo_labels(workspace, name, space) for space in workspace.data.proposal_spaces(name)] for name in names
        }
        self._ends = np.cumsum([len(part) for part in self.parts.values()])
        self.num_own = int(self._ends[-1])
        self.proposed = {name: Proposed(partial(self._propose, name), len(part)) for name, part in self.parts.items()}

    def __len__(self) -> int:
        return self.num_own + sum(len(one.images) for one in self.reviewed)

    def item(self, index: int, generator: torch.Generator) -> tuple[TransferInput, LabeledBoxes]:
        """Image `index` with training proposals, sometimes mirrored, and its ground truth."""
        name, image = self._place(index)
        size_hw = self.parts[name].size_hw(image)
        flip = bool(torch.rand((), generator=generator) < self.horizontal_flip)
        boxes = self._boxes(name, image)
        boxes.append(self._truth(index, boxes[0]))
        human, *pseudo_labels, truth = [mirror_boxes(one, size_hw) for one in boxes] if flip else boxes
        proposals = self.generator.propose_for_training(human, pseudo_labels, size_hw, generator)
        return self._input(name, image, flip, proposals), truth

    def transfer_input(self, name: str, image: int) -> TransferInput:
        """An image with its unaugmented proposals."""
        return self._input(name, image, False, self.proposed[name][image])

    def _propose(self, name: str, images: range) -> list[Proposals]:
        tables = [self.parts[name].labels, *self.pseudo_labels[name]]
        human, *others = (table.select(np.arange(images.start, images.stop)) for table in tables)
        return self.generator.propose_for_images(counted_of_all(human), others, len(images))

    def collate(self, items: list[tuple[TransferInput, LabeledBoxes]]) -> TransferBatch:
        """The arguments of the model's `losses`."""
        return [image for image, _ in items], [boxes for _, boxes in items]

    def complete(self, batch: TransferBatch) -> TransferBatch:
        """The batch with the maps of all its images, for the main process."""
        return with_maps(self.features, batch[0]), batch[1]

    def _place(self, index: int) -> tuple[str, int]:
        """The dataset of item `index`, and the index of its image there."""
        if index < self.num_own:
            number = int(np.searchsorted(self._ends, index, side="right"))
            name = tuple(self.parts)[number]
            return name, index - int(self._ends[number]) + len(self.parts[name])
        found, place = self._reviewed(index)
        return found.source, int(found.images[place])

    def _truth(self, index: int, own: LabeledBoxes) -> LabeledBoxes:
        """What the model learns from item `index`: the image's own boxes, or those that a person decided on."""
        if index < self.num_own:
            return own
        found, place = self._reviewed(index)
        return found.truth(place)

    def _reviewed(self, index: int) -> tuple[ReviewedImages, int]:
        """The reviewed images that item `index`, which is no dataset's own, is of, and its place among them."""
        index -= self.num_own
        for one in self.reviewed:
            if index < len(one.images):
                return one, index
            index -= len(one.images)
        raise IndexError(index)

    def _boxes(self, name: str, image: int) -> list[LabeledBoxes]:
        return [self.parts[name].boxes(image), *(boxes_of(table, image) for table in self.pseudo_labels[name])]

    def _input(self, name: str, image: int, flip: bool, proposals: Any) -> TransferInput:
        return TransferInput(
            features=self.features.load(name, image, flip),
            scale_yx=self.features.scales(name, image),
            size_hw=self.parts[name].size_hw(image),
            proposals=proposals,
        )


def with_maps(features: FeatureCache, images: Sequence[TransferInput]) -> list[TransferInput]:
    """The images with the backbone's maps in place of pixels."""
    maps = features.complete([image.features for image in images])
    return [replace(image, features=one) for image, one in zip(images, maps, strict=True)]


def images_per_batch(workspace: Workspace) -> int:
    """How many images are transferred at once."""
    return workspace.config.runtime.images_per_batch or TRANSFERRED_PER_BATCH


def open_features(workspace: Workspace) -> FeatureCache:
    """The frozen backbone's features of all training images, shared by the stages of one process."""
    return _open_features(workspace, "", {name: workspace.data.train_part(name) for name in workspace.names})


def open_held_out_features(workspace: Workspace, target: str) -> FeatureCache:
    """The frozen backbone's features of a target's held-out images, shared by the stages of one process."""
    return _open_features(workspace, target, {target: workspace.data.held_out_part(target)})


def _open_features(workspace: Workspace, key: str, parts: dict[str, DetectionDataset]) -> FeatureCache:
    """Open a feature cache; when a round changes the backbone, the previous round's features are dropped."""
    kept, backbone_model = workspace.data.features, workspace.paths.backbone_model
    if any(model != backbone_model for model, _ in kept):
        kept.clear()
    if (backbone_model, key) not in kept:
        settings = workspace.config.lat.backbone
        backbone, readers = _frozen_backbone(workspace, settings), reading_threads(workspace)
        kept[backbone_model, key] = FeatureCache(backbone, parts, settings, workspace.paths.features, readers)
    return kept[backbone_model, key]


def sees_as_detector(workspace: Workspace) -> bool:
    """Whether the frozen backbone is an upstream detector that sees images at the size of its own training."""
    config = workspace.config
    resizes = not config.lat.backbone.image_size and config.upstream.model.image_size > 0
    return workspace.paths.backbone_model is not None and resizes


def _frozen_backbone(workspace: Workspace, settings: BackboneSettings) -> FrozenBackbone:
    """The frozen backbone on the run's device; unless `lat.backbone.image_size` says otherwise, an upstream detector sees images
    at the size it was trained on: the same shorter side, and no longer a longest side.
    """
    upstream, max_image_size = None, 0
    if workspace.paths.backbone_model is not None:
        upstream = load_detector(workspace.paths.backbone_model)
        if sees_as_detector(workspace):
            detector = workspace.config.upstream.model
            max_image_size, settings = detector.max_image_size, replace(settings, image_size=detector.image_size)
    backbone = build_backbone(settings, upstream, max_image_size=max_image_size)
    laid_out(backbone, workspace.fabric.device)
    backbone.precision = workspace.fabric.autocast
    return backbone.compiled() if workspace.config.runtime.is_compiled else backbone


def build_model(
    workspace: Workspace, channels: int, mean_over_processes: Callable[[Tensor], Tensor] = lambda value: value
) -> LabelTransferModel:
    """A new label-transfer model with the run's settings.

    Raises:
        InputError: if its classification loss needs relations that do not exist yet or are for other label spaces.
    """
    settings = workspace.config.lat
    relations = joint_relation_table(workspace)
    return LabelTransferModel(workspace.data.joint, channels, settings.head, settings.fusion, relations, mean_over_processes)


def load_model(workspace: Workspace, features: FeatureCache) -> LabelTransferModel:
    """The trained label-transfer model, in eval mode, on the run's device.

    Raises:
        InputError: if it was trained for other label spaces, other settings or another backbone.
    """
    path = require(workspace.paths.transfer_model, "lat train-lat")
    content = load_checkpoint(path, "label_transfer")
    if content.get("spaces") != [space.to_dict() for space in workspace.data.joint.spaces]:
        raise InputError(path, "was trained for other label spaces", "run `lat train-lat` again")
    if content.get("backbone") != features.backbone.weights_fingerprint:
        raise InputError(path, "was trained on the features of another backbone", "run `lat train-lat` again")
    model = build_model(workspace, features.backbone.channels)
    try:
        model.load_state_dict(content["model"])
    except (RuntimeError, LookupError, TypeError, AttributeError):
        raise InputError(path, "does not fit the settings of `lat`", "run `lat train-lat` again") from None
    workspace.fabric.to_device(model)
    return model.eval()


def decode_batches(
    workspace: Workspace,
    model: LabelTransferModel,
    input_of: Callable[[int], TransferInput],
    batches: Sequence[range],
    targets: Sequence[str],
    features: FeatureCache,
) -> Iterator[Decoded]:
    """The model's decoded proposals for each batch of images, by target, on the run's device; the next images are read
    meanwhile."""
    device = workspace.fabric.device

    def read(image: int) -> TransferInput:
        return input_of(image).pin_memory() if device.type == "cuda" else input_of(image)

    for batch in read_ahead(read, batches, reading_threads(workspace)):
        images = with_maps(features, batch)
        images = [replace(one, features=to_device(one.features, device)) for one in images]  # proposals follow in one copy
        with torch.no_grad(), workspace.fabric.autocast():
            decoded = model.decode(images, targets)
        yield decoded


class SourceDecoder:
    """The trained model on the training images of a dataset; both are loaded when the first batch is decoded.

    Args:
        workspace: the run.
        source: the dataset.
        targets: the datasets in whose spaces proposals are decoded.
    """

    def __init__(self, workspace: Workspace, source: str, targets: Sequence[str]) -> None:
        self.workspace, self.source, self.targets = workspace, source, targets

    def decode(self, batches: Sequence[range]) -> Iterator[Decoded]:
        """See `decode_batches`."""
        input_of = partial(self._items.transfer_input, self.source)
        return decode_batches(self.workspace, self._model, input_of, batches, self.targets, self._items.features)

    @cached_property
    def _items(self) -> TransferItems:
        return TransferItems(self.workspace, open_features(self.workspace), [self.source])

    @cached_property
    def _model(self) -> LabelTransferModel:
        return load_model(self.workspace, self._items.features)
