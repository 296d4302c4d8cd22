"""Label the images of one dataset in the spaces of the others: `pseudo_labels/S.T.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torchvision.ops import batched_nms

from lat.config.sections import PseudoLabelSettings
from lat.core.structures import LabeledBoxes
from lat.data.dataset import DetectionDataset
from lat.data.tensors import boxes_per_image
from lat.engine.progress import track
from lat.labelling.filters import FilterSettings
from lat.labels.coco.write import write_labels
from lat.stages.shared.detection import Predictor, batches_of, image_batches, load_detector
from lat.stages.shared.label_filters import choose_labels
from lat.workspace.workspace import Workspace


def pseudo_label(workspace: Workspace, source: str, spaces: Sequence[str]) -> None:
    """Run the upstream detectors of `spaces` on the training images of `source`; each image is decoded once for all.

    Source: Label-Aligned Transfer, section 3.1 (N(N-1) sets of pseudo-labels).
    """
    paths = {space: workspace.pseudo_labels(source, space) for space in spaces}
    _label_images(workspace, workspace.train_part(source), paths, f"pseudo-label {source}", workspace.config.pseudo_label.filter)


def label_held_out(workspace: Workspace, target: str, spaces: Sequence[str]) -> None:
    """Run the upstream detectors of `spaces`, the target's own among them, on the held-out images of a target.

    There the truth is known, so they show how far detectors and transferred labels can be trusted. They are not filtered:
    calibrations and the thresholds of filters are chosen by them.
    """
    paths = {space: workspace.held_out_labels(target, space) for space in spaces}
    _label_images(workspace, workspace.held_out_part(target), paths, f"label held-out {target}", FilterSettings())


def _label_images(
    workspace: Workspace, part: DetectionDataset, paths: Mapping[str, Path], title: str, chosen: FilterSettings
) -> None:
    """Write what the detector of each space finds on all images of a part and a filter keeps."""
    settings, processes = workspace.config.pseudo_label, workspace.processes
    models = {space: workspace.upstream_model(space) for space in paths}
    predictors = {space: Predictor(load_detector(path), workspace.fabric) for space, path in models.items()}
    found: dict[str, list[LabeledBoxes]] = {space: [] for space in paths}
    batches = batches_of(range(len(part)), settings.batch_size)
    labels = (
        {space: [keep_pseudo_labels(boxes, settings) for boxes in one.predict(images)] for space, one in predictors.items()}
        for images in image_batches(part, processes.share(batches))
    )
    with track(len(part), f"{title} in {', '.join(paths)}") as progress:
        for batch, by_space in zip(batches, processes.in_order(labels, len(batches)), strict=processes.is_first):
            for space, boxes in by_space.items():
                found[space] += boxes
            progress.advance(len(batch))

    def write() -> None:
        for space, boxes in found.items():
            held_out = boxes_per_image(workspace.read_held_out_labels(space, space)) if chosen.needs_held_out else []
            kept = choose_labels(workspace, space, boxes, chosen, held_out)
            info = {**workspace.label_info("pseudo_label", models[space]), **kept.info}
            write_labels(paths[space], part.labels, workspace.space(space), kept.boxes(boxes), info=info, provenance=None)

    processes.from_first(write)


def keep_pseudo_labels(boxes: LabeledBoxes, settings: PseudoLabelSettings) -> LabeledBoxes:
    """Detections with an area and a score of at least the threshold, after class-wise NMS, best first."""
    has_area = (boxes.boxes_xyxy[:, 2:] > boxes.boxes_xyxy[:, :2]).all(dim=1)
    boxes = boxes[has_area & (boxes.scores >= settings.score_threshold)]
    kept = batched_nms(boxes.boxes_xyxy, boxes.scores, boxes.labels, settings.nms_iou)
    return boxes[kept[: settings.max_detections]]
