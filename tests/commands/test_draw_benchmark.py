"""The drawn benchmark and its configuration, of the datasets that are asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lat.commands.draw_street_scenes import benchmark_config
from lat.config.load import load_config
from lat.street_scenes import DEFAULT_DATASETS, SceneSettings, draw_street_scenes


@pytest.mark.parametrize("datasets", [("city", "bdd"), ("bdd", "way", "nu"), ("city", "nu", "way", "bdd")], ids="-".join)
def test_a_configuration_names_the_chosen_datasets_and_truth_in_each_others_space(
    datasets: tuple[str, ...], tmp_path: Path
) -> None:
    draw_street_scenes(tmp_path / "data", SceneSettings(train_images=dict.fromkeys(datasets, 1), val_images=1))
    path = tmp_path / "config.yaml"
    path.write_text(benchmark_config(str(tmp_path / "data"), str(tmp_path / "run"), datasets=datasets))
    config = load_config(path)
    assert config.dataset_names == datasets == config.target_names
    for dataset in config.datasets:
        assert tuple(dataset.truth) == (dataset.name, *(other for other in datasets if other != dataset.name))
        for file in (dataset.annotations, dataset.validation, *dataset.truth.values()):
            assert Path(file).is_file()


def test_the_command_in_a_configuration_draws_its_datasets() -> None:
    for datasets in (DEFAULT_DATASETS, ("city", "bdd")):
        command = re.search(r"lat street-scenes (.*)", benchmark_config("data", "run", datasets=datasets))
        assert command is not None
        _, *options = command[1].split()
        assert options == ([] if datasets == DEFAULT_DATASETS else ["--dataset", "city", "--dataset", "bdd"])
