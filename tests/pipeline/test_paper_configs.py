"""Every configuration of the repository, on stand-ins in the layouts of the real datasets."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from factories import coco_dict, draw_images, label_space, write_coco, write_json
from stand_ins import STAND_INS
from tiny import FEW_STEPS, quiet

from lat.cli import main
from lat.config.load import Config, load_config
from lat.data.dataset import load_dataset
from lat.pipeline.run import run_stages
from lat.street_scenes import SceneSettings, draw_street_scenes
from lat.workspace.workspace import Workspace

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))
PAPER = ("paper/class_divergent.yaml", "paper/one_to_one.yaml", "paper/small_large.yaml")
ONE_STEP = [
    *FEW_STEPS,
    *("upstream.model.backbone=small", "upstream.model.weights=none", "upstream.model.image_size=0", "upstream.training.steps=1"),
    *("lat.backbone.name=dinov2_vits14", "lat.backbone.weights=none", "lat.backbone.image_size=28", "lat.training.steps=1"),
    *(
        "downstream.model.backbone=small",
        "downstream.model.weights=none",
        "downstream.model.image_size=0",
        "downstream.training.steps=1",
    ),
    *("downstream.training.batch_size=2", "downstream.model.max_detections=5"),
]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def make_data(config: Config, root: Path) -> None:
    """Write a stand-in for each dataset of a configuration, and run the command that it names, if it names one."""
    for dataset in config.datasets:
        if dataset.name in STAND_INS:
            STAND_INS[dataset.name](root / dataset.name)
            program, *arguments = shlex.split(dataset.made_by)
            assert program == "lat"
            assert run(*arguments) == 0
        elif dataset.split:
            write_coco(root / dataset.name, coco_dict(space=label_space(), splits=["train", "val"]))
        elif dataset.validation_fraction:
            write_coco(root / dataset.name, coco_dict([[(2, 3, 10, 8)]] * 20))
    if "smears" in config.dataset_names:
        for folder, part, first in (("target", "train", 1), ("target", "val", 3), ("source", "train", 1)):
            document = coco_dict([[(2, 3, 10, 8)]] * 2)
            for i, image in enumerate(document["images"], start=first):
                image["file_name"] = f"{i:03d}.png"
            write_json(root / folder / f"{part}.json", document)
            draw_images(root / folder / "images", document)
    if "city" in config.dataset_names:
        draw_street_scenes(root, SceneSettings(train_images={"city": 2, "nu": 2, "way": 2}, val_images=1))


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_finds_its_data_in_the_layout_of_the_real_one(name: str, tmp_path: Path) -> None:
    config = load_config(CONFIGS / name, [f"data_root={tmp_path}"])
    make_data(config, tmp_path)
    for dataset in config.datasets:
        train, validation = load_dataset(dataset)
        assert train.labels.repairs == {}
        assert train.image(0).shape[1:] == train.size_hw(0)
        assert validation is not None or dataset.name in ("synscapes", "smears")


@pytest.mark.parametrize("name", PAPER)
def test_one_step_of_every_stage_of_each_configuration_of_the_paper(name: str, tmp_path: Path) -> None:
    settings = [*ONE_STEP, f"data_root={tmp_path}", f"output_dir={tmp_path}/run"]
    config = load_config(CONFIGS / name, settings)
    make_data(config, tmp_path)
    done = run_stages(Workspace(config), say=quiet)
    stages = {"train-upstream", "pseudo-label", "train-lat", "transfer", "train-downstream", "evaluate", "report"}
    assert {step.stage for step in done} == stages
    targets = [row["target"] for row in json.loads((tmp_path / "run" / "evaluation.json").read_text())["downstream"]]
    assert sorted(targets) == sorted(config.target_names)


@pytest.mark.parametrize("name", PAPER)
def test_settings_of_the_paper_are_those_it_prints(name: str) -> None:
    config = load_config(CONFIGS / name)
    figures = [(one.training.steps, one.training.batch_size) for one in (config.upstream, config.lat, config.downstream)]
    assert figures == [(50_000, 16), (30_000, 4), (50_000, 16)]
    assert (config.lat.proposals.jitter_probability, config.lat.proposals.drop_probability) == (0.5, 0.05)
    assert (config.upstream.model.detector, config.downstream.model.detector) == ("auto", "auto")
    assert config.lat.backbone.name.startswith("dinov2_")
    assert round(config.downstream.target_share * config.downstream.training.steps) == 10_000
    subsets = {re.search(r"--subset (\d+)", dataset.made_by) for dataset in config.datasets}
    assert {found and found[1] for found in subsets} == ({"3000"} if name == PAPER[0] else {None})


@pytest.mark.parametrize("name", PAPER)
def test_learning_rates_are_those_that_settle_and_the_printed_ones_stand_beside_them(name: str) -> None:
    printed = re.findall(r"(\w+\.training\.learning_rate=0\.2)$", (CONFIGS / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(printed) == 3
    for overrides, rate in (([], 0.02), (printed, 0.2)):
        config = load_config(CONFIGS / name, overrides)
        assert {one.training.learning_rate for one in (config.upstream, config.lat, config.downstream)} == {rate}


@pytest.mark.parametrize("name", PAPER)
def test_commands_in_the_comments_of_a_configuration_of_the_paper_can_be_read(name: str) -> None:
    comments = (line[1:] for line in (CONFIGS / name).read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    commands = re.findall(r"(?:^|\n) *lat (train-downstream .*)", "\n".join(comments).replace("\\\n", " "))
    assert len(commands) == (1 if "one_to_one" in name else 2)
    for command in commands:
        _, path, *overrides = shlex.split(command)
        assert path == f"configs/{name}"
        downstream = load_config(CONFIGS / name, overrides).downstream
        training = downstream.training
        assert training.optimizer == "adamw"
        if "one_to_one" not in name:
            assert (training.steps, training.batch_size, training.learning_rate) == (300_000, 64, 1e-3)
            assert round(downstream.target_share * training.steps) == 10_000  # as many as with Faster R-CNN


def test_check_names_the_command_of_each_dataset_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(CONFIGS / PAPER[0])
    assert run("check", name, f"data_root={tmp_path}") == 2
    lines = capsys.readouterr().out.splitlines()
    config = load_config(Path(name), [f"data_root={tmp_path}"])
    wanted = [f"problem: {one.annotations}: is not there; make it with `{one.made_by}`" for one in config.datasets]
    assert lines == [*wanted, "3 problems in 3 datasets"]
    assert run("run", name, f"data_root={tmp_path}", f"output_dir={tmp_path}/run") == 2
    assert capsys.readouterr().err == f"error: {wanted[0].removeprefix('problem: ')}\n"
