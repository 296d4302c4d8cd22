"""Settings that were renamed or removed: old configuration files get a one-line error with the new name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lat.core.errors import InputError


def _section(old: str, new: str, *names: str) -> dict[str, str]:
    return {f"{old}.{name}": f"{new}.{name}" for name in names}


def _detector(section: str) -> dict[str, str]:
    kept = ("detector", "backbone", "weights", "trainable_layers", "image_size", "max_image_size", "nms_iou", "max_detections")
    return {
        **_section(section, f"{section}.model", *kept),
        f"{section}.score_threshold": f"{section}.model.detection_threshold",
        f"{section}.detectron2_config": f"{section}.model.backbone",
        f"{section}.detectron2_overrides": f"{section}.model.overrides",
        f"{section}.transformers_overrides": f"{section}.model.overrides",
        **_section(f"{section}.augmentation", "augmentation", "horizontal_flip", "color_jitter"),
    }


def _training(section: str) -> dict[str, str]:
    shared = ("weight_decay", "warmup_steps", "schedule", "gradient_clip", "checkpoint_every", "log_every")
    return {**_section(f"{section}.training", "training", *shared), f"{section}.training.tensorboard": "training.trackers"}


def _filter(section: str) -> dict[str, str]:
    return {f"{section}.filter.labelling_ratio": f"{section}.filter.share"}


RENAMED: dict[str, str] = {
    **_detector("upstream"),
    **_training("upstream"),
    "pseudo_label.score_threshold": "pseudo_label.threshold",
    **dict.fromkeys(("pseudo_label.batch_size", "transfer.batch_size"), "runtime.images_per_batch"),
    **_filter("pseudo_label"),
    **_section("lat", "lat.fusion", "attention", "attend", "cap", "cap_branch", "confidence", "residual"),
    **_section("lat", "lat.head", "pooled_size", "dim", "match_iou", "classification_loss"),
    **_section("lat", "lat.proposals", "jitter_probability", "jitter_scale", "drop_probability", "hide_ground_truth"),
    **_section("lat", "lat.proposals", "hide_class_vectors", "background_proposals"),
    "lat.backbone": "lat.backbone.name",
    **_section("lat", "lat.backbone", "weights", "blocks", "image_size", "cache", "cache_dtype", "upstream_dataset"),
    "lat.horizontal_flip": "augmentation.horizontal_flip",
    **_training("lat"),
    "transfer.score_threshold": "transfer.decode.written_threshold",
    **_section("transfer", "transfer.decode", "nms_iou", "max_detections"),
    **_section("transfer", "transfer.combine", "keep", "fuse", "detector_share"),
    "transfer.sure_score": "transfer.combine.sure_threshold",
    **_filter("transfer"),
    "rounds.labels.score_threshold": "rounds.labels.trained_threshold",
    **dict.fromkeys((f"rounds.noise.{one}" for one in ("scale", "scale_min", "scale_max")), "augmentation.scale"),
    "rounds.noise.widen_min": "rounds.noise.widen",
    "rounds.noise.widen_max": "rounds.noise.widen",
    **_detector("downstream"),
    **_training("downstream"),
    "downstream.training.ema_decay": "downstream.ema_decay",
    "downstream.labels.score_threshold": "downstream.labels.trained_threshold",
    "downstream.student_teacher.score_threshold": "downstream.student_teacher.teacher_threshold",
    "downstream.student_teacher.teacher_decay": "downstream.ema_decay",
    "evaluation.score_threshold": "evaluation.counted_threshold",
    "training.tensorboard": "training.trackers",
}
"""New keys by old ones."""

_WRITTEN: dict[str, str] = {
    "upstream.model.overrides": "write {KEY: VALUE}",
    "downstream.model.overrides": "write {KEY: VALUE}",
    "augmentation.scale": "write [smallest, largest]",
    "rounds.noise.widen": "write [below, above]",
    "training.trackers": "write [tensorboard], or [] for none",
}
"""How to write the values of new keys whose format changed too."""

GONE: dict[str, str] = {
    **dict.fromkeys(("upstream.regions_per_image", "downstream.regions_per_image"), "it is always 64 with small, else 512"),
    **dict.fromkeys((f"{one}.training.momentum" for one in ("upstream", "lat", "downstream")), "0.9 always applies"),
    **dict.fromkeys((f"{one}.training.milestones" for one in ("upstream", "lat", "downstream")), "[0.7, 0.9] always applies"),
    **dict.fromkeys(("upstream.training.ema_decay", "lat.training.ema_decay"), "the last weights are saved"),
    "pseudo_label.nms_iou": "0.5 always applies",
    **dict.fromkeys(("transfer.prior.keep_supported", "transfer.decode.keep_supported"), "no label is below written_threshold"),
    "pseudo_label.max_detections": "upstream.model.max_detections applies",
    "pseudo_label.filter.threshold": "pseudo_label.threshold always applies",
    "transfer.filter.threshold": "transfer.decode.written_threshold always applies",
    **dict.fromkeys(("pseudo_label.filter.beta", "transfer.filter.beta"), "1 always applies: thresholds of highest F1"),
    **dict.fromkeys(("pseudo_label.filter.sample_ties", "transfer.filter.sample_ties"), "method: da is dars that keeps all ties"),
    "rounds.learning_rate_share": "0.25 always applies",
    "rounds.own_share": "half of each batch are the target's own images",
    "lat.box_loss_weight": "1 always applies",
    "lat.weights_seed": "0 always applies",
    "downstream.yolo.mosaic": "1 always applies",
    "downstream.yolo.mixed_precision": "false always applies",
    "downstream.yolo.score_threshold": "0.01 always applies",
    "downstream.yolo.nms_iou": "0.7 always applies",
    "downstream.yolo.max_detections": "100 always applies",
    "downstream.lgpl.pairs_per_image": "128 always applies",
    "downstream.lgpl.valid_share": "0.5 always applies",
    "downstream.lgpl.match_iou": "0.5 always applies",
    "downstream.lgpl.jittered_copies": "2 always applies",
    "downstream.lgpl.jitter_scale": "0.2 always applies",
    "downstream.lgpl.least_precision": "0.5 always applies",
    "downstream.student_teacher.unsupervised_weight": "1 always applies",
    "downstream.label_unification.share_power": "0 always applies: every dataset has the same share",
    "report.longest_side": "320 always applies",
    "report.images_per_pair": "10000 always applies",
    "runtime.devices": "torchrun or srun say how many processes there are, one per device",
    "runtime.threads": "set the environment variable OMP_NUM_THREADS",
    "relations.batch_size": "64 always applies",
    "relations.learning_rate": "0.001 always applies",
    "relations.dim": "128 always applies",
    "relations.steps": "400 always applies",
    "relations.pretrain_steps": "200 always applies",
    "relations.standardize": "true always applies",
    "relations.zero_init": "true always applies",
    "relations.weighted_sampling": "true always applies",
    "relations.standalone_bias": "that of each class is searched for",
    "relations.search_points": "11 always applies",
    "relations.pooled_size": "3 always applies",
    "relations.crop_size": "48 always applies",
}
"""What applies instead of removed settings."""


_CONSTANTS: dict[str, Any] = {
    "report.images_per_pair": 10000,
    "pseudo_label.max_detections": 100,
    "relations.standalone_bias": -1.0,
    "relations.steps": 400,
    "transfer.decode.keep_supported": 0.0,
    "rounds.noise.scale": [1.0, 1.0],
    "training.tensorboard": True,  # the default of training.trackers
}
"""Settings that are gone, with the values that always or by default applied: finished runs name them."""


def without_constants(written: DictConfig) -> DictConfig:
    """What a user or a run wrote, without settings that are gone and say what always applies; nor a section of such alone."""
    content: Any = OmegaConf.to_container(written)
    gone = [key.split(".") for key, always in _CONSTANTS.items() if _value(content, key.split(".")) == always]
    if gone:
        written = written.copy()
    for path in gone:
        _drop(written, path)
    return written


def _value(content: Any, path: list[str]) -> Any:
    """What stands at the path in the plain content of a configuration; None if nothing does."""
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _drop(section: DictConfig, path: list[str]) -> None:
    """Remove what stands at the path, and every section that it leaves empty."""
    first, *rest = path
    if rest:
        _drop(section[first], rest)
    if not rest or not section[first]:
        section.pop(first)


def refuse_old_keys(written: DictConfig, where: object, place: str) -> None:
    """Raise an error for the first old key of a configuration, with its new name.

    Args:
        written: what a user wrote, in a file or in options.
        where: the file, for the error.
        place: where the key is to be renamed: "there" or "in the option".

    Raises:
        InputError: if there is such a key.
    """
    for key, is_section in _keys(OmegaConf.to_container(written)):
        if key in GONE:
            raise InputError(where, f"'{key}' is gone: {GONE[key]}", f"remove it {place}")
        new = RENAMED.get(key)
        if new is None or (is_section and new.startswith(f"{key}.")):  # the new section of the old name
            continue
        how = f"rename it {place}"
        raise InputError(where, f"'{key}' is now '{new}'", f"{how} and {_WRITTEN[new]}" if new in _WRITTEN else how)


def _keys(content: Any, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """The dotted keys of the plain content of a configuration, and whether each holds a mapping."""
    for name, value in content.items():
        key = f"{prefix}{name!s}"
        yield key, isinstance(value, dict)
        if isinstance(value, dict):
            yield from _keys(value, f"{key}.")
