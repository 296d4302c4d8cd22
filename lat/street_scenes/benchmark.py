"""The files of the benchmark: images, annotations and truth of its datasets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.street_scenes.annotators import ANNOTATORS, IMAGES, annotate_by_hand, habits_of
from lat.street_scenes.backdrop import LOOKS
from lat.street_scenes.painting import paint_scene
from lat.street_scenes.protocols import SPACES, Annotation, PaintedUser, annotate
from lat.street_scenes.scene import DIFFICULTIES, IMAGE_SIZE_HW

DEFAULT_DATASETS = ("city", "nu", "way")
DEFAULT_TRAIN_IMAGES: Mapping[str, int] = {"city": 80, "nu": 200, "way": 200, "bdd": 200}
DEFAULT_VAL_IMAGES = 40
MARKER = "street_scenes.json"
# Image k of a split has id (and file name) first + k, whatever the number of images.
FIRST_IMAGE_IDS = {"train": 1, "val": 100_001, "test": 200_001}
MOST_IMAGES = 100_000


@dataclass(frozen=True)
class SceneSettings:
    """What is drawn.

    Attributes:
        difficulty: `easy` or `hard`.
        seed: an integer of at least 0.
        train_images: number of training images per dataset; by default 80 for city, 200 each for nu and way.
        val_images: number of validation images of every dataset, and of its test images.
        annotators: who annotates training and validation images: people, `real` or `careful` (see `annotators.py`), or somebody
            `exact`, who never errs. Truth and test annotations are always exact.

    Raises:
        InputError: if a value is out of range.
    """

    difficulty: str = "easy"
    seed: int = 0
    train_images: Mapping[str, int] = field(
        default_factory=lambda: {name: DEFAULT_TRAIN_IMAGES[name] for name in DEFAULT_DATASETS}
    )
    val_images: int = DEFAULT_VAL_IMAGES
    annotators: str = "real"

    def __post_init__(self) -> None:
        if self.difficulty not in DIFFICULTIES:
            raise InputError("difficulty", f"is '{self.difficulty}'", f"choose one of {', '.join(DIFFICULTIES)}")
        if self.seed < 0:
            raise InputError("seed", f"is {self.seed}", "choose an integer from 0")
        if unknown := sorted(set(self.train_images) - set(SPACES)):
            raise InputError("train_images", f"names the dataset '{unknown[0]}'", f"choose among {', '.join(SPACES)}")
        for name, count in (*self.train_images.items(), ("val_images", self.val_images)):
            if not 1 <= count <= MOST_IMAGES:
                raise InputError(name, f"is {count}", f"choose a number of images from 1 to {MOST_IMAGES}")
        if self.annotators not in ANNOTATORS:
            raise InputError("annotators", f"is '{self.annotators}'", f"choose one of {', '.join(ANNOTATORS)}")

    def marker(self) -> dict[str, object]:
        """What the folder remembers."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("annotators", "exact")}


def draw_street_scenes(out: Path, settings: SceneSettings | None = None, *, progress: Callable[[], None] = lambda: None) -> None:
    """Draw the embedded benchmark: datasets of street images, each with its own annotation protocol.

    Writes `out/DATASET/images/NNNNNN.png`, `train.json`, `val.json` and `test.json` in the dataset's own label space, and
    `truth.OTHER.json` for each other dataset: the training images, annotated under that dataset's protocol. An image and its
    annotations depend only on seed, difficulty, dataset, split and its number, so the same call gives the same bytes.

    Args:
        out: a new or empty folder, or one drawn by an equal call (it is then drawn again).
        settings: the defaults of `SceneSettings` if not given.
        progress: called after each image.

    Raises:
        InputError: if `out` contains anything else.
    """
    chosen = settings or SceneSettings()
    counts, difficulty, seed = chosen.train_images, chosen.difficulty, chosen.seed
    _claim_folder(out, chosen.marker())
    for dataset in counts:
        who = chosen.annotators
        _Split(dataset, "train", difficulty, seed, who).draw(out / dataset, counts[dataset], tuple(counts), progress)
        _Split(dataset, "val", difficulty, seed, who).draw(out / dataset, chosen.val_images, (dataset,), progress)
        _Split(dataset, "test", difficulty, seed).draw(out / dataset, chosen.val_images, (dataset,), progress)


def paint_image(dataset: str, image_id: int, difficulty: str, seed: int) -> tuple[np.ndarray, list[PaintedUser]]:
    """One image of the benchmark as drawn, (H, W, 3) uint8 RGB, and its road users, back to front."""
    rng = np.random.default_rng(_place(dataset, image_id, difficulty, seed))
    return paint_scene(rng, DIFFICULTIES[difficulty], LOOKS[dataset])


def _place(dataset: str, image_id: int, difficulty: str, seed: int) -> list[int]:
    """The numbers on which an image depends."""
    first = max(first for first in FIRST_IMAGE_IDS.values() if first <= image_id)
    return [seed, tuple(DIFFICULTIES).index(difficulty), tuple(SPACES).index(dataset), first, image_id - first]


@dataclass(frozen=True)
class _Split:
    """The training, validation or test images of one dataset, and who annotates them."""

    dataset: str
    split: str
    difficulty: str
    seed: int
    annotators: str = "exact"

    def draw(self, folder: Path, count: int, protocols: tuple[str, ...], progress: Callable[[], None]) -> None:
        """Write `count` images, and one annotation file for each of `protocols`."""
        annotations: dict[str, list[list[Annotation]]] = {protocol: [] for protocol in protocols}
        for image_id, image, users in self._scenes(count):
            _write_image(folder / "images" / _file_name(image_id), image)
            for protocol in protocols:
                exact = annotate(users, protocol)
                annotations[protocol].append(self._by_hand(exact, image_id) if protocol == self.dataset else exact)
            progress()
        for protocol in protocols:
            file_name = f"{self.split}.json" if protocol == self.dataset else f"truth.{protocol}.json"
            _write_coco(folder / file_name, self._coco(annotations[protocol], protocol))

    def _by_hand(self, exact: list[Annotation], image_id: int) -> list[Annotation]:
        """What the dataset's own annotators write down of an image; the exact annotations if no people annotate it."""
        if self.annotators == "exact":
            return exact
        rng = np.random.default_rng([*_place(self.dataset, image_id, self.difficulty, self.seed), IMAGES])
        return annotate_by_hand(exact, habits_of(self.dataset, self.seed, self.annotators), IMAGE_SIZE_HW, rng)

    def _scenes(self, count: int) -> Iterator[tuple[int, np.ndarray, list[PaintedUser]]]:
        """Image id, image and road users of the first `count` scenes."""
        first = FIRST_IMAGE_IDS[self.split]
        for image_id in range(first, first + count):
            image, users = paint_image(self.dataset, image_id, self.difficulty, self.seed)
            yield image_id, image, users

    def _coco(self, annotations: list[list[Annotation]], protocol: str) -> dict[str, object]:
        """A COCO dictionary of the split's images, annotated under `protocol`."""
        space = SPACES[protocol]
        category_ids = dict(zip(space.class_names, space.category_ids, strict=True))
        height, width = IMAGE_SIZE_HW
        image_ids = [FIRST_IMAGE_IDS[self.split] + number for number in range(len(annotations))]
        rows = [(image_id, one) for image_id, of_image in zip(image_ids, annotations, strict=True) for one in of_image]
        return {
            "info": {
                "description": f"street scenes: {self.split} images of {self.dataset}, annotated under the protocol {protocol}",
                "difficulty": self.difficulty,
                "seed": self.seed,
            },
            "images": [{"id": i, "file_name": _file_name(i), "width": width, "height": height} for i in image_ids],
            "categories": space.categories(),
            "annotations": [
                {
                    "id": annotation_id,
                    "image_id": image_id,
                    "category_id": category_ids[one.class_name],
                    "bbox": list(one.box_xywh),
                    "area": one.area,
                    "iscrowd": 0,
                }
                for annotation_id, (image_id, one) in enumerate(rows, start=1)
            ],
        }


def _file_name(image_id: int) -> str:
    return f"{image_id:06d}.png"


def _write_image(path: Path, image: np.ndarray) -> None:
    encoded, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert encoded
    write_atomically(path, content.tobytes())


def _write_coco(path: Path, content: Mapping[str, object]) -> None:
    write_atomically(path, json.dumps(content, allow_nan=False) + "\n")


def _claim_folder(out: Path, settings: Mapping[str, object]) -> None:
    """Write a marker with the settings to `out`; raise InputError if the folder is not ours to draw in."""
    marker = out / MARKER
    content = json.dumps(settings, sort_keys=True) + "\n"
    if out.exists() and not out.is_dir():
        raise InputError(out, "is not a folder", "choose another one")
    if marker.is_file():
        if marker.read_text(encoding="utf-8", errors="replace") != content:
            raise InputError(out, "contains street scenes drawn with other settings", f"choose another folder (see {MARKER})")
    elif out.is_dir() and any(out.iterdir()):
        raise InputError(out, "is not empty and contains no street scenes", "choose a new folder")
    write_atomically(marker, content)
