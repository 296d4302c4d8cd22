"""Settings of before have new names: each is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lat.config.load import config_from, load_config
from lat.config.reference import walk
from lat.config.renamed import GONE, RENAMED
from lat.core.errors import InputError

BEFORE = {
    "": "output_dir data_root seed target",
    "datasets": "name images annotations validation validation_images truth split validation_split validation_fraction made_by",
    "label_sets": "name files categories",
    "upstream": (
        "detector backbone weights detectron2_config detectron2_overrides transformers_overrides "
        "trainable_layers image_size max_image_size regions_per_image score_threshold nms_iou max_detections"
    ),
    "upstream.training": (
        "steps batch_size optimizer learning_rate weight_decay momentum warmup_steps schedule milestones "
        "gradient_clip ema_decay checkpoint_every log_every tensorboard"
    ),
    "upstream.augmentation": "horizontal_flip color_jitter",
    "pseudo_label": "score_threshold nms_iou max_detections batch_size",
    "pseudo_label.filter": "method temperature threshold share beta labelling_ratio sample_ties",
    "lat": (
        "attention attend cap cap_branch confidence residual pooled_size dim match_iou box_loss_weight "
        "classification_loss jitter_probability jitter_scale drop_probability hide_ground_truth "
        "hide_class_vectors background_proposals backbone weights blocks image_size cache cache_dtype "
        "weights_seed upstream_dataset horizontal_flip"
    ),
    "lat.training": (
        "steps batch_size optimizer learning_rate weight_decay momentum warmup_steps schedule milestones "
        "gradient_clip ema_decay checkpoint_every log_every tensorboard"
    ),
    "transfer": "score_threshold nms_iou max_detections keep fuse detector_share sure_score calibration batch_size",
    "transfer.prior": "method table floor veto keep_supported sources",
    "transfer.filter": "method temperature threshold share beta labelling_ratio sample_ties",
    "rounds": "count steps_share learning_rate_share own_share labelling_ratio",
    "rounds.labels": "score_threshold ignore_threshold silent_threshold weigh_by_score",
    "rounds.noise": "color blur scale scale_min scale_max widen_min widen_max mosaic dropout",
    "downstream": (
        "detector backbone weights detectron2_config detectron2_overrides transformers_overrides "
        "trainable_layers image_size max_image_size regions_per_image score_threshold nms_iou max_detections "
        "method name in_run strategy target_share class_map"
    ),
    "downstream.labels": "score_threshold ignore_threshold silent_threshold weigh_by_score",
    "downstream.training": (
        "steps batch_size optimizer learning_rate weight_decay momentum warmup_steps schedule milestones "
        "gradient_clip ema_decay checkpoint_every log_every tensorboard"
    ),
    "downstream.augmentation": "horizontal_flip color_jitter",
    "downstream.yolo": "model image_size mosaic mixed_precision score_threshold nms_iou max_detections",
    "downstream.lgpl": "pairs_per_image valid_share match_iou jittered_copies jitter_scale least_precision",
    "downstream.student_teacher": "burn_in_steps teacher_decay score_threshold unsupervised_weight",
    "downstream.label_unification": "share_power classification_loss",
    "evaluation": "score_threshold",
    "report": "images_per_pair longest_side",
    "relations": (
        "method file features steps batch_size learning_rate dim pretrain_steps standardize zero_init "
        "weighted_sampling standalone_bias search_points threshold pooled_size crop_size"
    ),
    "runtime": "accelerator devices precision upstream_parallel num_workers threads",
}
"""The settings that there were when sections held those of several classes, by section."""

LATER = {"training.tensorboard", "transfer.decode.keep_supported"}
"""Those that came after and have new names too."""

TWO_DATASETS = """
datasets:
  - {name: a, images: a/images, annotations: a.json}
  - {name: b, images: b/images, annotations: b.json}
"""


def leaves() -> set[str]:
    return {f"{key}.{one.name}".lstrip(".") for key, settings in walk() for one in settings if one.section is None}


def test_every_setting_of_before_is_still_there_or_has_a_new_name_or_is_gone() -> None:
    before = {f"{section}.{name}".lstrip(".") for section, names in BEFORE.items() for name in names.split()}
    assert len(before) == 220
    assert before - leaves() | LATER == RENAMED.keys() | GONE.keys()
    assert not RENAMED.keys() & GONE.keys()


def test_every_new_name_is_a_setting() -> None:
    assert set(RENAMED.values()) <= leaves()


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(TWO_DATASETS + text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lat: {attention: none}", "'lat.attention' is now 'lat.fusion.attention'; rename it there"),
        ("lat: {backbone: random}", "'lat.backbone' is now 'lat.backbone.name'; rename it there"),
        ("upstream: {training: {log_every: 5}}", "'upstream.training.log_every' is now 'training.log_every'; rename it there"),
        (
            "downstream: {transformers_overrides: {num_queries: 9}}",
            "'downstream.transformers_overrides' is now 'downstream.model.overrides'; rename it there and write {KEY: VALUE}",
        ),
        ("rounds: {noise: {scale_min: 0.5}}", "'rounds.noise.scale_min' is now 'augmentation.scale'; rename it there and write"),
        ("training: {tensorboard: false}", "'training.tensorboard' is now 'training.trackers'; rename it there and write"),
        (
            "upstream: {training: {tensorboard: true}}",
            "'upstream.training.tensorboard' is now 'training.trackers'; rename it there and write [tensorboard], or [] for none",
        ),
        ("relations: {standardize: true}", "'relations.standardize' is gone: true always applies; remove it there"),
    ],
)
def test_an_old_key_in_a_file_is_told_with_the_new_one(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_an_old_key_in_an_option_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'lat\.dim' is now 'lat\.head\.dim'; rename it in the option"):
        load_config(write(tmp_path, ""), ["lat.dim=3"])
    with pytest.raises(InputError, match=r"configuration: 'lat\.dim' is now"):
        config_from({"lat": {"dim": 3}})


def test_new_sections_with_the_name_of_an_old_key_are_read(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "lat: {backbone: {name: random}}")).lat.backbone.name == "random"
    assert load_config(write(tmp_path, ""), ["lat.backbone.blocks=2"]).lat.backbone.blocks == 2


def test_a_finished_run_may_name_a_constant_that_once_was_a_setting(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "report: {images_per_pair: 10000}")) == load_config(write(tmp_path, ""))
    assert load_config(write(tmp_path, "relations: {steps: 400, threshold: 0.7}")) == load_config(write(tmp_path, ""))
    assert load_config(write(tmp_path, "rounds: {noise: {scale: [1.0, 1.0]}}")) == load_config(write(tmp_path, ""))
    there = load_config(write(tmp_path, "rounds: {count: 2, noise: {scale: [1.0, 1.0], blur: 0.5}}"))
    assert there == load_config(write(tmp_path, "rounds: {count: 2, noise: {blur: 0.5}}"))
    with pytest.raises(InputError, match=r"'rounds.noise.scale' is now 'augmentation.scale'"):
        load_config(write(tmp_path, "rounds: {noise: {scale: [0.8, 1.2]}}"))
    with pytest.raises(InputError, match=r"'report.images_per_pair' is gone: 10000 always applies; remove it there"):
        load_config(write(tmp_path, "report: {images_per_pair: 5}"))
    with pytest.raises(InputError, match=r"'relations.steps' is gone: 400 always applies; remove it there"):
        load_config(write(tmp_path, "relations: {steps: 40}"))


def test_a_finished_run_names_the_tracker_of_before_and_its_results_stay_valid(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "training: {tensorboard: true, log_every: 7}"))
    assert (config.training.trackers, config.training.log_every) == (["tensorboard"], 7)
    bare = load_config(write(tmp_path, "training: {trackers: [], log_every: 7}"))
    recorded = "weight_decay warmup_steps schedule gradient_clip checkpoint_every log_every tensorboard"
    assert config.training.recorded() == bare.training.recorded()
    assert (list(bare.training.recorded()), bare.training.recorded()["tensorboard"]) == (recorded.split(), True)
