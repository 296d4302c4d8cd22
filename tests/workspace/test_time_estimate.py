"""About how long a run takes: numbers of images, steps and pixels times costs, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from lat.commands.proposed_training import propose
from lat.config.load import Config, config_from
from lat.engine import machine as machines
from lat.engine.machine import Machine, this_machine
from lat.workspace.time_estimate import CPU, GPU, Counted, about, estimate, told

ONE_CORE = Machine(1)
COUNTED = {"ours": Counted(10, 4, (500, 1000)), "theirs": Counted(100, 20, (1000, 1000))}  # half a million pixels, and a million


def config(**more: Any) -> Config:
    """One target, one round, one step of one image in each training, nothing mirrored."""
    datasets = [{"name": name, "images": "images", "annotations": "a.json"} for name in COUNTED]
    once = {"training": {"steps": 1, "batch_size": 1}}
    return config_from(
        {
            **{"datasets": datasets, "target": "ours", "rounds": {"count": 0}, "pseudo_label": {"mirrored": False, "scaled": []}},
            **{"upstream": once, "lat": once, "downstream": once},
            **more,
        }
    )


def test_each_stage_by_hand() -> None:
    # of `small`: an image to train on takes 0.015 s and 1.4 s per million pixels, one to detect in 0.01 s and 0.24 s
    seconds = estimate(config(), COUNTED, ONE_CORE)
    trained, detected = (0.715, 1.415), (0.13, 0.25)  # on half a million pixels, and on a million
    assert seconds["upstream training"] == pytest.approx(sum(trained) + 4 * detected[0] + 20 * detected[1])
    # the target's 10 images in the other space, the source's 100 in that of the target, the target's 4 held-out in both
    assert seconds["pseudo-labels"] == pytest.approx((10 + 2 * 4) * detected[0] + 100 * detected[1])
    assert seconds["label-transfer training"] == pytest.approx(0.3 * (14 * 0.5 + 120 * 1.0) + 0.012)
    assert seconds["transfer"] == pytest.approx(100 * 0.012)
    assert seconds["downstream training"] == pytest.approx(sum(trained) / 2)
    assert seconds["evaluation and report"] == pytest.approx(100 * 0.008)
    assert list(seconds)[::5] == ["upstream training", "evaluation and report"]


def test_a_further_round_mirror_images_and_members_cost_more() -> None:
    plain = estimate(config(), COUNTED, ONE_CORE)
    more = estimate(config(rounds={"count": 1, "steps_share": 0.5}), COUNTED, ONE_CORE)
    assert more["upstream training"] - plain["upstream training"] == pytest.approx(0.5 * 0.715), "of the target's detector alone"
    assert more["transfer"] == pytest.approx(2 * plain["transfer"])
    assert more["downstream training"] == plain["downstream training"]
    mirrored = estimate(config(pseudo_label={"mirrored": True, "scaled": []}), COUNTED, ONE_CORE)
    assert mirrored["pseudo-labels"] == pytest.approx(2 * plain["pseudo-labels"])
    scaled = estimate(config(pseudo_label={"mirrored": False, "scaled": [1.3]}), COUNTED, ONE_CORE)
    assert scaled["pseudo-labels"] == pytest.approx((1 + 1.3**2) * plain["pseudo-labels"])
    assert "downstream training" not in estimate(config(downstream={"in_run": False}), COUNTED, ONE_CORE)
    two = estimate(config(upstream={"members": [{}], "training": {"steps": 1, "batch_size": 1}}), COUNTED, ONE_CORE)
    assert two["upstream training"] - plain["upstream training"] == pytest.approx(0.715 + 4 * 0.13), "targets alone have members"


def test_cores_speed_and_a_gpu() -> None:
    one = estimate(config(), COUNTED, ONE_CORE)
    assert sum(estimate(config(), COUNTED, Machine(32)).values()) == pytest.approx(sum(one.values()) / 8), "32 ** 0.6"
    assert sum(estimate(config(), COUNTED, Machine(1, speed=2.0)).values()) == pytest.approx(sum(one.values()) / 2)
    fast = estimate(config(), COUNTED, Machine(1, gpu_gib=24))
    assert fast["upstream training"] < one["upstream training"] / 10
    assert fast["transfer"] == one["transfer"], "done by the CPU"
    assert estimate(config(runtime={"accelerator": "cpu"}), COUNTED, Machine(1, gpu_gib=24)) == one


def test_other_backbones_count_as_a_large_one_and_a_resized_image_has_its_new_size() -> None:
    assert Counted(1, 0, (500, 1000)).megapixels(250) == 0.125
    assert Counted(1, 0, (500, 2000)).megapixels(500, longest=1000) == pytest.approx(0.25)
    assert CPU.training.keys() == GPU.training.keys() == {"small", "efficientnet_lite0", "resnet50"}
    named = {name: {"model": {"backbone": name}, "training": {"steps": 1, "batch_size": 1}} for name in ("resnet50", "resnet101")}
    first, second = (estimate(config(upstream=one), COUNTED, ONE_CORE) for one in named.values())
    assert first == second


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "10 s"), (44, "40 s"), (61, "1 min"), (560, "9 min"), (2000, "35 min"), (6000, "1.7 h"), (1e5, "28 h")],
)
def test_times_are_told_as_roughly_as_they_are_known(seconds: float, text: str) -> None:
    assert told(seconds) == text


def test_a_gpu_is_told_as_a_guess() -> None:
    assert about({"a": 60.0, "b": 120.0}, Machine(2)) == "about 3 min on 2 cores"
    assert about({"a": 60.0}, Machine(2, 24.0)) == "about 1 min on a GPU of 24 GiB, a guess: none has been measured"


def test_what_suits_a_machine() -> None:
    steps = (800, 1200, 600)
    for cores, megapixels, batch in ((2, 0.5, 8), (2, 0.51, 4), (2, 1.01, 2), (64, 2.0, 8)):  # 64 cores do 8 times as much
        one = propose(Machine(cores), [100], megapixels)
        assert (one.upstream, one.label_transfer, one.downstream, one.batch_size) == (*steps, batch)
    # 0.8 of 24 GiB less 2 are 17.2 million pixels; 60 passes over 8000 images are 30,000 batches of 16
    assert propose(Machine(8, 24.0), [50, 8000], 1.0).batch_size == 16
    assert propose(Machine(8, 22.5), [50, 8000], 1.0).batch_size == 16, "exactly 16"
    assert propose(Machine(8, 24.0), [50, 8000], 1.1).batch_size == 8
    assert propose(Machine(8, 24.0), [50, 8000], 1.0).upstream == 20_000
    one = propose(Machine(8, 24.0), [50, 800], 1.0)
    assert (one.upstream, one.label_transfer, one.downstream, one.label_transfer_batch) == (3000, 9000, 4500, 16)
    small = propose(Machine(8, 4.0), [20], 1.0)
    assert (small.upstream, small.batch_size, small.label_transfer_batch) == (800, 2, 8)


def test_this_machine_is_described_without_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 24576\necho 81920\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machines, "version", lambda package: "2.9.0")
    assert this_machine().gpu_gib == 24.0, "the first"
    assert 0.02 < this_machine().speed < 50
    assert str(this_machine()) == "a GPU of 24 GiB"
    monkeypatch.setattr(machines, "version", lambda package: "2.9.0+cpu")
    assert this_machine().gpu_gib == 0.0, "torch cannot use it"
    monkeypatch.setattr(machines, "version", lambda package: "2.9.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert this_machine().gpu_gib == 0.0
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert this_machine().gpu_gib == 0.0
