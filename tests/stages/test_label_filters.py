"""Filters in a run: which labels of a file they keep, what they leave as it was, and what is printed of them."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tiny import draw_tiny, quiet, tiny_workspace

from lat.cli.tables.pseudo_labels import kept_table, print_kept_labels
from lat.commands.evaluate_files import evaluate_files
from lat.commands.kept_labels import count_kept, read_kept_labels
from lat.config.load import load_config
from lat.core.errors import InputError
from lat.labelling.filters import wanted_boxes
from lat.labels.coco.write import write_labels
from lat.pipeline.plan import all_steps
from lat.pipeline.run import run_stages
from lat.stages.shared.detection import Predictor, load_detector
from lat.stages.shared.kept_detections import keep_pseudo_labels
from lat.stages.shared.label_filters import labelled_counts
from lat.workspace.label_files import label_info
from lat.workspace.workspace import Workspace

STAGES = ["train-upstream", "pseudo-label", "train-lat", "transfer"]
DARS = ["pseudo_label.filter.method=dars", "pseudo_label.filter.share=0.2"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration, and a run of it without filters, of one target, up to its transferred labels."""
    folder = tmp_path_factory.mktemp("filters")
    config = draw_tiny(folder)
    run_stages(tiny_workspace(config, folder / "run", "target=city"), STAGES, say=quiet)
    return config, folder / "run"


def again(finished: tuple[Path, Path], run: Path, *settings: str, stage: str = "pseudo-label") -> tuple[Workspace, list[str]]:
    """Do a stage with other settings in a copy of the run; returns it, and the titles of the steps that were done."""
    shutil.copytree(finished[1], run)
    workspace = tiny_workspace(finished[0], run, "target=city", *settings)
    return workspace, [step.title for step in run_stages(workspace, [stage], say=quiet)]


def annotations(path: Path, *but: str) -> list[str]:
    """The annotations of a file as text that can be compared, without some keys."""
    return [json.dumps({k: v for k, v in one.items() if k not in but}) for one in read(path)["annotations"]]


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_by_default_all_detections_of_a_high_enough_score_are_written(finished: tuple[Path, Path], tmp_path: Path) -> None:
    workspace, _ = again(finished, tmp_path / "run", "target=city", "pseudo_label.mirrored=false", "pseudo_label.voting_iou=1")
    predictor, part = (
        Predictor(load_detector(workspace.paths.upstream_model("city")), workspace.fabric),
        workspace.data.train_part("nu"),
    )
    found = predictor.predict([part.image(i) for i in range(len(part))])
    settings = workspace.config.pseudo_label
    kept = [keep_pseudo_labels(boxes, settings.threshold, workspace.config.upstream.model.max_detections) for boxes in found]
    info = label_info(workspace, "pseudo_label", workspace.paths.upstream_model("city"))
    write_labels(tmp_path / "by_hand.json", part.labels, workspace.data.space("city"), kept, info=info)
    assert workspace.at(0).paths.pseudo_labels("nu", "city").read_bytes() == (tmp_path / "by_hand.json").read_bytes()


def test_unsure_detections_are_kept_for_comparisons_and_no_other_stage_sees_them(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    before = tiny_workspace(*finished, "target=city").at(0).paths.detections("nu", "city")
    scores = sorted({one["score"] for one in read(before)["annotations"]})
    threshold = sum(scores[len(scores) // 2 :][:2]) / 2  # between two scores, for those of the file are rounded
    workspace, _ = again(finished, tmp_path / "run", f"pseudo_label.threshold={threshold}")
    detections, pseudo = workspace.paths.detections("nu", "city"), workspace.paths.pseudo_labels("nu", "city")
    assert annotations(detections) == annotations(before)
    surer = [one for one in read(detections)["annotations"] if one["score"] >= threshold]
    assert 0 < len(surer) < len(read(detections)["annotations"])
    assert [{**one, "id": 0} for one in surer] == [{**one, "id": 0} for one in read(pseudo)["annotations"]]
    run_stages(workspace, ["train-lat", "transfer", "evaluate"], say=quiet)
    (row,) = (
        row
        for row in json.loads(workspace.paths.evaluation.read_text())["transfer"]
        if (row["source"], row["method"]) == ("nu", "pseudo_label")
    )
    truth = Path(workspace.data.settings_of("nu").truth["city"])
    assert row["ap"] == evaluate_files(truth, detections)["ap"]
    detections.unlink()
    assert [step.title for step in run_stages(workspace, ["train-lat", "transfer"], say=quiet)] == []


def test_what_a_filter_chooses_is_all_that_is_scored(finished: tuple[Path, Path], tmp_path: Path) -> None:
    workspace, _ = again(finished, tmp_path / "run", *DARS)
    assert workspace.paths.detections("nu", "city") == workspace.paths.pseudo_labels("nu", "city")


def test_dars_keeps_the_wanted_numbers_of_what_would_be_written(finished: tuple[Path, Path], tmp_path: Path) -> None:
    workspace, done = again(finished, tmp_path / "run", *DARS)
    assert sorted(done) == sorted(f"pseudo-label {s} {t}" for s in workspace.names for t in workspace.others(s))
    path, before = workspace.paths.pseudo_labels("nu", "city"), finished[1] / "pseudo_labels" / "nu.city.json"
    assert set(annotations(path, "id")) < set(annotations(before, "id"))
    found, kept = (np.bincount(workspace_labels(one, workspace), minlength=7) for one in (before, path))
    wanted = wanted_boxes(labelled_counts(workspace, "city"), len(workspace.data.train_part("city")), 3, 0.2)
    assert kept.tolist() == np.minimum(found, wanted).tolist()
    described = read(path)["info"]["filter"]
    assert (described["method"], described["temperature"]) == ("dars", None)
    assert (described["found"], described["wanted"]) == (found.tolist(), wanted.tolist())
    assert [one is None for one in described["thresholds"]] == (kept == 0).tolist()
    held_out = "pseudo_labels/held_out/city.city.json"
    assert (tmp_path / "run" / held_out).read_bytes() == (finished[1] / held_out).read_bytes()


def workspace_labels(path: Path, workspace: Workspace) -> np.ndarray:
    """Classes of the annotations of a file in the space of city."""
    ids = workspace.data.space("city").category_ids
    return np.array([ids.index(one["category_id"]) for one in read(path)["annotations"]])


@pytest.mark.parametrize("method", ["class_balanced", "validation"])
def test_a_temperature_comes_from_held_out_images_of_every_space(
    finished: tuple[Path, Path], tmp_path: Path, method: str
) -> None:
    settings = ["pseudo_label.filter.temperature=true", f"pseudo_label.filter.method={method}"]
    workspace, done = again(finished, tmp_path / "run", *settings)
    assert done[:2] == ["pseudo-label nu held-out nu", "pseudo-label way held-out way"], "they are no targets"
    described = read(workspace.paths.pseudo_labels("nu", "way"))["info"]["filter"]
    assert (described["method"], described["temperature"] > 0) == (method, True)
    before = annotations(finished[1] / "pseudo_labels" / "nu.way.json", "id")
    assert set(annotations(workspace.paths.pseudo_labels("nu", "way"), "id")) <= set(before), "scores are written unscaled"
    assert run_stages(workspace, ["pseudo-label"], say=quiet) == []


def test_a_filter_of_transferred_labels_leaves_their_scores(finished: tuple[Path, Path], tmp_path: Path) -> None:
    settings = ["transfer.filter.method=class_balanced", "transfer.filter.share=0.5"]
    workspace, done = again(finished, tmp_path / "run", *settings, stage="transfer")
    assert done == ["transfer nu city", "transfer way city"]
    path, before = workspace.paths.transferred("nu", "city"), finished[1] / "transferred" / "nu.city.json"
    assert set(annotations(path, "id")) < set(annotations(before, "id"))
    found, kept = (np.bincount(workspace_labels(one, workspace), minlength=7) for one in (before, path))
    assert kept.tolist() == np.ceil(found / 2).tolist()
    assert read(path)["info"]["calibration"] == read(before)["info"]["calibration"]


def test_transferred_labels_above_thresholds_of_held_out_images(finished: tuple[Path, Path], tmp_path: Path) -> None:
    settings = ["transfer.filter.method=validation", "transfer.filter.temperature=true"]
    workspace, _ = again(finished, tmp_path / "run", *settings, stage="transfer")
    described = read(workspace.paths.transferred("way", "city"))["info"]["filter"]
    assert (described["method"], described["wanted"], len(described["thresholds"])) == ("validation", None, 7)


def test_a_run_without_a_filter_has_the_steps_that_it_had(finished: tuple[Path, Path]) -> None:
    steps = {step.title: step for step in all_steps(tiny_workspace(*finished, "target=city"), ["pseudo-label"])}
    held_out = {f"pseudo-label city held-out {space}" for space in ("city", "nu", "way")}
    assert {title for title in steps if "held-out" in title} == held_out
    assert steps["pseudo-label nu way"].data == ("nu",)
    dars = {step.title: step for step in all_steps(tiny_workspace(*finished, "target=city", *DARS), ["pseudo-label"])}
    assert dars["pseudo-label nu way"].data == ("nu", "way"), "the ground truth of way says how many are wanted"
    assert all(dars[title].settings == steps[title].settings for title in held_out)


def test_wrong_settings_name_the_file_and_the_key(finished: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"filter\.method is 'best'"):
        load_config(finished[0], ["transfer.filter.method=best"])


def test_what_is_kept_of_each_class_is_printed(finished: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    print_kept_labels(read_kept_labels(tiny_workspace(*finished, "target=city"), source="nu"))
    titles = [line for line in capsys.readouterr().out.splitlines() if "KL divergence" in line]
    assert [title.split(":")[0] for title in titles] == ["nu in classes of city", "nu in classes of way"]


def test_a_table_has_a_row_for_each_class() -> None:
    info = {"found": [9, 4, 0], "wanted": [6, 2, 1], "thresholds": [0.75, 0.5, None]}
    table = kept_table(count_kept("nu", ("car", "bus", "tram"), np.array([30, 10, 0]), np.array([6, 2, 0]), info))
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(table)
    lines = [line.replace("│", " ").split() for line in console.export_text().splitlines() if "│" in line]
    assert lines == [
        ["car", "30", "(75.0%)", "9", "6", "6", "(75.0%)", "0.750"],
        ["bus", "10", "(25.0%)", "4", "2", "2", "(25.0%)", "0.500"],
        ["tram", "0", "(0.0%)", "0", "1", "0", "(0.0%)", "-"],
    ]
    assert str(table.title).endswith("0.00000")
