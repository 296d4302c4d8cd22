"""Further rounds: what each makes anew, what it takes from the rounds before, and that it goes on after a stop."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import PAIRS, draw_tiny, end_when_there, quiet, result_bytes, tiny_workspace

from lat.cli.tables.evaluation import print_results
from lat.commands.evaluate_files import evaluate_files
from lat.commands.results import read_results
from lat.config.sections import RoundsSettings
from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.data.augment.augment_settings import NoiseSettings
from lat.data.training_labels import TransferredDataset
from lat.engine.checkpoint import load_checkpoint
from lat.pipeline.plan import ROUND
from lat.pipeline.run import run_stages
from lat.stages.evaluate import TRANSFER_METHODS, mean_ap
from lat.stages.shared.detection import DetectionItems
from lat.stages.shared.label_filters import surest_labels
from lat.workspace.label_files import read_pseudo_labels, read_transferred

TWO_TARGETS = ["target=[way, city]", "rounds.labels.trained_threshold=0.1", "rounds.labels.ignore_threshold=0.05"]
SPACE = LabelSpace("t", ("a", "b"), (1, 2))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration, and the folder of an undisturbed run of it with one further round for two of three datasets."""
    folder = tmp_path_factory.mktemp("rounds")
    config = draw_tiny(folder)
    run_stages(tiny_workspace(config, folder / "run", *TWO_TARGETS, "rounds.count=1"), say=quiet)
    return config, folder / "run"


def titles(config: Path, run: Path, *settings: str, stages: tuple[str, ...] | None = None) -> list[str]:
    return [step.title for step in run_stages(tiny_workspace(config, run, *TWO_TARGETS, *settings), stages, say=quiet)]


def test_a_round_renews_what_comes_from_the_detectors_of_targets(finished: tuple[Path, Path]) -> None:
    _, run = finished
    folder = run / "rounds" / "1"
    assert {path.name for path in (folder / "upstream").iterdir()} == {"way", "city"}
    assert {path.name for path in (folder / "pseudo_labels").glob("*.json")} == {f"{s}.{t}.json" for s, t in PAIRS if t != "nu"}
    for labels in (run / "transferred", run / "rounds" / "0" / "transferred"):  # the result, and what the first round gave
        assert {path.name for path in labels.iterdir()} == {f"{s}.{t}.json" for s, t in PAIRS if t != "nu"}
    for model, kind, changed in (
        ("upstream/way", "detector", {"model"}),
        ("lat", "label_transfer", {"model", "backbone"}),
    ):
        first, second = (load_checkpoint(root / model / "model.pt", kind) for root in (run, folder))
        assert first.keys() == second.keys()
        assert all(first[key] == second[key] for key in first.keys() - changed)
        assert kind == "detector" or first["backbone"] != second["backbone"]
        assert any(not torch.equal(first["model"][name], second["model"][name]) for name in first["model"])


def test_a_round_takes_its_pseudo_labels_from_its_own_detectors_and_the_others_from_before(finished: tuple[Path, Path]) -> None:
    config, run = finished
    last = tiny_workspace(config, run, *TWO_TARGETS, "rounds.count=1")
    assert read_pseudo_labels(last, "way", "city").path == run / "rounds" / "1" / "pseudo_labels" / "way.city.json"
    assert read_pseudo_labels(last, "way", "nu").path == run / "pseudo_labels" / "way.nu.json"
    assert read_pseudo_labels(last.at(0), "way", "city").path == run / "pseudo_labels" / "way.city.json"


def test_every_round_is_scored_and_the_last_is_the_result(
    finished: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = finished
    last = tiny_workspace(config, run, *TWO_TARGETS, "rounds.count=1")
    rows = {
        (row["source"], row["target"], row["method"]): row for row in json.loads(last.paths.evaluation.read_text())["transfer"]
    }
    assert {method for _, _, method in rows} == {
        *TRANSFER_METHODS,
        "label_transfer_round_0",
        "pseudo_label_round_1",
        "union_averaged_round_1",
    }
    for source, target in last.transfers():
        truth = Path(last.data.settings_of(source).truth[target])
        for method, labels in (
            ("label_transfer", run / "transferred"),
            ("label_transfer_round_0", run / "rounds" / "0" / "transferred"),
            ("pseudo_label", run / "pseudo_labels"),
            ("pseudo_label_round_1", run / "rounds" / "1" / "pseudo_labels"),
        ):
            assert rows[source, target, method]["ap"] == evaluate_files(truth, labels / f"{source}.{target}.json")["ap"]
    print_results(read_results(last))
    output = capsys.readouterr().out
    means = [mean_ap(list(rows.values()), method) for method in ("label_transfer_round_0", "label_transfer")]
    assert re.search(rf"label transfer, mean: round 0 {means[0]:.1f} / [\d.]+, round 1 {means[1]:.1f} /", output)
    assert "city, round 1" in output
    of_last = mean_ap(list(rows.values()), "union_averaged_round_1")
    assert re.search(rf"detectors of round 1, mean: pseudo label [\d.]+ / [\d.]+, union averaged {of_last:.1f} /", output)


def without_rounds(finished: tuple[Path, Path], run: Path) -> Path:
    """A copy of the finished run as a run without further rounds leaves it."""
    config, undisturbed = finished
    shutil.copytree(undisturbed, run)
    shutil.rmtree(run / "rounds")
    for record in (run / ".state").glob("*.round.1.json"):
        record.unlink()
    titles(config, run, "rounds.count=0")
    return run


def test_without_rounds_the_first_round_is_the_same(finished: tuple[Path, Path], tmp_path: Path) -> None:
    config, undisturbed = finished
    shutil.copytree(undisturbed, run := tmp_path / "run")
    assert titles(config, run, "rounds.count=0") == ["evaluate", "report"]
    for source, target in PAIRS:
        if target != "nu":  # in the place of the result, which was another round's
            name = f"{source}.{target}.json"
            assert (run / "transferred" / name).read_bytes() == (undisturbed / "rounds/0/transferred" / name).read_bytes()


def test_one_more_round_does_only_that_round(finished: tuple[Path, Path], tmp_path: Path) -> None:
    config, run = finished
    shutil.copytree(run, tmp_path / "run")
    assert titles(config, tmp_path / "run", "rounds.count=1") == []
    done = titles(config, tmp_path / "run", "rounds.count=2")
    assert all(title.endswith("round 2") for title in done[:-2])
    assert done[-2:] == ["evaluate", "report"]
    assert len(done) == 2 + (4 + 4) + 1 + (1 + 4) + 2
    for path in (run / "transferred").iterdir():  # what was the result
        assert (tmp_path / "run/rounds/1/transferred" / path.name).read_bytes() == path.read_bytes()


def test_a_round_asked_for_later_and_killed_in_a_training_ends_with_the_same_bytes(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    config, undisturbed = finished
    run = without_rounds(finished, tmp_path / "run")
    end_when_there(config, run, run / "rounds/1/upstream/city/checkpoint.pt", *TWO_TARGETS, "rounds.count=1")
    *done, evaluated, reported = titles(config, run, "rounds.count=1")
    assert all(title.endswith("round 1") for title in done)
    assert (evaluated, reported) == ("evaluate", "report")
    assert result_bytes(run) == result_bytes(undisturbed)


def test_stages_one_by_one_begin_a_round_when_what_comes_before_is_done(finished: tuple[Path, Path], tmp_path: Path) -> None:
    config, undisturbed = finished
    run = without_rounds(finished, tmp_path / "run")
    shutil.rmtree(run / "transferred")
    settings = (*TWO_TARGETS, "rounds.count=1")
    lines: list[str] = []
    for number in (0, 1):
        for stage in ROUND:
            done = run_stages(tiny_workspace(config, run, *settings), [stage], say=lines.append)
            assert {step.round for step in done} == ({number} if number or stage == "transfer" else set())
    left = [line for line in lines if "is skipped" in line]
    assert left == ["round 1 is skipped: an earlier stage is not up to date; `lat run` runs every stage"] * 4
    (run / "transferred" / "nu.way.json").unlink()
    with pytest.raises(InputError, match=r"run/transferred/nu.way.json: does not exist yet; run `lat transfer` first"):
        run_stages(tiny_workspace(config, run, *settings), ["evaluate"], say=quiet)
    run_stages(tiny_workspace(config, run, *settings), ["transfer", "evaluate", "report"], say=quiet)
    assert result_bytes(run) == result_bytes(undisturbed)


@pytest.mark.parametrize("setting", ["rounds.steps_share=0.75", "rounds.noise.blur=0.5", "rounds.labelling_ratio=[0.5]"])
def test_a_changed_setting_of_rounds_leaves_the_first_round_alone(
    finished: tuple[Path, Path], tmp_path: Path, setting: str
) -> None:
    config, undisturbed = finished
    shutil.copytree(undisturbed, tmp_path / "run")
    done = titles(config, tmp_path / "run", "rounds.count=1", setting, stages=("train-upstream",))
    assert done == ["train-upstream city round 1", "train-upstream way round 1"]


def test_a_detector_sees_ground_truth_of_full_weight_and_weighted_transferred_labels(finished: tuple[Path, Path]) -> None:
    config, run = finished
    first = tiny_workspace(config, run, *TWO_TARGETS)
    own, source = first.data.train_part("way"), first.data.train_part("nu")
    labels, augmentation = read_transferred(first, "nu", "way"), first.config.augmentation
    items = DetectionItems([own, TransferredDataset.of(source, labels, first.config.rounds.labels)], augmentation)
    assert len(items) == len(own) + len(source)
    drawn = [items.item(i, torch.Generator().manual_seed(0)) for i in range(len(items))]
    assert all((boxes.weights == 1).all() for _, boxes in drawn[: len(own)])
    transferred = [boxes for _, boxes in drawn[len(own) :]]
    assert sum(map(len, transferred)) == (labels.scores >= 0.05).sum()
    assert all(boxes.space == own.space for _, boxes in drawn)
    for boxes in transferred:
        torch.testing.assert_close(boxes.weights, torch.where(boxes.scores >= 0.1, boxes.scores, 0.0))
    assert [tuple(image.shape[1:]) for image, _ in drawn[len(own) :]] == [source.size_hw(i) for i in range(len(source))]


def test_a_setting_of_a_later_round_leaves_the_rounds_before_it_alone(finished: tuple[Path, Path]) -> None:
    rounds = RoundsSettings(labelling_ratio=[0.2, 0.5], noise=NoiseSettings(widen=[0.0, 0.5]))
    assert [rounds.ratio_of(number) for number in (1, 2, 3)] == [0.2, 0.5, 0.5]
    widening = ["rounds.count=3", "augmentation.scale=[1.0,1.5]", "rounds.noise.widen=[0.0,0.5]"]
    config = tiny_workspace(*finished, *widening).config
    assert [config.round_augmentation(number).scale for number in range(4)] == [[1, 1.5], [1, 1.5], [1, 2.25], [1, 3.375]]
    other = replace(rounds, count=2, labelling_ratio=[0.2, 0.6], noise=replace(rounds.noise, widen=[0.0, 1.0]))
    assert other.described(1) == rounds.described(1)
    assert other.described(2) != rounds.described(2)
    assert RoundsSettings().ratio_of(1) is None


def test_a_labelling_ratio_leaves_the_surest_labels_of_each_class_and_makes_the_rest_dont_care(
    finished: tuple[Path, Path],
) -> None:
    config, run = finished
    workspace = tiny_workspace(config, run, *TWO_TARGETS)
    labels = read_transferred(workspace, "nu", "way")
    own = workspace.data.train_part("way").labels
    per_class = np.bincount(own.labels[~own.is_crowd], minlength=len(own.space))
    least_score = float(np.quantile(labels.scores, 0.2))
    thinned = surest_labels(workspace, "way", labels, least_score, ratio=0.2)
    assert thinned.num_boxes == labels.num_boxes
    counted = labels.scores >= least_score
    assert not thinned.is_crowd[~counted].any()
    for k in range(len(labels.space)):  # as many images are labelled as the target has
        rows = np.flatnonzero(counted & (labels.labels == k))
        kept = rows[~thinned.is_crowd[rows]]
        assert len(kept) == min(len(rows), round(0.2 * per_class[k]))
        dropped = np.setdiff1d(rows, kept)
        assert not len(kept) or not len(dropped) or labels.scores[kept].min() >= labels.scores[dropped].max()
    assert counted.sum() > (~thinned.is_crowd[counted]).sum()


def test_a_noisy_round_killed_in_a_training_ends_with_the_same_bytes(finished: tuple[Path, Path], tmp_path: Path) -> None:
    config, plain = finished
    noise = ["color=0.4", "blur=0.5", "mosaic=0.5", "dropout=0.3"]
    settings = [*TWO_TARGETS, "rounds.count=1", "rounds.labelling_ratio=[0.5]", *(f"rounds.noise.{each}" for each in noise)]
    runs = [without_rounds(finished, tmp_path / name) for name in ("undisturbed", "killed")]
    model = "rounds/1/upstream/city/model.pt"
    run_stages(tiny_workspace(config, runs[0], *settings), ["train-upstream"], say=quiet)
    end_when_there(config, runs[1], runs[1] / "rounds/1/upstream/city/checkpoint.pt", *settings)
    run_stages(tiny_workspace(config, runs[1], *settings), ["train-upstream"], say=quiet)
    assert (runs[0] / model).read_bytes() == (runs[1] / model).read_bytes()
    assert (runs[0] / model).read_bytes() != (plain / model).read_bytes()
