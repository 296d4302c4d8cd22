"""The page on how protocols differ: figures, and a picture per class with the box of one protocol and that of the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from markupsafe import Markup

from lat.data.dataset import DetectionDataset
from lat.evaluation.side_shifts import SIDES
from lat.report.crops import example_rows
from lat.report.page import content_hash, environment, joined_assets
from lat.report.pictures import embed_image

PAGE = "conventions.html"
STYLES = ("style.css", "pictures.css", "comparison.css", "conventions.css", "print.css")
MOST_PICTURES = 24  # of one source and target: those of the classes with most pairs
CROP_SIDE = 240  # pixels of the longest side of a crop
AROUND = 0.45  # of a box's sides that is shown around it


@dataclass(frozen=True)
class Rectangle:
    """A box in pixels of a picture."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class ConventionPicture:
    """An object of the source with its human box, and with the box that the target's protocol has there.

    Attributes:
        source_class, target_class: their classes.
        uri: the crop, as a data URI.
        width, height: of the crop, in pixels.
        own: the human box.
        other: the same with each side moved whose direction is beyond doubt.
        sentence: what the picture shows, for those who cannot see it.
    """

    source_class: str
    target_class: str
    uri: str
    width: int
    height: int
    own: Rectangle
    other: Rectangle
    sentence: str


def render_conventions(
    pairs: Sequence[Mapping[str, Any]], datasets: Mapping[str, DetectionDataset], pages: Mapping[str, str] | None = None
) -> str:
    """The page as HTML; all text that comes from files is escaped, and there is no script.

    Args:
        pairs: the figures of each source and target, as `lat conventions` writes them.
        datasets: training images by dataset, for the pictures.
        pages: URL of each page of the report that this one belongs to, by its title; None for no report.

    Raises:
        InputError: if an image is missing or cannot be decoded.
    """
    pictures = [list(_pictures(one, datasets[one["source"]])) for one in pairs]
    shares = [[(row, list(row["shares"].items())) for row in one["classes"]] for one in pairs]
    style = joined_assets(STYLES)
    template = environment().get_template("conventions.html.j2")
    return template.render(
        pairs=pairs,
        pictures=pictures,
        shares=shares,
        sides=tuple(SIDES),
        pages=pages or {},
        style=Markup(style),
        style_hash=content_hash(style),
    )


def _pictures(one: Mapping[str, Any], dataset: DetectionDataset) -> Iterator[ConventionPicture]:
    """A picture of each of the conventions with most pairs, in the order of the figures."""
    most = sorted(one["conventions"], key=lambda row: -row["pairs"])[:MOST_PICTURES]
    for row in (row for row in one["conventions"] if row in most):
        label = dataset.space.class_names.index(row["source_class"])
        if rows := example_rows(dataset, label):
            yield _picture(row, one, dataset, rows[len(rows) // 2])


def _picture(row: Mapping[str, Any], one: Mapping[str, Any], dataset: DetectionDataset, annotation: int) -> ConventionPicture:
    image = int(np.searchsorted(dataset.labels.offsets, annotation, side="right")) - 1
    own = dataset.labels.boxes_xyxy[annotation].astype(np.float64)
    other = moved_box(own, row["sides"])
    corner, uri, size_wh, scale = _crop(dataset, image, np.stack([own, other]))
    what = f"{row['source_class']} in {one['source']}, and as {row['target_class']} in {one['target']} would have it"
    ours, theirs = (_rectangle((box - corner) * scale, size_wh) for box in (own, other))
    return ConventionPicture(row["source_class"], row["target_class"], uri, *size_wh, own=ours, other=theirs, sentence=what)


def moved_box(box_xyxy: np.ndarray, sides: Mapping[str, Mapping[str, float] | None]) -> np.ndarray:
    """The box (4,) that the target has where the source has `box_xyxy` (4,).

    `sides` says by what percentage of the box the source's sides lie further out; those whose interval has 0 in it stay.
    """
    width, height = box_xyxy[2:] - box_xyxy[:2]
    moved = box_xyxy.copy()
    for place, (side, inwards) in enumerate(zip(SIDES, (width, height, -width, -height), strict=True)):
        shift = sides[side]
        if shift is not None and (shift["low"] > 0 or shift["high"] < 0):
            moved[place] += inwards * shift["median"] / 100
    return moved


def _crop(dataset: DetectionDataset, image: int, boxes_xyxy: np.ndarray) -> tuple[np.ndarray, str, tuple[int, int], float]:
    """The surroundings of boxes (2, 4): their left upper corner twice (4,), a data URI, width and height, and the scale."""
    height, width = dataset.size_hw(image)
    low, high = boxes_xyxy[:, :2].min(axis=0), boxes_xyxy[:, 2:].max(axis=0)
    margin = AROUND * (high - low)
    left, top = np.floor(np.maximum(low - margin, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(high + margin, (width, height))).astype(int)
    pixels = dataset.image(image)[:, top:bottom, left:right]
    scale = CROP_SIDE / max(right - left, bottom - top)
    size_wh = round((right - left) * scale), round((bottom - top) * scale)
    return np.array([left, top, left, top]), embed_image(_enlarged(pixels, size_wh), CROP_SIDE), size_wh, scale


def _enlarged(pixels: torch.Tensor, size_wh: tuple[int, int]) -> torch.Tensor:
    """The crop (3, h, w) at the size of the picture, so that small objects are not blurred by the browser."""
    resized = torch.nn.functional.interpolate(pixels[None], size=size_wh[::-1], mode="bilinear", antialias=True)
    return resized[0]


def _rectangle(box_xyxy: np.ndarray, size_wh: tuple[int, int]) -> Rectangle:
    """A box (4,) in pixels of a picture, cut off at its border."""
    left, top = np.clip(box_xyxy[:2], 0, size_wh).round(1).tolist()
    right, bottom = np.clip(box_xyxy[2:], 0, size_wh).round(1).tolist()
    return Rectangle(left, top, round(right - left, 1), round(bottom - top, 1))
