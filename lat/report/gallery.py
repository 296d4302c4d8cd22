"""The galleries: for every source and target a few images, each with all that is known of its labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lat.data.dataset import DetectionDataset
from lat.data.label_table import LabelTable
from lat.errors import InputError
from lat.report.differences import Differences, find_differences
from lat.report.pictures import Frame, Rectangle, Tag, embed_image, place_tags, shorten
from lat.structures import LabeledBoxes

OPEN_LIST = 12
GLYPHS = {"kept": "", "moved": "→", "added": "+", "dropped": "×", "changed": "≠"}


@dataclass(frozen=True)
class ReportSettings:
    """What the report shows."""

    images_per_pair: int = 6  # images shown for each source and target: those with the most differences, then typical ones
    longest_side: int = 640  # pixels; larger images are scaled down to it
    ranked_images: int = 2000  # evenly spaced images of a source that are looked at when choosing those to show

    def __post_init__(self) -> None:
        for name, least in (("images_per_pair", 0), ("longest_side", 16), ("ranked_images", 1)):
            if getattr(self, name) < least:
                raise InputError(f"report.{name}", f"is {getattr(self, name)}", f"choose {least} or more")


@dataclass(frozen=True)
class Gallery:
    """One source and target: the source's images with all that is known of their labels.

    Attributes:
        source, target: names of the datasets.
        dataset: the training images of the source with their ground truth.
        pseudo: labels of those images by the target's upstream detector.
        transferred: transferred labels of those images, in the target's label space as `pseudo` is.
        truth: their known labels in the target's label space, or None.
    """

    source: str
    target: str
    dataset: DetectionDataset
    pseudo: LabelTable
    transferred: LabelTable
    truth: LabelTable | None = None


@dataclass(frozen=True)
class PanelBox:
    """One box as drawn: where, what its caption says, and what became of it ("" where nothing is compared)."""

    number: int
    name: str
    score: str
    area: Rectangle
    mark: str = ""
    previous_class: str = ""
    source_area: Rectangle | None = None
    crowd: bool = False
    tag: Tag | None = None

    @property
    def glyphs(self) -> str:
        """The signs that tell the marks apart without colour."""
        return (GLYPHS[self.mark] if self.mark else "") + (GLYPHS["changed"] if self.previous_class else "")

    @property
    def style(self) -> str:
        """Names of the style classes of its marks."""
        return " ".join([f"is-{self.mark}" if self.mark else "is-plain", *(["is-changed"] if self.previous_class else [])])

    @property
    def size(self) -> float:
        """Area, by which boxes are drawn one over another: the largest first."""
        return self.area.width * self.area.height

    @property
    def title(self) -> str:
        """All there is to say about the box, as its tooltip."""
        remarks = [
            self.mark,
            f"class changed from {self.previous_class}" if self.previous_class else "",
            "crowd" if self.crowd else "",
        ]
        return ", ".join(part for part in (f"{self.number}: {self.name} {self.score}".strip(), *remarks) if part)


@dataclass(frozen=True)
class Panel:
    """One view of an image."""

    title: str
    space: str
    boxes: tuple[PanelBox, ...]

    @property
    def class_counts(self) -> str:
        """How many boxes of each class: `3 car, 1 bus`."""
        counts = Counter(box.name for box in self.boxes if box.mark != "dropped")
        return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no boxes"


@dataclass(frozen=True)
class Picture:
    """One image of a gallery with its panels; `image_id` names its embedded pixels in the page."""

    image_id: str
    file_name: str
    frame: Frame
    panels: tuple[Panel, ...]
    counts: dict[str, int]

    @property
    def is_sparse(self) -> bool:
        """Whether the lists below all panels are short enough to stand open."""
        return max(len(panel.boxes) for panel in self.panels) <= OPEN_LIST


@dataclass(frozen=True)
class GalleryView:
    """All that the page shows of one source and target."""

    anchor: str
    source: str
    target: str
    pictures: tuple[Picture, ...]
    images: int
    has_truth: bool


@dataclass(frozen=True)
class EmbeddedImage:
    """One image of the page: its id there, its pixels as a data URI and where it lies in a panel."""

    id: str
    uri: str
    area: Rectangle


class EmbeddedImages:
    """The images of the page; one that several galleries show is held once."""

    def __init__(self, longest_side: int) -> None:
        self._longest_side = longest_side
        self._images: dict[tuple[str, int], EmbeddedImage] = {}

    def __iter__(self) -> Iterator[EmbeddedImage]:
        return iter(self._images.values())

    def add(self, dataset: DetectionDataset, i: int) -> str:
        """Embed image `i` of the dataset unless it already is; returns its id."""
        key = (dataset.name, i)
        if key not in self._images:
            uri = embed_image(dataset.image(i), self._longest_side)
            self._images[key] = EmbeddedImage(f"image-{len(self._images) + 1}", uri, Frame(dataset.size_hw(i)).image)
        return self._images[key].id


@dataclass(frozen=True)
class _Labels:
    """All labels of one image."""

    source: LabeledBoxes
    pseudo: LabeledBoxes
    transferred: LabeledBoxes
    truth: LabeledBoxes | None


class _AlignedLabels:
    """The tables of a gallery, read in the order of its dataset's images."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        ids = gallery.dataset.labels.image_ids
        self._pseudo = gallery.pseudo.index_of(ids)
        self._transferred = gallery.transferred.index_of(ids)
        self._truth = gallery.truth.index_of(ids) if gallery.truth else None

    def __getitem__(self, i: int) -> _Labels:
        gallery = self._gallery
        return _Labels(
            source=gallery.dataset.boxes(i),
            pseudo=gallery.pseudo.boxes(int(self._pseudo[i])),
            transferred=gallery.transferred.boxes(int(self._transferred[i])),
            truth=gallery.truth.boxes(int(self._truth[i])) if gallery.truth and self._truth is not None else None,
        )

    def differences(self, i: int) -> Differences:
        labels = self[i]
        return find_differences(labels.source, labels.pseudo, labels.transferred)


def view_gallery(anchor: str, gallery: Gallery, images: EmbeddedImages, settings: ReportSettings) -> GalleryView:
    """Choose a gallery's images, embed them and lay out their panels; `anchor` is its id in the page."""
    labels = _AlignedLabels(gallery)
    chosen = choose_images(gallery, settings)
    pictures = [_view_picture(gallery.dataset, i, labels[i], images) for i in chosen]
    return GalleryView(anchor, gallery.source, gallery.target, tuple(pictures), len(gallery.dataset), gallery.truth is not None)


def choose_images(gallery: Gallery, settings: ReportSettings) -> list[int]:
    """Indices of the images to show: two thirds those with the most differences, then those with the median number of them.

    Images without any box are shown only where nothing else is left. Ties go to the first image, so that the choice is
    always the same.
    """
    labels = _AlignedLabels(gallery)
    spaced = np.linspace(0, len(gallery.dataset) - 1, min(len(gallery.dataset), settings.ranked_images))
    differences = {int(i): labels.differences(int(i)) for i in spaced.round()}
    number = {i: len(found) for i, found in differences.items()}
    empty = {i: not (found.marks or found.dropped) for i, found in differences.items()}
    median = float(np.median([number[i] for i in number if not empty[i]] or [0]))
    typical = sorted(number, key=lambda i: (empty[i], abs(number[i] - median), i))
    most = sorted(number, key=lambda i: (empty[i], -number[i], i))
    first = most[: settings.images_per_pair - settings.images_per_pair // 3]
    return [*first, *(i for i in typical if i not in first)][: settings.images_per_pair]


def _view_picture(dataset: DetectionDataset, i: int, labels: _Labels, images: EmbeddedImages) -> Picture:
    frame = Frame(dataset.size_hw(i))
    differences = find_differences(labels.source, labels.pseudo, labels.transferred)
    panels = [
        _plain_panel("Source ground truth", labels.source, frame),
        _plain_panel("Pseudo-labels", labels.pseudo, frame, scored=True),
        _transferred_panel(labels, differences, frame),
    ]
    if labels.truth is not None:
        panels.append(_plain_panel("Truth", labels.truth, frame))
    return Picture(images.add(dataset, i), dataset.labels.file_names[i], frame, tuple(panels), differences.counts())


def _plain_panel(title: str, boxes: LabeledBoxes, frame: Frame, *, scored: bool = False) -> Panel:
    return Panel(title, boxes.space.name, _tagged([_panel_box(boxes, row, frame, scored) for row in range(len(boxes))], frame))


def _transferred_panel(labels: _Labels, differences: Differences, frame: Frame) -> Panel:
    """The transferred boxes with their marks, and in their place the source boxes that were dropped."""
    drawn = []
    for row, mark in enumerate(differences.marks):
        source_row = differences.source_rows[row]
        drawn.append(
            replace(
                _panel_box(labels.transferred, row, frame, True),
                mark=mark.value,
                previous_class=differences.previous_classes[row],
                source_area=frame.place(labels.source.boxes_xyxy[source_row].tolist()) if mark == "moved" else None,
            )
        )
    dropped = [replace(_panel_box(labels.source, row, frame, False), mark="dropped") for row in differences.dropped]
    drawn += [replace(box, number=len(drawn) + place) for place, box in enumerate(dropped, start=1)]
    return Panel("Transferred labels", labels.transferred.space.name, _tagged(drawn, frame))


def _panel_box(boxes: LabeledBoxes, row: int, frame: Frame, scored: bool) -> PanelBox:
    return PanelBox(
        number=row + 1,
        name=boxes.space.class_names[int(boxes.labels[row])],
        score=f"{float(boxes.scores[row]):.2f}" if scored else "",
        area=frame.place(boxes.boxes_xyxy[row].tolist()),
        crowd=float(boxes.weights[row]) == 0,
    )


def _tagged(boxes: Sequence[PanelBox], frame: Frame) -> tuple[PanelBox, ...]:
    texts = []
    for box in boxes:
        short = f"{box.glyphs}{box.number}"
        texts.append((f"{short} {shorten(box.name)}", short))
    tags = place_tags([box.area for box in boxes], texts, frame)
    return tuple(replace(box, tag=tag) for box, tag in zip(boxes, tags, strict=True))
