"""Street scenes, the embedded benchmark: drawn street images under three or four annotation protocols.

`scene` decides what is in a street, `shapes` what it looks like, `canvas` paints it back to front, `backdrop` draws
the street and each dataset's look, `protocols` labels a painted scene by each convention, `annotators` are the people who do so,
`benchmark` writes files.
"""

from lat.street_scenes.annotators import ANNOTATORS
from lat.street_scenes.benchmark import (
    DEFAULT_DATASETS,
    DEFAULT_TRAIN_IMAGES,
    DEFAULT_VAL_IMAGES,
    SceneSettings,
    draw_street_scenes,
    paint_image,
)
from lat.street_scenes.protocols import SPACES
from lat.street_scenes.scene import DIFFICULTIES

__all__ = [
    "ANNOTATORS",
    "DEFAULT_DATASETS",
    "DEFAULT_TRAIN_IMAGES",
    "DEFAULT_VAL_IMAGES",
    "DIFFICULTIES",
    "SPACES",
    "SceneSettings",
    "draw_street_scenes",
    "paint_image",
]
