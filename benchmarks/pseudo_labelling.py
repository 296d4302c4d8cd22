"""The gain of a single pass over the images: the pseudo-label stage against one prediction loop per detector.

The stage decodes each image once, batches the images and runs all detectors of the run on them. A loop belongs to one detector,
decodes each image again and predicts one image at a time: with Detectron2's `DefaultPredictor` for its detectors, and with
equivalent code for torchvision's. Both label the same JPEG images with the same untrained models, timed from reading the weights
to the last detection; the stage also writes its labels. An image counts as done when every detector has seen it.

    python benchmarks/pseudo_labelling.py [--device cuda] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import torch
from markdown import Row, print_rows

from lat.config.load import Config
from lat.config.sections import PseudoLabelSettings, UpstreamSettings
from lat.core.label_space import LabelSpace
from lat.data.data_settings import DatasetSettings
from lat.detectors.base import build_detector, describe_detector, detectron2_problem
from lat.detectors.detector_settings import DetectorSettings
from lat.engine.checkpoint import save_checkpoint
from lat.engine.training_settings import RuntimeSettings
from lat.stages.pseudo_label import pseudo_label
from lat.stages.shared.detection import Predictor, load_detector
from lat.workspace.workspace import Workspace

SOURCE, SPACES = "city", ("nu", "way", "suburb")  # the images' own space and those of the detectors
CLASSES = ("car", "truck", "bus", "person", "rider", "bicycle", "motorcycle")


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    backbone: str
    size_hw: tuple[int, int]
    image_size: int
    images: int


CASES = {
    "cpu": (Case("small", (144, 192), 0, 64), Case("small", (720, 1280), 360, 32)),
    "cuda": (Case("small", (144, 192), 0, 512), Case("resnet50", (720, 1280), 720, 128)),
}


def draw_run(folder: Path, case: Case, library: str, device: str) -> Workspace:
    """A run of one source and three other spaces, whose upstream detectors have random weights."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    height, width = case.size_hw
    (folder / "images").mkdir(parents=True)
    images = [{"id": i, "file_name": f"{i:04d}.jpg", "width": width, "height": height} for i in range(1, case.images + 1)]
    for image in images:
        coarse = generator.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / "images" / str(image["file_name"])), pixels)
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 40, 40], "area": 1600, "iscrowd": 0}
    settings = DetectorSettings(detector=library, backbone=case.backbone, image_size=case.image_size)
    datasets = []
    for name in (SOURCE, *SPACES):
        space = LabelSpace.from_names(name, CLASSES)
        document = {"images": images, "annotations": [box], "categories": space.categories()}
        (folder / f"{name}.json").write_text(json.dumps(document))
        datasets.append(DatasetSettings(name, str(folder / "images"), str(folder / f"{name}.json")))
    upstream = UpstreamSettings(settings)
    once = PseudoLabelSettings(voting_iou=1.0, mirrored=False, scaled=[])  # as a loop predicts
    devices = RuntimeSettings(device)
    config = Config(output_dir=str(folder / "run"), datasets=datasets, upstream=upstream, pseudo_label=once, runtime=devices)
    workspace = Workspace(config)
    for name in SPACES:
        model = build_detector(settings, workspace.data.space(name))
        content = describe_detector(settings, workspace.data.space(name)) | {"model": model.state_dict()}
        save_checkpoint(workspace.paths.upstream_model(name), content)
    return workspace


def loop_of_ours(workspace: Workspace) -> None:
    """A loop per detector, one image at a time, with our own reader and detectors."""
    part = workspace.data.train_part(SOURCE)
    for name in SPACES:
        predictor = Predictor(load_detector(workspace.paths.upstream_model(name)), workspace.fabric)
        for index in range(len(part)):
            predictor.predict([part.image(index)])


def loop_of_detectron2(workspace: Workspace) -> None:
    """A loop per detector with Detectron2's own `DefaultPredictor`."""
    from detectron2.engine import DefaultPredictor

    part = workspace.data.train_part(SOURCE)
    for name in SPACES:
        detector = load_detector(workspace.paths.upstream_model(name))
        weights = workspace.paths.upstream_model(name).with_suffix(".pth")
        torch.save({"model": detector.state_dict()}, weights)
        config = detector.config.clone()
        config.defrost()
        config.MODEL.WEIGHTS, config.MODEL.DEVICE = str(weights), workspace.fabric.device.type
        predictor = DefaultPredictor(config)
        for index in range(len(part)):
            predictor(cv2.imread(str(part.image_path(index))))


def seconds(*actions: Callable[[], object]) -> list[float]:
    """The shorter of two durations of each action, alternating so that other load affects all; a warm-up is not counted."""
    turns = []
    for _ in range(3):
        durations = []
        for action in actions:
            start = time.perf_counter()
            action()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            durations.append(time.perf_counter() - start)
        turns.append(durations)
    return [min(durations) for durations in zip(*turns[1:], strict=True)]


def measure(case: Case, library: str, device: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        workspace = draw_run(Path(folder), case, library, device)
        loop = loop_of_detectron2 if library == "detectron2" else loop_of_ours
        turns = count()

        def label() -> None:
            pseudo_label(workspace, source=SOURCE, due=dict.fromkeys(SPACES, f"turn {next(turns)}"))  # all anew

        stage, looped = seconds(label, lambda: loop(workspace))
    return {
        "detectors": f"{len(SPACES)} x {library} {case.backbone}",
        "images": f"{case.images} of {case.size_hw[1]} x {case.size_hw[0]}",
        "shorter side seen": case.image_size or min(case.size_hw),
        "stage (images/s)": round(case.images / stage, 2),
        "loop": "DefaultPredictor" if library == "detectron2" else "one image at a time",
        "loop (images/s)": round(case.images / looped, 2),
        "ratio": round(looped / stage, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file")
    parser.add_argument("--device", choices=list(CASES), default="cpu")
    options = parser.parse_args()
    problem = detectron2_problem()
    if problem is not None:
        print(f"Without the Detectron2 rows: {problem}\n")
    libraries = ("torchvision",) if problem is not None else ("torchvision", "detectron2")
    rows = [measure(case, library, options.device) for library in libraries for case in CASES[options.device]]
    print(f"{options.device}, {torch.get_num_threads()} threads\n")
    print_rows("pseudo_labelling", rows, options.json)


if __name__ == "__main__":
    main()
