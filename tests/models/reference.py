"""The label-transfer model once more, as slow and as plain as the text of the method: Python loops over float64 numbers.

Written from the description of the method, not from the code under test. Nothing is batched, padded or masked: what may not
take part in a sum is not in the loop. Boxes are lists [x1, y1, x2, y2], matrices are lists of rows.

Source: Label-Aligned Transfer, sections 3.2 and 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Vector = list[float]
Matrix = list[Vector]
Box = list[float]


def numbers(tensor: Tensor) -> Any:
    """A tensor as nested lists of float64 numbers."""
    return tensor.detach().double().tolist()


# --- boxes -------------------------------------------------------------------------------------------------------------------


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def shared_area(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def iou(a: Box, b: Box) -> float:
    shared = shared_area(a, b)
    union = area(a) + area(b) - shared
    return shared / union if union > 0 else 0.0


def clip(box: Box, size_hw: tuple[int, int]) -> Box:
    height, width = size_hw
    return [min(max(side, 0.0), float(limit)) for side, limit in zip(box, (width, height, width, height), strict=True)]


DELTA_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
LARGEST_LOG_RATIO = math.log(1000 / 16)


def centre_and_sides(box: Box) -> tuple[float, float, float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]


def encode(truth: Box, proposal: Box) -> Vector:
    """Deltas that lead from a proposal to a ground-truth box (Faster R-CNN, equation 2), weighted."""
    tx, ty, tw, th = centre_and_sides(truth)
    px, py, pw, ph = centre_and_sides(proposal)
    raw = ((tx - px) / pw, (ty - py) / ph, math.log(tw / pw), math.log(th / ph))
    return [weight * delta for weight, delta in zip(DELTA_WEIGHTS, raw, strict=True)]


def decode(deltas: Vector, proposal: Box) -> Box:
    px, py, pw, ph = centre_and_sides(proposal)
    dx, dy, dw, dh = (delta / weight for weight, delta in zip(DELTA_WEIGHTS, deltas, strict=True))
    x, y = px + dx * pw, py + dy * ph
    width, height = pw * math.exp(min(dw, LARGEST_LOG_RATIO)), ph * math.exp(min(dh, LARGEST_LOG_RATIO))
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


# --- privileged proposals ----------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """One labelled box of a space: what the generator is given."""

    box: Box
    label: int
    space: int
    scores: Vector | None = None  # over the classes of its space; None for ground truth
    weight: float = 1.0
    annotation_id: int = -1


@dataclass
class Proposal:
    box: Box
    class_scores: Vector
    confidence: float
    origin: str  # ground_truth, pseudo_label or background
    space: int
    annotation_id: int = -1


def propose(ground_truth: list[Row], pseudo_labels: list[Row], class_counts: list[int]) -> list[Proposal]:
    """Ground truth, then pseudo-labels, each with class scores at its space's place among all classes."""
    proposals = []
    for row in [*ground_truth, *pseudo_labels]:
        if row.weight == 0:
            continue
        class_scores = [0.0] * sum(class_counts)
        first = sum(class_counts[: row.space])
        if row.scores is None:
            class_scores[first + row.label] = 1.0
        else:
            for label, score in enumerate(row.scores):
                class_scores[first + label] = score
        origin = "ground_truth" if row.scores is None else "pseudo_label"
        confidence = 1.0 if row.scores is None else max(row.scores)
        proposals.append(Proposal(row.box, class_scores, confidence, origin, row.space, row.annotation_id))
    return proposals


@dataclass
class Draws:
    """The random numbers of one image, each uniform in [0, 1): rows are ground-truth boxes that are no don't-care."""

    drop: Vector
    hide_boxes: float
    jitter: Vector  # of the boxes that stay
    moves: Matrix  # of the boxes that stay, one number a side
    hide_classes: float


@dataclass
class Augmentation:
    """Probabilities of what training does to ground truth, and the largest move of a side as a share of the box's side."""

    jitter_probability: float
    jitter_scale: float
    drop_probability: float
    hide_ground_truth: float
    hide_class_vectors: float


def propose_for_training(
    ground_truth: list[Row],
    pseudo_labels: list[Row],
    class_counts: list[int],
    augmentation: Augmentation,
    draws: Draws,
    size_hw: tuple[int, int],
) -> list[Proposal]:
    """Proposals without their background boxes, given the random numbers."""
    usable = [row for row in ground_truth if row.weight > 0]
    kept = [row for row, drawn in zip(usable, draws.drop, strict=True) if drawn >= augmentation.drop_probability]
    if draws.hide_boxes < augmentation.hide_ground_truth:
        kept = []
    proposals = propose(kept, [], class_counts)
    for i, proposal in enumerate(proposals):
        if draws.jitter[i] < augmentation.jitter_probability:
            x1, y1, x2, y2 = proposal.box
            sides = (x2 - x1, y2 - y1, x2 - x1, y2 - y1)
            moved = [
                side + (2 * draws.moves[i][j] - 1) * augmentation.jitter_scale * sides[j] for j, side in enumerate(proposal.box)
            ]
            proposal.box = clip(moved, size_hw)
        if draws.hide_classes < augmentation.hide_class_vectors:
            proposal.class_scores = [0.0] * sum(class_counts)
    return proposals + propose([], pseudo_labels, class_counts)


# --- semantic feature fusion -------------------------------------------------------------------------------------------------


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def linear(layer: nn.Linear, x: Vector) -> Vector:
    weight, bias = numbers(layer.weight), numbers(layer.bias)
    return [dot(row, x) + b for row, b in zip(weight, bias, strict=True)]


def layer_norm(layer: nn.LayerNorm, x: Vector) -> Vector:
    mean = sum(x) / len(x)
    variance = sum((v - mean) ** 2 for v in x) / len(x)
    weight, bias = numbers(layer.weight), numbers(layer.bias)
    return [(v - mean) / math.sqrt(variance + layer.eps) * w + b for v, w, b in zip(x, weight, bias, strict=True)]


def softmax(logits: Vector) -> Vector:
    if not logits:
        return []
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / sum(powers) for power in powers]


def cap(weights: Vector, how: str, at: float) -> Vector:
    """Hold the largest weight of a row at or below `at`."""
    if how == "clamp":
        return [min(weight, at) for weight in weights]
    if how == "scale" and weights and max(weights) > at:
        return [weight * at / max(weights) for weight in weights]
    return weights


def may_attend(query: Proposal, key: Proposal, attend: str) -> bool:
    """Background boxes are no keys; with `overlapping` a key must overlap the query or be the query."""
    if key.origin == "background":
        return False
    return attend == "image" or query is key or iou(query.box, key.box) > 0


def fuse(module: Any, regions: Matrix, proposals: list[Proposal], num_datasets: int) -> Matrix:
    """LayerNorm(region feature + SA) of one image, with the weights and settings of a `SemanticFeatureFusion`."""
    settings = module.settings
    if settings.attention == "none":
        return [layer_norm(module.norm, region) for region in regions]
    class_values = [linear(module.class_value, proposal.class_scores) for proposal in proposals]
    region_values = [linear(module.region_value, region) for region in regions]
    keys = [linear(module.key, region) for region in regions]
    fused = []
    for i, region in enumerate(regions):
        columns = [j for j, key in enumerate(proposals) if may_attend(proposals[i], key, settings.attend)]
        query = linear(module.query, region)
        logits = [dot(query, keys[j]) / math.sqrt(len(query)) for j in columns]
        class_weights, region_weights = attention_rows(logits, [proposals[j].confidence for j in columns], settings, num_datasets)
        values = [0.0] * len(region)
        for column, j in enumerate(columns):
            for d in range(len(values)):
                values[d] += class_weights[column] * class_values[j][d] + region_weights[column] * region_values[j][d]
        if settings.residual:
            values = [x + v for x, v in zip(region, values, strict=True)]
        fused.append(layer_norm(module.norm, values))
    return fused


def attention_rows(logits: Vector, confidence: Vector, settings: Any, num_datasets: int) -> tuple[Vector, Vector]:
    """One row of weights for the class values and one for the region values, over the keys that a query may attend to."""
    class_weights = softmax(logits)
    if settings.attention == "standard":
        return class_weights, class_weights
    if settings.confidence == "multiply":
        confident = [logit * c for logit, c in zip(logits, confidence, strict=True)]
    else:
        confident = [logit + math.log(c) for logit, c in zip(logits, confidence, strict=True)]
    region_weights = softmax(confident)
    at = 1 / math.sqrt(num_datasets)
    if settings.cap_branch == "class":
        return cap(class_weights, settings.cap, at), region_weights
    return class_weights, cap(region_weights, settings.cap, at)


# --- the whole model on one image --------------------------------------------------------------------------------------------


def predict(model: Any, pooled: list[Any], proposals: list[Proposal]) -> tuple[Matrix, list[Matrix]]:
    """Logits and class-specific deltas of each proposal, from its pooled region (C, S, S)."""
    regions = []
    for region in pooled:
        x = [value for channel in region for row in channel for value in row]
        for layer in model.box_head.layers:
            if isinstance(layer, nn.Linear):
                x = [max(value, 0.0) for value in linear(layer, x)]
        regions.append(x)
    fused = fuse(model.fusion, regions, proposals, len(model.joint.spaces))
    logits = [linear(model.predictor.classes, x) for x in fused]
    flat = [linear(model.predictor.deltas, x) for x in fused]
    return logits, [[row[k : k + 4] for k in range(0, len(row), 4)] for row in flat]


def match(box: Box, ground_truth: list[Row], match_iou: float) -> tuple[Row | None, float]:
    """The ground-truth box that a proposal is to become, or None for background; and the proposal's weight in the losses."""
    best, best_iou = None, 0.0
    for row in ground_truth:
        if row.weight > 0 and iou(box, row.box) > best_iou:
            best, best_iou = row, iou(box, row.box)
    if best is not None and best_iou >= match_iou:
        return best, best.weight
    for row in ground_truth:
        if row.weight == 0 and area(box) > 0 and shared_area(box, row.box) / area(box) >= 0.5:
            return None, 0.0
    return None, 1.0


def smooth_l1(a: float, b: float) -> float:
    return (a - b) ** 2 / 2 if abs(a - b) < 1 else abs(a - b) - 0.5


def losses(
    predictions: list[tuple[Matrix, list[Matrix]]],
    proposals: list[list[Proposal]],
    ground_truth: list[list[Row]],
    spaces: list[int],
    class_counts: list[int],
    match_iou: float,
) -> tuple[float, float]:
    """Classification and box loss of a batch: weighted means over all proposals, and over all matched ones."""
    class_sum = class_weight = box_sum = box_weight = 0.0
    for (logits, deltas), image, truth, space in zip(predictions, proposals, ground_truth, spaces, strict=True):
        first = sum(class_counts[:space])
        for m, proposal in enumerate(image):
            row, weight = match(proposal.box, truth, match_iou)
            allowed = [*logits[m][first : first + class_counts[space]], logits[m][-1]]
            wanted = len(allowed) - 1 if row is None else row.label
            class_sum -= weight * math.log(softmax(allowed)[wanted])
            class_weight += weight
            if row is not None:
                targets = encode(row.box, proposal.box)
                predicted = deltas[m][first + row.label]
                box_sum += weight * sum(smooth_l1(p, t) for p, t in zip(predicted, targets, strict=True))
                box_weight += weight
    return class_sum / max(class_weight, 1.0), box_sum / max(box_weight, 1.0)


@dataclass
class Detection:
    box: Box
    label: int
    score: float
    class_scores: Vector
    proposal: int


def transfer(
    prediction: tuple[Matrix, list[Matrix]],
    proposals: list[Proposal],
    classes: range,
    size_hw: tuple[int, int],
    settings: Any,
) -> list[Detection]:
    """Labels of one image in the space whose joint class indices are `classes`, highest score first."""
    logits, deltas = prediction
    found = []
    for m, proposal in enumerate(proposals):
        scores = softmax([*(logits[m][k] for k in classes), logits[m][-1]])[:-1]
        for label, k in enumerate(classes):
            box = clip(decode(deltas[m][k], proposal.box), size_hw)
            if scores[label] >= settings.written_threshold and box[2] > box[0] and box[3] > box[1]:
                found.append(Detection(box, label, scores[label], scores, m))
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda d: -d.score):
        if all(other.label != detection.label or iou(other.box, detection.box) <= settings.nms_iou for other in kept):
            kept.append(detection)
    return kept[: settings.max_detections]
