"""Training a YOLO: what ultralytics is given; the training itself where it is installed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import coco_dict, label_space, training, write_coco

from lat.core.errors import InputError
from lat.data.dataset import DetectionDataset, load_dataset
from lat.detectors.detector_settings import YoloSettings
from lat.detectors.ultralytics.yolo_detector import YoloDetector
from lat.stages.downstream.yolo_phases import plan_phases, trainer_options
from lat.stages.downstream.yolo_training import YoloJob, train_yolo, write_training_folder

TRAINING = training(steps=100, batch_size=4, learning_rate=0.01, warmup_steps=10, trackers=[])


def dataset(folder: Path, name: str, images: int = 2, **options: Any) -> DetectionDataset:
    value = coco_dict([[(2 + i, 3, 10, 8), (20, 5, 6, 12)] for i in range(images)], **options)
    for annotation in value["annotations"][1::2]:
        annotation["score"] = 0.4
    return load_dataset(write_coco(folder / name, value, name=name))[0]


def test_epochs_make_up_the_steps_and_both_phases_follow_one_cosine() -> None:
    # 100 steps of 4 images, a quarter of them on the target: 300 images of 2 x 10 + 30 a list are 6 epochs, 100 of 10 are 10.
    mixed, target = plan_phases([10, 30], TRAINING, 0.25, repeat=2)
    assert (mixed.name, mixed.images, mixed.epochs) == ("mixed", 50, 6)
    assert (target.name, target.images, target.epochs) == ("target", 10, 10)
    assert mixed.first_rate == 0.01
    # cos(3/4 pi) = -0.7071: 0.01 x (0.01 + 0.99 x 0.1464)
    assert mixed.last_rate == target.first_rate == pytest.approx(0.001550, abs=1e-6)
    assert target.last_rate == pytest.approx(1e-4)
    assert mixed.warmup_epochs == pytest.approx(10 / 13)  # 50 images are 13 batches
    assert target.warmup_epochs == 0


def test_epochs_are_rounded_up_and_a_phase_without_share_is_left_out() -> None:
    assert [(p.name, p.epochs) for p in plan_phases([1000, 0], training(steps=1), 0.0, 1)] == [("mixed", 1)]
    assert [(p.name, p.epochs) for p in plan_phases([150, 99], TRAINING, 1.0, 1)] == [("target", 3)]
    (phase,) = plan_phases(
        [150], training(steps=100, batch_size=4, learning_rate=0.01, warmup_steps=10, schedule="constant"), 0.0, 1
    )
    assert phase.first_rate == phase.last_rate == 0.01


def test_options_give_one_update_a_batch_and_no_choice_on_validation(tmp_path: Path) -> None:
    (phase,) = plan_phases([40], TRAINING, 0.0, 1)
    options = trainer_options(phase, YoloSettings(image_size=160), TRAINING, tmp_path)
    assert (options["batch"], options["nbs"], options["imgsz"], options["epochs"]) == (4, 4, 160, 10)
    assert (options["optimizer"], options["lr0"], options["lrf"]) == ("AdamW", 0.01, pytest.approx(0.01))
    assert (options["patience"], options["val"], options["plots"], options["amp"]) == (0, False, False, False)


def test_the_target_is_listed_as_often_as_asked_and_the_second_list_is_the_target_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_training_folder(folder, [dataset(tmp_path, "city"), dataset(tmp_path, "nu", 3)], dataset(tmp_path, "val", 1), repeat=3)
    mixed = (folder / "mixed.txt").read_text().splitlines()
    counts = Counter(mixed)
    assert counts["./images/train0/001.png"] == 3
    assert counts["./images/train1/003.png"] == 1
    assert len(mixed) == 3 * 2 + 3
    assert (folder / "target.txt").read_text() == "./images/train0/001.png\n./images/train0/002.png\n"
    for line in mixed:
        assert (folder / line).is_symlink()
        assert (folder / line.replace("images", "labels")).with_suffix(".txt").read_text().count("\n") == 2
    assert "train: target.txt\nval: images/val\n" in (folder / "target.yaml").read_text()
    assert len(list((folder / "images" / "val").iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"training": training(steps=100, schedule="multistep")},
            "training.schedule: is 'multistep', which YOLO does not",
        ),
        ({"target_only_share": 1.5}, "target_only_share: is 1.5; choose a number from 0 to 1"),
        ({"repeat": 0}, "repeat: is 0; choose 1 or more"),
    ],
)
def test_values_out_of_range_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    chosen, job = change.pop("training", TRAINING), {"out_dir": tmp_path / "out", "seed": 0, **change}
    with pytest.raises(InputError, match=message):
        train_yolo([dataset(tmp_path, "city")], None, YoloSettings(), chosen, YoloJob(**job))
    assert not (tmp_path / "out").exists()


def test_another_label_space_is_refused(tmp_path: Path) -> None:
    other = dataset(tmp_path, "nu", space=label_space("nu", ["car", "bus"]))
    with pytest.raises(InputError, match=r"categories: the class list is \[1 car, 2 bus\], but that of city is \[1 car, 2 tr"):
        train_yolo([dataset(tmp_path, "city"), other], None, YoloSettings(), TRAINING, YoloJob(tmp_path / "out", seed=0))


def test_a_tiny_training_writes_weights_and_log_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics", reason="ultralytics is an optional package that is not installed")
    settings = YoloSettings(image_size=32)
    few = training(steps=4, batch_size=2, log_every=2, trackers=[])
    datasets = [dataset(tmp_path, "city"), dataset(tmp_path, "nu", 4)]
    before = set(tmp_path.rglob("*"))
    digests = set()
    for out in (tmp_path / "1", tmp_path / "2"):
        job = YoloJob(out_dir=out, seed=0, target_only_share=0.5, min_score=0.3)
        path = train_yolo(datasets, datasets[0], settings, few, job)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        assert sorted(file.name for file in out.iterdir()) == ["log.jsonl", "yolo.pt"]
    assert len(digests) == 1
    new = set(tmp_path.rglob("*")) - before
    assert all(file.is_relative_to(tmp_path / "1") or file.is_relative_to(tmp_path / "2") for file in new)
    steps = [json.loads(line)["step"] for line in (tmp_path / "1" / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 5]  # 4 of 6 images are 1 epoch of 3 batches, 4 of 2 images are 2 epochs of 1 batch
    (boxes,) = YoloDetector(path, datasets[0].space, settings).predict([datasets[0].image(0)])
    assert 0 < len(boxes) <= 5


def test_no_label_above_the_threshold_and_an_unknown_model_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics", reason="ultralytics is an optional package that is not installed")
    city = dataset(tmp_path, "city", category_ids=[[1, 1], [1, 1]])
    low = replace(city, labels=city.labels.where(city.labels.scores < 0.5))
    job = YoloJob(tmp_path / "out", seed=0)
    with pytest.raises(InputError, match=r"annotations\.json: has no labels of a score of 0\.5 or more"):
        train_yolo([city, low], None, YoloSettings(), TRAINING, job)
    with pytest.raises(InputError, match=r"^model: is 'yolo11z9\.yaml', which ultralytics does not have; check"):
        train_yolo([city], None, YoloSettings(model="yolo11z9.yaml"), TRAINING, job)
    assert not (tmp_path / "out" / ".yolo").exists()
