"""The annotation protocols: one painted scene, labelled by four conventions.

| protocol | after | boxes show | a rider and the two-wheeler are | not labelled |
|---|---|---|---|---|
| `city` | Cityscapes | the visible extent | two boxes | - |
| `nu` | nuImages | the full extent, cut at the border | one box of the two-wheeler's class | under 20 % visible |
| `way` | Waymo | the visible extent | one box: `cyclist`; `vehicle` for a motorcycle | parked bicycles |
| `bdd` | BDD100K | the visible extent, from the first to the last pixel | two boxes; the rider's includes the two-wheeler | - |

A box of `bdd` ends where its last pixel begins, one pixel short at the right and the bottom: its corners are pixel indices,
as in BDD100K's own files, without the + 1 that its converter adds. BDD100K's rider boxes do not include the two-wheeler; they do
here to add a fourth way to box a rider.

No protocol labels boxes with fewer than `MIN_VISIBLE_PIXELS` visible pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lat.core.label_space import LabelSpace
from lat.street_scenes.canvas import Extent
from lat.street_scenes.scene import Kind

MIN_VISIBLE_PIXELS = 24
NU_MIN_VISIBLE_SHARE = 0.2

# Ids have gaps and a different order in each space, as in the datasets that the protocols follow.
SPACES: dict[str, LabelSpace] = {
    space.name: space
    for space in (
        LabelSpace("city", ("car", "truck", "bus", "person", "rider", "bicycle", "motorcycle"), (26, 27, 28, 24, 25, 33, 32)),
        LabelSpace("nu", ("adult", "child", "bicycle", "bus", "car", "motorcycle", "truck"), (2, 3, 14, 16, 17, 21, 23)),
        LabelSpace("way", ("vehicle", "pedestrian", "cyclist"), (1, 2, 4)),
        LabelSpace("bdd", ("pedestrian", "rider", "car", "truck", "bus", "motorcycle", "bicycle"), (1, 2, 3, 4, 5, 7, 8)),
    )
}


@dataclass(frozen=True, eq=False)
class PaintedUser:
    """A road user as painted: the extent of the vehicle or walking person, and of the rider if one rides it."""

    kind: Kind
    body: Extent
    rider: Extent | None = None

    @property
    def whole(self) -> Extent:
        """The extent of body and rider together."""
        return self.body if self.rider is None else self.body | self.rider


BoxXywh = tuple[float, float, float, float]


@dataclass(frozen=True)
class Annotation:
    """A labelled box: xywh in continuous pixels (x is the left edge of the first pixel column), area in pixels of the mask, or of
    the box if a person drew it."""

    class_name: str
    box_xywh: BoxXywh
    area: float


def annotate(users: Sequence[PaintedUser], protocol: str) -> list[Annotation]:
    """Label the road users of a scene under a protocol, in order."""
    label = {"city": _label_city, "nu": _label_nu, "way": _label_way, "bdd": _label_bdd}[protocol]
    box_of = _box_between_pixel_indices if protocol == "bdd" else _box_around
    labels = [one for user in users for one in label(user)]
    return [Annotation(class_name, box_of(mask), int(mask.sum())) for class_name, mask in labels]


LabeledMasks = Iterator[tuple[str, np.ndarray]]


def _label_city(user: PaintedUser) -> LabeledMasks:
    return _label_apart(user, "person", rider_takes_in_vehicle=False)


def _label_bdd(user: PaintedUser) -> LabeledMasks:
    return _label_apart(user, "pedestrian", rider_takes_in_vehicle=True)


def _label_apart(user: PaintedUser, walking: str, *, rider_takes_in_vehicle: bool) -> LabeledMasks:
    """A box of the vehicle or pedestrian, and one of the rider."""
    class_name = walking if user.kind in (Kind.ADULT, Kind.CHILD) else user.kind.value
    if _is_seen(user.body):
        yield class_name, user.body.visible
    if user.rider is not None and _is_seen(user.rider):
        yield "rider", (user.whole if rider_takes_in_vehicle else user.rider).visible


def _label_nu(user: PaintedUser) -> LabeledMasks:
    if _is_seen(user.whole) and user.whole.visible_share >= NU_MIN_VISIBLE_SHARE:
        yield user.kind.value, user.whole.full


def _label_way(user: PaintedUser) -> LabeledMasks:
    if user.kind is Kind.BICYCLE:
        class_name = "" if user.rider is None else "cyclist"
    else:
        class_name = "pedestrian" if user.kind in (Kind.ADULT, Kind.CHILD) else "vehicle"
    if class_name and _is_seen(user.whole):
        yield class_name, user.whole.visible


def _is_seen(extent: Extent) -> bool:
    return int(extent.visible.sum()) >= MIN_VISIBLE_PIXELS


def _box_around(mask: np.ndarray) -> BoxXywh:
    """The box of all pixels of a mask (H, W) bool: from the left edge of the first pixel to the right edge of the last."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    x, y = float(columns[0]), float(rows[0])
    return x, y, columns[-1] + 1.0 - x, rows[-1] + 1.0 - y


def _box_between_pixel_indices(mask: np.ndarray) -> BoxXywh:
    """The box from the index of the first pixel to that of the last; sides are at least one pixel long."""
    x, y, width, height = _box_around(mask)
    return x, y, max(width - 1.0, 1.0), max(height - 1.0, 1.0)
