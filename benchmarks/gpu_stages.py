"""Images per second of each stage of a run, beside a ceiling: the same model on input that lies on the device already."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from math import isnan, nan
from pathlib import Path
from types import ModuleType

import torch
import yaml
from gpu_bench import Bench, Memory, mib, rounded
from gpu_data import write_dataset, write_untrained
from gpu_watch import WatchedShards, on_device, watched_training
from markdown import Row

from lat.config.load import load_config
from lat.config.places import seen_from
from lat.pipeline.run import run_stages
from lat.stages import label_transfer, upstream
from lat.stages.downstream import train as downstream
from lat.stages.shared.detection import Predictor, load_detector
from lat.stages.shared.transfer_model import TransferItems, load_model, open_features, with_maps
from lat.street_scenes import SPACES
from lat.workspace.workspace import Workspace

FEATURES_AT_ONCE = 16


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    images: int  # of each of the three datasets
    size_hw: tuple[int, int]
    backbone: str  # of detectors
    image_size: int
    batch_size: int
    steps: int
    features: str
    feature_size: int
    lat_steps: int
    detections: int  # that each detector keeps of an image, whatever their scores
    images_per_batch: int  # 0 for the default
    precision: str
    workers: int  # -1 for what the machine has cores and shared memory for


LARGE = Size(64, (720, 1280), "resnet50", 720, 16, 16, "dinov2_vitb14", 518, 40, 40, 0, "bf16-mixed", -1)
SMALL = Size(12, (48, 64), "small", 0, 2, 5, "dinov2_vits14", 28, 6, 5, 4, "32-true", 0)


def draw_run(folder: Path, size: Size, device: torch.device) -> Workspace:
    """A run of three datasets."""
    names = ("city", "nu", "way")
    entries = []
    for seed, name in enumerate(names):
        files = {folder / name / "train.json": size.images, folder / name / "val.json": 4}
        write_dataset(folder / name / "images", files, SPACES[name], size.size_hw, seed)
        train, validation = map(str, files)
        entries.append({"name": name, "images": str(folder / name / "images"), "annotations": train, "validation": validation})
    model = {"backbone": size.backbone, "weights": "none", "image_size": size.image_size}
    model |= {"detection_threshold": 0.0, "max_detections": size.detections}
    training = {"batch_size": size.batch_size, "steps": size.steps, "learning_rate": 1e-4}
    settings = {
        "output_dir": str(folder / "run"),
        "target": "all",
        "datasets": entries,
        "rounds": {"count": 0},
        "training": {"trackers": []},
        "upstream": {"model": model, "training": training},
        "pseudo_label": {"threshold": 0.0, "mirrored": False, "scaled": []},
        "lat": {
            "backbone": {"name": size.features, "weights": "none", "image_size": size.feature_size},
            "training": {"steps": size.lat_steps, "batch_size": 8 if size.batch_size > 2 else 2, "learning_rate": 1e-4},
        },
        "transfer": {"prior": {"method": "none"}},
        "downstream": {"model": model, "training": training},
        "runtime": {
            "accelerator": device.type,
            "precision": size.precision,
            "num_workers": size.workers,
            "images_per_batch": size.images_per_batch,
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(seen_from(folder, settings)))
    return Workspace(load_config(folder / "config.yaml"))


class Stages:
    """The stages of a run one after another, each a row."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.size = SMALL if bench.small else LARGE
        self.workspace = draw_run(bench.folder / "stages", self.size, bench.device)
        self.shards = WatchedShards(bench)
        self.workspace.devices.executor = self.shards
        self.fabric = self.workspace.fabric
        self.source = self.workspace.names[0]

    def rows(self) -> Iterator[Row]:
        yield self._trained("upstream training", upstream, "train-upstream")
        for name in self.workspace.names[1:]:
            write_untrained(self.workspace, name)
        yield self._pseudo_labels()
        yield self._features()
        yield self._trained("label-transfer training, cached features", label_transfer, "train-lat")
        yield self._transfer()
        yield self._trained("downstream training", downstream, "train-downstream")

    def _row(self, stage: str, reached: float, measure_ceiling: Callable[[], float], memory: Memory) -> Row:
        """The figures of a stage; a ceiling that cannot be measured leaves those of the stage itself."""
        try:
            ceiling = measure_ceiling()
        except Exception:
            traceback.print_exc()
            ceiling = nan
        return {
            "stage": stage,
            "images/s": rounded(reached),
            "ceiling (images/s)": "failed" if isnan(ceiling) else rounded(ceiling),
            "share": "-" if isnan(ceiling) else f"{100 * reached / ceiling:.0f} %",
            "peak MiB": mib(memory),
        }

    def _trained(self, title: str, module: ModuleType, stage: str) -> Row:
        """A training of the first dataset's detector, or of the label-transfer model."""
        with self.bench.memory() as memory, watched_training(module, self.bench) as training:
            run_stages(self.workspace, [stage], select=lambda step: step.group in ("", self.source), say=_quiet)
        return self._row(title, training.images_per_second, training.ceiling, memory)

    def _pseudo_labels(self) -> Row:
        with self.bench.memory() as memory:
            run_stages(self.workspace, ["pseudo-label"], say=_quiet)
        others = self.workspace.others(self.source)
        detectors = [Predictor(load_detector(self.workspace.paths.upstream_model(name)), self.fabric) for name in others]
        count, part = self.shards.batch_sizes["PseudoLabelShards"], self.workspace.data.train_part(self.source)
        images = on_device(self.fabric, [part.image(i) for i in range(count)])

        def detect() -> None:
            with self.fabric.autocast():
                for one in detectors:
                    one.detector.predict(images)

        reached = self.shards.images_per_second("PseudoLabelShards")
        return self._row(f"pseudo-labels of {len(others)} detectors", reached, partial(self._per_second, count, detect), memory)

    def _features(self) -> Row:
        ready: list[tuple[float, int]] = []
        features = open_features(self.workspace)
        with self.bench.memory() as memory:
            features.fill(lambda count: ready.append((self.bench.now(), count)))
        reached = sum(count for _, count in ready[1:]) / (ready[-1][0] - ready[0][0])
        images = torch.rand(2 if self.bench.small else FEATURES_AT_ONCE, 3, *self.size.size_hw, device=self.bench.device)

        def forward() -> None:
            with self.fabric.autocast(), torch.no_grad():
                features.backbone.feature_maps(images)

        ceiling = partial(self._per_second, len(images), forward)
        return self._row(f"features of {self.size.features}", reached, ceiling, memory)

    def _transfer(self) -> Row:
        with self.bench.memory() as memory:
            run_stages(self.workspace, ["transfer"], say=_quiet)
        features, targets = open_features(self.workspace), self.workspace.others(self.source)
        items, model = TransferItems(self.workspace, features, [self.source]), load_model(self.workspace, features)
        count = self.shards.batch_sizes["TransferShards"]
        inputs = with_maps(features, [items.transfer_input(self.source, i) for i in range(count)])
        images = [one.to(self.bench.device) for one in inputs]

        def decode() -> None:
            with torch.no_grad(), self.fabric.autocast():
                model.decode(images, targets)

        reached, ceiling = self.shards.images_per_second("TransferShards"), partial(self._per_second, count, decode)
        return self._row(f"transfer to {len(targets)} targets", reached, ceiling, memory)

    def _per_second(self, images: int, action: Callable[[], object]) -> float:
        return images / self.bench.seconds(action)


def stage_rows(bench: Bench) -> Iterator[Row]:
    """A row per stage."""
    yield from Stages(bench).rows()


def what_it_is(bench: Bench) -> dict[str, object]:
    """How large the run is, for the JSON file."""
    return asdict(SMALL if bench.small else LARGE)


def _quiet(line: str) -> None:
    """Say nothing."""
