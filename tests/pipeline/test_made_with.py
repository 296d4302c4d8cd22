"""A run's folder knows how it was made: it stands for a configuration, and other settings are not taken for its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny import FEW_STEPS, draw_tiny, quiet, tiny_workspace

from lat.cli import main
from lat.config.load import load_config
from lat.pipeline.run import run_stages

FIRST_STAGES = ["train-upstream", "pseudo-label", "train-lat", "transfer", "evaluate"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("made_with")
    config = draw_tiny(folder)
    run_stages(tiny_workspace(config, folder / "run", "target=city"), FIRST_STAGES, say=quiet)
    return config, folder / "run"


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(one) for one in arguments])
    return int(caught.value.code or 0)


def test_other_settings_are_listed_and_the_folder_is_named(
    finished: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = finished
    before = (run / "config.yaml").read_bytes()
    assert status("report", config, *FEW_STEPS, f"output_dir={run}", "target=city", "rounds.count=1", "seed=3") == 2
    assert capsys.readouterr().err == (
        f"error: {run}: was made with other settings: seed=0 there, not 3, rounds.count=0 there, not 1; "
        f"run `lat report {run}`, which uses those, or `lat run` with these first\n"
    )
    assert (run / "config.yaml").read_bytes() == before


def test_other_trackers_do_nothing_again(finished: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    config, run = finished
    without = [*FEW_STEPS, f"output_dir={run}", "target=city", "training.trackers=[]"]
    assert run_stages(tiny_workspace(config, run, "target=city", "training.trackers=[]"), FIRST_STAGES, say=quiet) == []
    assert status("evaluate", config, *without) == 0
    assert "other settings" not in capsys.readouterr().err


def test_what_another_name_of_a_dataset_does_again_is_said(copied: tuple[Path, Path]) -> None:
    config, run = copied
    text = config.read_text(encoding="utf-8").replace("- name: nu\n", "- name: nice\n").replace("      nu: ", "      nice: ")
    renamed = run.parent / "renamed.yaml"
    renamed.write_text(text, encoding="utf-8")
    said: list[str] = []
    done = run_stages(tiny_workspace(renamed, run, "target=city"), ["train-upstream"], say=said.append)
    assert said[0] == (
        f"datasets.nice: was nu when {run} was made; its detector and all labels in its classes are made again "
        "(name it nu to keep them)"
    )
    assert "train-upstream nice" in [step.title for step in done]


def test_a_folder_stands_for_a_configuration_wherever_it_lies(
    finished: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved away, with spaces"
    shutil.copytree(finished[1], moved)
    assert load_config(moved).output_dir == str(moved)
    assert status("evaluate", moved) == 0
    assert "city" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert status("report", tmp_path / "empty") == 2
    assert (
        "empty: is a folder without config.yaml: no run; name a configuration file or the folder of a run"
        in capsys.readouterr().err
    )
