"""What the page itself shows of one source and target; the gallery is read from data files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lat.report.first_sight import DOUBTFUL, FirstSight
from lat.report.flow import FlowView, class_flow, flow_view
from lat.report.gallery import Gallery
from lat.report.histograms import Histogram, score_histogram, size_histogram


@dataclass(frozen=True)
class PairView:
    """One source and target: counts over all images, and diagrams; `key` names its data files and its anchor in the page.

    `sight` is the image that the page shows first, or None.
    """

    key: str
    source: str
    target: str
    images: int
    shown: int
    boxes: int
    doubtful: int
    flow: FlowView | None
    histograms: tuple[Histogram, ...]
    has_truth: bool
    sight: FirstSight | None


def pair_view(
    key: str, gallery: Gallery, shown: int, changes: Mapping[str, Mapping[str, int]], sight: FirstSight | None = None
) -> PairView:
    """Arrange one gallery; `changes` has the matched boxes of all images as {source class: {target class: count}}."""
    human, transferred = gallery.dataset.labels, gallery.transferred
    return PairView(
        key=key,
        source=gallery.source,
        target=gallery.target,
        images=len(gallery.dataset),
        shown=shown,
        boxes=transferred.num_boxes,
        doubtful=int((gallery.doubt.boxes >= DOUBTFUL).sum()),
        flow=flow_view(class_flow(human, transferred, changes)),
        histograms=(score_histogram(gallery.pseudo, transferred), size_histogram(human, transferred)),
        has_truth=gallery.truth is not None,
        sight=sight,
    )
