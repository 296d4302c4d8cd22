"""A trained YOLO of the ultralytics package as a predictor of one label space.

The package has the AGPL-3.0 licence; users install it themselves. It is imported only when a YOLO is used, without its
telemetry, its automatic installation of packages, and its files in the user's home.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import defaultdict
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lat.core.copies import numbers_on
from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.core.suppression import until_settled
from lat.detectors.detections import inference
from lat.detectors.detector_settings import YOLO_STRIDE, DetectorSettings, YoloSettings
from lat.detectors.image_batch import resized, resized_hw
from lat.detectors.region_detections import RegionScores, detected, predicted

KEPT = DetectorSettings(detection_threshold=0.01, nms_iou=0.7, max_detections=100)
"""What is kept of the detections: low scores too, for AP needs the tail."""

_PADDING = 114 / 255  # grey of the border, as in training
_FONTS = ("Arial.ttf", "Arial.Unicode.ttf")


def load_ultralytics() -> ModuleType:
    """The ultralytics package.

    The package reads its environment on first import, so it is configured there: settings in a temporary folder, no telemetry,
    no uploads, no package installation, no font downloads, no code in checkpoints. If the calling program imported it before,
    its settings stay untouched.

    Raises:
        InputError: if it is not installed or does not import.
    """
    try:
        return sys.modules.get("ultralytics") or _import_quietly()
    except ImportError as error:
        what = f"needs the ultralytics package (AGPL-3.0 licence), which does not import ({error})"
        raise InputError("detector: yolo", what, "pip install 'lat-detection[yolo]'") from error


def _import_quietly() -> ModuleType:
    folder = _settings_folder()
    os.environ["YOLO_CONFIG_DIR"] = folder
    os.environ.setdefault("MPLCONFIGDIR", folder)  # for matplotlib, which it imports
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false", ULTRALYTICS_SAFE_LOAD="true")
    os.environ["ULTRALYTICS_API_KEY"] = ""  # with a key it would upload trainings
    package = import_module("ultralytics")
    settings = package.settings
    settings.update({name: False for name, value in settings.items() if value is True})
    for font in _FONTS:
        (Path(folder) / "Ultralytics" / font).touch()
    return package


@cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is deleted when the program ends."""
    return tempfile.TemporaryDirectory(prefix="lat-ultralytics-")


def _settings_folder() -> str:
    return _temporary_folder().name


def find_weights(name: str) -> str:
    """The path of a `.pt` file: the file itself, or ultralytics' weights of that name, downloaded once to torch's cache.

    Raises:
        InputError: if the file does not exist and cannot be downloaded.
    """
    if Path(name).is_file():
        return name
    remedy = "check the path, or download the file and name it"
    if Path(name).name != name:
        raise InputError(name, "there is no such file of weights", remedy)
    load_ultralytics()
    from ultralytics.utils.downloads import attempt_download_asset

    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    try:
        found = Path(attempt_download_asset(cached))
    except (OSError, RuntimeError) as error:
        raise InputError(name, f"cannot be downloaded ({' '.join(str(error).split())[:120]})", remedy) from error
    if not found.is_file():
        raise InputError(name, "is neither a file nor the name of ultralytics weights", remedy)
    return str(found)


class YoloDetector(nn.Module):
    """A trained YOLO11 or YOLOv8 that predicts like any `Detector`; `lat.stages.downstream.yolo_training` trains it.

    Args:
        path: a `.pt` file in the format of ultralytics. No code in it is run.
        space: the label space that it was trained on.
        settings: the image size counts.
        kept: its threshold, NMS and number of detections count.

    Raises:
        InputError: if ultralytics does not import, the file cannot be read, or its model is not a detector of these classes.
    """

    def __init__(self, path: Path, space: LabelSpace, settings: YoloSettings, kept: DetectorSettings = KEPT) -> None:
        super().__init__()
        self.space, self.settings = space, settings
        self.model = _load_model(Path(path))
        names = tuple(self.model.names[index] for index in sorted(self.model.names))
        if names != space.class_names:
            what = f"has the classes {', '.join(names)}, but {space.name} has {', '.join(space.class_names)}"
            raise InputError(path, what, "train the detector on this label space")
        self._kept = kept

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of each image on the CPU, best first, in pixels of the original image.

        `class_scores` (N, K) are the model's sigmoids, independent per class; `scores` is the entry at `labels`. One place may
        give boxes for several classes. Images run in batches of equal size, so that a result does not depend on the other
        images.

        Args:
            images: RGB, (3, H, W) float32 in [0, 1], in their original size.
        """
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            size = self.settings.image_size
            groups[resized_hw((image.shape[-2], image.shape[-1]), size, size)].append(index)
        found: dict[int, LabeledBoxes] = {}
        with inference(self):
            for size_hw, indices in groups.items():
                found.update(zip(indices, self._predict_batch([images[i] for i in indices], size_hw), strict=True))
        return [found[index] for index in range(len(images))]

    def _predict_batch(self, images: list[Tensor], size_hw: tuple[int, int]) -> list[LabeledBoxes]:
        """Detections of images that are all resized to `size_hw`."""
        left, top, right, bottom = border(size_hw)
        pixels = F.pad(torch.stack([resized(image, size_hw) for image in images]), (left, right, top, bottom), value=_PADDING)
        output, _ = self.model(pixels)
        boxes, scores = decode(output.float(), size_hw)
        sizes_hw = [(size_hw, (image.shape[-2], image.shape[-1])) for image in images]
        regions = RegionScores(boxes[:, :, None].expand(-1, -1, len(self.space), -1).unbind(), scores.unbind(), sizes_hw)
        if scores.device.type == "cpu":
            return predicted(regions, self._kept, self.space)

        def attempt(passes: int) -> list[LabeledBoxes] | None:
            there = detected(regions, self._kept, self.space, passes)
            return None if there is None else there.handed_out()

        return until_settled(attempt)


def decode(output: Tensor, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes (B, A, 4) in pixels of the image without its border, and class scores (B, A, K) in [0, 1].

    Args:
        output: (B, 4 + K, A) centre, width and height in pixels of the padded image, and class scores, for each place A.
        size_hw: height and width of the image without its border.
    """
    left, top, _, _ = border(size_hw)
    centre, sides, scores = output.transpose(1, 2).split((2, 2, output.shape[1] - 4), dim=2)
    boxes = torch.cat([centre - sides / 2, centre + sides / 2], dim=2) - numbers_on(output.device, [left, top, left, top])
    return boxes, scores.clamp(0, 1)


def border(size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pixels of padding left, top, right and bottom that make both sides multiples of `YOLO_STRIDE`, the image in the middle."""
    height, width = (-side % YOLO_STRIDE for side in size_hw)
    return width // 2, height // 2, width - width // 2, height - height // 2


def _load_model(path: Path) -> Any:
    if not path.is_file():
        raise InputError(path, "there is no such file", "train the detector first, or check the path")
    load_ultralytics()
    from ultralytics.nn.tasks import DetectionModel, torch_safe_load

    try:
        content, _ = torch_safe_load(str(path), safe_only=True)
        model = content.get("ema") or content["model"]
    except (TypeError, KeyError, AttributeError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(path, f"cannot be read as a YOLO of ultralytics ({reason})", "train the detector again") from error
    if not isinstance(model, DetectionModel) or getattr(model, "end2end", False):
        raise InputError(path, "is not a YOLO that predicts boxes before suppression", "choose a YOLO11 or YOLOv8 detector")
    return model.float().eval()
