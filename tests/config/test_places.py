"""Paths in a configuration count from its folder, those on a command line from the working directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from lat.config.load import config_from, load_config
from lat.config.places import absolute, in_folder, path_from, placed, seen_from
from lat.core.errors import InputError

SETTINGS = {
    "output_dir": "../runs/a",
    "data_root": "../data",
    "datasets": [
        {"name": "a", "images": "${data_root}/a", "annotations": "/there/a.json", "truth": {"b": "b.json"}},
        {"name": "b", "images": "s3://bucket/b", "annotations": "${data_root}/b.json"},
    ],
    "label_sets": [{"name": "sam", "files": {"a": "sam.json"}}],
    "upstream": {"members": [{"model": {"weights": "w.pt", "backbone": "resnet50"}}]},
    "downstream": {"model": {"weights": "PekingU/rtdetr_r18vd", "detector": "rtdetr"}, "yolo": {"model": "yolo11n.pt"}},
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration in `configs/` of the working directory, which has a space in its name."""
    folder = tmp_path / "my work"
    (folder / "configs").mkdir(parents=True)
    monkeypatch.chdir(folder)
    path = Path("configs/mine.yaml")
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def test_paths_count_from_the_folder_of_the_file(file: Path) -> None:
    config = load_config(file)
    first, second = config.datasets
    assert (config.output_dir, config.data_root) == ("runs/a", "data")
    assert (first.images, first.annotations, first.truth) == ("data/a", "/there/a.json", {"b": "configs/b.json"})
    assert (second.images, second.annotations) == ("s3://bucket/b", "data/b.json")
    assert config.label_sets[0].files == {"a": "configs/sam.json"}
    assert config.upstream.members[0]["model"] == {"weights": "configs/w.pt", "backbone": "resnet50"}
    assert config.downstream.model.weights == "PekingU/rtdetr_r18vd", "a name, as long as there is no such folder"
    Path("configs/PekingU/rtdetr_r18vd").mkdir(parents=True)
    assert load_config(file).downstream.model.weights == "configs/PekingU/rtdetr_r18vd"
    assert config.downstream.yolo.model == "yolo11n.pt"


def test_the_same_file_means_the_same_paths_from_everywhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = absolute(load_config(file).to_dict())
    monkeypatch.chdir("configs")
    assert absolute(load_config(Path("mine.yaml")).to_dict()) == here
    assert load_config(Path("mine.yaml")).data_root == "../data"
    monkeypatch.chdir("/")
    assert absolute(load_config(Path(here["output_dir"]).parents[1] / file).to_dict()) == here


def test_what_is_typed_counts_from_the_working_directory(file: Path) -> None:
    config = load_config(file, ["output_dir=runs/b", "data_root=elsewhere"])
    assert (config.output_dir, config.datasets[0].images) == ("runs/b", "elsewhere/a")
    assert config_from(SETTINGS).output_dir == "../runs/a"


def test_a_file_that_is_there_by_the_old_rule_alone_is_explained(file: Path) -> None:
    file.write_text(yaml.safe_dump({**SETTINGS, "data_root": "data", "output_dir": "runs/a"}))
    assert load_config(file).data_root == "configs/data", "nothing is there by either rule"
    Path("data/a").mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        load_config(file)
    assert str(caught.value) == (
        "configs/mine.yaml: data_root is data, which is in the working directory; paths count from the folder of this file "
        f"(looked for {Path('configs/data').absolute()}); write ../data"
    )
    assert load_config(file, ["data_root=data"]).data_root == "data"
    Path("configs/data/a").mkdir(parents=True)
    Path("runs/a/.state").mkdir(parents=True)
    with pytest.raises(InputError, match=r"output_dir is runs/a, a run in the working .*; write \.\./runs/a, or \./runs/a for"):
        load_config(file)
    file.write_text(yaml.safe_dump({**SETTINGS, "output_dir": "./runs/a"}))
    assert load_config(file).output_dir == "configs/runs/a"


def test_there_and_back(file: Path) -> None:
    settings = load_config(file).to_dict()
    folder = Path("runs/a")
    assert placed(seen_from(folder, settings), folder) == settings
    assert seen_from(folder, settings)["output_dir"] == "."
    assert seen_from(folder, settings)["datasets"][0]["truth"] == {"b": "../../configs/b.json"}


def test_links_are_followed_as_the_system_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disk" / "runs").mkdir(parents=True)
    os.symlink(tmp_path / "disk" / "runs", "runs")
    assert path_from(Path("runs/a"), "data") == str(tmp_path / "data"), "../../data would be on the disk"
    assert in_folder(Path("runs"), "../data") == "runs/../data"
    assert os.path.realpath(in_folder(Path("runs"), "../data")) == str(tmp_path / "disk" / "data")
