"""Train a YOLO with ultralytics' own trainer: datasets in, `yolo.pt` and `log.jsonl` out."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.data.dataset import DetectionDataset
from lat.detectors.detector_settings import YoloSettings
from lat.detectors.ultralytics.yolo_detector import find_weights, load_ultralytics
from lat.engine.progress import track
from lat.engine.step_figures import NonFiniteLossError
from lat.engine.tracked_run import TrackedRun
from lat.engine.training_log import TrainingLog
from lat.engine.training_settings import Training
from lat.formats.exports import yolo
from lat.formats.exports.layout import Split, hash_images, place_images
from lat.labels.coco.scan import class_list_mismatch
from lat.stages.downstream.yolo_phases import plan_phases, trainer_options


@dataclass(frozen=True)
class YoloJob:
    """One training of a YOLO.

    Attributes:
        out_dir: gets `yolo.pt`, in ultralytics' format, and `log.jsonl`; nothing is written elsewhere.
        seed: for weights, order and augmentation.
        target_only_share: share of the steps on the target alone.
        repeat: how often the list of all images repeats each image of the target.
        min_score: labels with a lower score are left out.
        device: the one device to train on.
        num_workers: processes that read images when training on a GPU; ultralytics uses none on the CPU.
        tracked: what trackers call it; None for the name of `out_dir`.

    Raises:
        InputError: if a value is out of its range.
    """

    out_dir: Path
    seed: int
    target_only_share: float = 0.0
    repeat: int = 1
    min_score: float = 0.5
    device: torch.device | str = "cpu"
    num_workers: int = 0
    tracked: TrackedRun | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.target_only_share <= 1.0:
            raise InputError("target_only_share", f"is {self.target_only_share}", "choose a number from 0 to 1")
        if self.repeat < 1:
            raise InputError("repeat", f"is {self.repeat}", "choose 1 or more")


def train_yolo(
    datasets: Sequence[DetectionDataset],
    validation: DetectionDataset | None,
    settings: YoloSettings,
    training: Training,
    job: YoloJob,
) -> Path:
    """Train a YOLO on a target and on other datasets already labelled in the target's space.

    It trains on all images first, then on the target alone for the last `job.target_only_share` of the steps. Of `training`
    it uses steps, batch size, optimizer, learning rate, weight decay, momentum, warm-up and the schedules cosine and constant;
    ultralytics clips gradients at a norm of 10 and averages weights in its own way. YOLO labels have no weights: a label
    counts or it does not. An interrupted training starts over.

    Args:
        datasets: the target's training part first.
        validation: held-out part of the target, or None. Nothing is chosen by it: the last weights are kept.
        settings: which YOLO.
        training: steps and learning rate; `steps` is rounded up to whole epochs.
        job: where to write, and what to train on.

    Returns:
        The path of `yolo.pt`, for `YoloDetector`.

    Raises:
        InputError: if ultralytics does not import, the model or an image cannot be read, a dataset is in another label space,
            no label is left, or a value is out of its range.
        NonFiniteLossError: if a loss is not finite.
    """
    _check(datasets, validation, training)
    load_ultralytics()
    model = _find_model(settings.model)
    datasets = [_certain(dataset, job.min_score) for dataset in datasets]
    out_dir = Path(job.out_dir).resolve()
    work = out_dir / ".yolo"
    shutil.rmtree(work, ignore_errors=True)
    try:
        write_training_folder(work / "data", datasets, validation and _certain(validation, 0.0), job.repeat)
        phases = plan_phases(list(map(len, datasets)), training, job.target_only_share, job.repeat)
        total = sum(phase.epochs * math.ceil(phase.images / training.own.batch_size) for phase in phases)
        common = {"seed": job.seed, "device": _device_name(job.device), "workers": job.num_workers}
        with (
            track(total, f"train yolo on {datasets[0].name}") as progress,
            TrainingLog(out_dir, step=0, trackers=training.shared.trackers, run=_tracked(training, job)) as log,
        ):
            watch = _Watch(log, progress.advance, training.shared.log_every, total)
            for phase in phases:
                options = {**trainer_options(phase, settings, training, work), **common, "model": model}
                model = str(_run_trainer(options, watch))
        path = out_dir / "yolo.pt"
        write_atomically(path, _plain_checkpoint(Path(model), settings))
        return path
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _tracked(training: Training, job: YoloJob) -> TrackedRun | None:
    return job.tracked and replace(job.tracked, settings={**training.described(), "seed": job.seed})


def _check(
    datasets: Sequence[DetectionDataset],
    validation: DetectionDataset | None,
    training: Training,
) -> None:
    space = datasets[0].space
    for dataset in (*datasets[1:], *([] if validation is None else [validation])):
        if mismatch := class_list_mismatch(dataset.space, space):
            raise InputError(dataset.labels.path, f"categories: {mismatch}", "ids, names and order must be the same")
    if training.shared.schedule == "multistep":
        raise InputError("training.schedule", "is 'multistep', which YOLO does not support", "choose cosine or constant")


def _find_model(name: str) -> str:
    """The path of a weights file, or the name of a model that starts from scratch."""
    if name.endswith(".pt"):
        return find_weights(name)
    from ultralytics.nn.tasks import yaml_model_load

    try:
        yaml_model_load(name)
    except FileNotFoundError as error:
        raise InputError(
            "model", f"is '{name}', which ultralytics does not have", "check the name, as in yolo11n.yaml"
        ) from error
    return name


def _certain(dataset: DetectionDataset, min_score: float) -> DetectionDataset:
    """A dataset with the labels that a YOLO trains on: no crowd boxes, no score below `min_score`."""
    labels = dataset.labels.at_least(min_score)
    labels = labels.where(~labels.is_crowd)
    if not labels.num_boxes:
        raise InputError(dataset.labels.path, f"has no labels with a score of {min_score:g} or more", "lower the threshold")
    return replace(dataset, labels=labels)


def write_training_folder(
    folder: Path, datasets: Sequence[DetectionDataset], validation: DetectionDataset | None, repeat: int
) -> None:
    """Write label files, links to images, and for each phase its list of images `PHASE.txt` and `PHASE.yaml`.

    ultralytics requires a validation part: without one it gets the first image of the target.
    """
    parts = {f"train{i}": dataset for i, dataset in enumerate(datasets)}
    parts["val"] = datasets[0].select(torch.arange(1).numpy()) if validation is None else validation
    splits = {split.name: split for split in yolo.arrange(parts)}
    with track(sum(map(len, parts.values())), "check images") as progress:
        for split in splits.values():
            hash_images(split.dataset, progress.advance)
            yolo.write_label_files(folder, split)
            place_images(folder, split, copy=False, keep_jpegs_whole=True)
    target, others = splits["train0"], [splits[f"train{i}"] for i in range(1, len(datasets))]
    lists = {"mixed": [target] * repeat + others, "target": [target]}
    for name, listed in lists.items():
        _write_list(folder / f"{name}.txt", listed)
        yolo.write_data_yaml(folder, datasets[0].space, f"{name}.txt", "images/val")
        (folder / "data.yaml").rename(folder / f"{name}.yaml")


def _write_list(path: Path, splits: Sequence[Split]) -> None:
    path.write_text("".join(f"./{image}\n" for split in splits for image in split.images), encoding="utf-8")


def _device_name(device: torch.device | str) -> str:
    device = torch.device(device)
    return str(device.index or 0) if device.type == "cuda" else device.type


class _Watch:
    """Follows ultralytics' trainer from batch to batch."""

    def __init__(self, log: TrainingLog, advance: Callable[..., None], log_every: int, total: int) -> None:
        self.log, self.advance, self.log_every, self.total = log, advance, log_every, total
        self.step = 0

    def on_start(self, trainer: Any) -> None:
        """Let batch statistics settle in short trainings; `trainer` is ultralytics'.

        Its models keep 0.97 of their running statistics at each step, so after a hundred steps much of the initial ones
        remains and a trained model finds nothing in eval mode. Here at most e^-10 of them remains at the end.
        """
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d) and module.momentum is not None:
                module.momentum = max(module.momentum, min(0.5, 10 / self.total))

    def on_batch(self, trainer: Any) -> None:
        """Log the losses of a batch; `trainer` is ultralytics'."""
        figures = {name: float(value) for name, value in _loss_items(trainer).items()}
        self.step += 1
        if not all(map(math.isfinite, figures.values())):
            raise NonFiniteLossError(f"train yolo, step {self.step}: {figures}")
        self.log.add(figures)
        self.advance(1, loss=sum(figures.values()))
        if self.step % self.log_every == 0 or self.step == self.total:
            self.log.write_line(self.step, trainer.optimizer.param_groups[0]["lr"])


def _loss_items(trainer: Any) -> Mapping[str, Any]:
    items = trainer.loss_items
    return items if isinstance(items, Mapping) else dict(zip(trainer.loss_names, items, strict=True))


def _run_trainer(options: Mapping[str, Any], watch: _Watch) -> Path:
    """Run ultralytics' trainer and return the path of its last averaged weights."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    trainer = DetectionTrainer(overrides=dict(options))
    trainer.add_callback("on_train_start", watch.on_start)
    trainer.add_callback("on_train_batch_end", watch.on_batch)
    trainer.train()
    return Path(trainer.last)


def _plain_checkpoint(path: Path, settings: YoloSettings) -> bytes:
    """A checkpoint with the model alone, without times and paths, so that equal models give equal files."""
    from ultralytics.nn.tasks import torch_safe_load

    model = torch_safe_load(str(path), safe_only=True)[0]["model"]
    arguments = {"task": "detect", "imgsz": settings.image_size, "single_cls": False}
    model.args, model.pt_path = dict(arguments), None
    buffer = io.BytesIO()
    torch.save({"model": model, "ema": None, "epoch": -1, "train_args": arguments}, buffer)
    return buffer.getvalue()
