"""Training downstream detectors: files, methods, strategies, and what sets a training off again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import FEW_STEPS, draw_tiny, quiet, tiny_workspace

from lat.baselines.class_names import labels_by_class_names
from lat.cli import main
from lat.core.errors import InputError
from lat.engine.checkpoint import load_checkpoint
from lat.labels.coco.read import read_labels
from lat.pipeline.plan import stages_of_run
from lat.pipeline.run import run_stages
from lat.stages.downstream.train import training_datasets
from lat.stages.shared.detection import load_detector
from lat.workspace.label_files import read_downstream_labels, read_transferred
from lat.workspace.workspace import Workspace

TARGET = ["target=city", "downstream.training.steps=3", "downstream.training.batch_size=2", "downstream.model.max_detections=10"]
STAGE = ["train-downstream"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("downstream")
    config = draw_tiny(folder)
    run_stages(tiny_workspace(config, folder / "run", *TARGET), say=quiet)
    return config, folder / "run"


def test_programs_are_told_every_row(copied: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    settings = [*FEW_STEPS, *TARGET, f"output_dir={copied[1]}"]
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", str(copied[0]), *settings, "--force", "--json-lines"])
    assert caught.value.code == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    stages = [(row["event"], row["stage"]) for row in rows if row["event"].startswith("stage_")]
    assert stages == [("stage_begun", "evaluate"), ("stage_done", "evaluate")]
    evaluation = json.loads((copied[1] / "evaluation.json").read_text())
    told = [row for row in rows if row["event"] == "result"]
    assert told == [{"event": "result", "table": table, **row} for table in evaluation for row in evaluation[table]]
    assert {row["table"] for row in told} == {"transfer", "agreement"}  # no downstream detector has been trained yet
    assert rows[-1]["event"] == "next"


def workspace_of(run: tuple[Path, Path], *overrides: str) -> Workspace:
    return tiny_workspace(*run, *TARGET, *overrides)


def test_it_writes_model_and_metrics_and_evaluate_lists_every_detector_by_name(copied: tuple[Path, Path]) -> None:
    run_stages(workspace_of(copied), STAGE, say=quiet)
    alone = workspace_of(copied, "downstream.name=alone", "downstream.method=target_only")
    run_stages(alone, [*STAGE, "evaluate"], say=quiet)
    folders = copied[1] / "downstream"
    assert {path.name for path in folders.iterdir()} == {"city", "city.alone"}
    assert {path.name for path in (folders / "city").iterdir()} == {"model.pt", "metrics.json", "log.jsonl", "tensorboard"}
    rows = json.loads(alone.paths.evaluation.read_text())["downstream"]
    assert [(row["name"], row["method"], row["strategy"]) for row in rows] == [
        ("", "label_transfer", "mixed_then_target"),
        ("alone", "target_only", "target_only"),
    ]
    assert all(row["target"] == "city" and row["detector"] == "torchvision" and row["images"] == 1 for row in rows)
    test, validation = alone.data.test_part("city"), alone.data.validation_part("city")
    assert test is not None
    assert validation is not None
    assert [row["boxes"] for row in rows] == [test.labels.num_boxes] * 2 != [validation.labels.num_boxes] * 2
    assert run_stages(alone, [*STAGE, "evaluate"], say=quiet) == []
    assert run_stages(workspace_of(copied), [*STAGE, "evaluate"], say=quiet) == []


def test_a_run_trains_it_unless_the_configuration_leaves_it_out(finished: tuple[Path, Path]) -> None:
    assert "train-downstream" not in stages_of_run(workspace_of(finished).config)
    assert "train-downstream" in stages_of_run(workspace_of(finished, "downstream.in_run=true").config)


def test_transferred_labels_that_have_changed_set_the_training_off_again(copied: tuple[Path, Path]) -> None:
    run_stages(workspace_of(copied), STAGE, say=quiet)
    path = workspace_of(copied).paths.transferred("nu", "city")
    content = json.loads(path.read_text())
    content["annotations"].pop()
    path.write_text(json.dumps(content))
    assert [step.title for step in run_stages(workspace_of(copied), STAGE, say=quiet)] == ["train-downstream city"]


def test_target_only_needs_no_labels_of_others_and_no_source_image(copied: tuple[Path, Path]) -> None:
    for folder in ("transferred", "pseudo_labels"):
        shutil.rmtree(copied[1] / folder)
    seen = workspace_of(copied, "downstream.method=target_only")
    assert [step.title for step in run_stages(seen, STAGE, say=quiet)] == ["train-downstream city"]


CLASS_MAP = """
nu: {adult: person, child: person, bicycle: bicycle, bus: bus, car: car, motorcycle: motorcycle, truck: truck}
way: {vehicle: car, pedestrian: person, cyclist: null}
"""


@pytest.mark.parametrize("method", ["class_map", "box_statistics", "class_thresholds", "lgpl"])
def test_baselines_with_labels_of_their_own_train_on_them(copied: tuple[Path, Path], tmp_path: Path, method: str) -> None:
    (tmp_path / "map.yaml").write_text(CLASS_MAP)
    seen = workspace_of(copied, f"downstream.method={method}", f"downstream.class_map={tmp_path / 'map.yaml'}")
    assert [step.title for step in run_stages(seen, STAGE, say=quiet)] == [
        "train-downstream city labels",
        "train-downstream city",
    ]
    own = seen.data.train_part("way").labels
    counts = dict(zip(own.space.class_names, np.bincount(own.labels, minlength=3).tolist(), strict=True))
    labels = read_downstream_labels(seen, "way", "city")
    if method in ("class_map", "box_statistics"):
        assert labels.num_boxes == counts["vehicle"] + counts["pedestrian"]
    else:
        assert labels.num_boxes <= max(counts["vehicle"] + counts["pedestrian"], 15)
        assert all((part.boxes(i).weights > 0).all() for part in training_datasets(seen, "city")[1:] for i in range(len(part)))
    assert json.loads(seen.paths.downstream_metrics("city").read_text())["method"] == method
    assert run_stages(seen, STAGE, say=quiet) == []


@pytest.mark.parametrize(
    ("settings", "space"),
    [
        (["downstream.method=student_teacher", "downstream.student_teacher.burn_in_steps=1"], "city"),
        (["downstream.method=label_unification"], "joint"),
        (["downstream.method=label_unification", "downstream.label_unification.classification_loss=null_bce"], "joint"),
        (["downstream.model.detector=rtdetr"], "city"),
        (["downstream.model.detector=deformable_detr", "downstream.method=label_unification"], "joint"),
    ],
)
def test_other_ways_to_train_write_a_detector_and_its_figures(copied: tuple[Path, Path], settings: list[str], space: str) -> None:
    if any("detr" in setting for setting in settings):
        pytest.importorskip("transformers")
    seen = workspace_of(copied, *settings)
    assert [step.title for step in run_stages(seen, STAGE, say=quiet)] == ["train-downstream city"]
    assert load_detector(seen.paths.downstream_model("city")).space.name == space
    metrics = json.loads(seen.paths.downstream_metrics("city").read_text())
    assert set(metrics["per_class"]) == set(seen.data.space("city").class_names)
    assert run_stages(seen, STAGE, say=quiet) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["downstream.method=odd"], "downstream.method is 'odd'; choose one of label_transfer, target_only"),
        (["downstream.method=class_map"], "downstream.class_map is empty; name the YAML file of the map"),
        (["downstream.name=a/b"], "downstream.name is 'a/b'; use letters"),
        (["downstream.target_share=1"], "downstream.target_share is 1.0; choose a number between 0 and 1"),
        (["downstream.method=lgpl", "downstream.model.detector=rtdetr"], "downstream.method is lgpl, which cannot train rtdetr"),
        (
            [
                *("downstream.method=label_unification", "downstream.model.detector=rtdetr"),
                "downstream.label_unification.classification_loss=null_bce",
            ],
            "downstream.label_unification.classification_loss is null_bce, which rtdetr has no softmax to replace by",
        ),
        (["downstream.method=student_teacher"], "downstream.student_teacher.burn_in_steps is 200, and there are 3 steps"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(finished: tuple[Path, Path], settings: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        workspace_of(finished, *settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("method", ["class_names", "pseudo_label", "union", "union_averaged"])
def test_methods_write_the_labels_that_they_train_on(copied: tuple[Path, Path], method: str) -> None:
    seen = workspace_of(copied, f"downstream.method={method}", f"downstream.name={method}")
    done = run_stages(seen, STAGE, say=quiet)
    assert [step.title for step in done] == [f"train-downstream city labels {method}", f"train-downstream city {method}"]
    labels = read_downstream_labels(seen, "nu", "city")
    assert labels.info["method"] == method
    by_names = labels_by_class_names(seen.data.train_part("nu").labels, seen.data.space("city"))
    pseudo = read_labels(seen.paths.pseudo_labels("nu", "city"), "city")
    if method == "class_names":
        assert labels.num_boxes == sum(map(len, by_names)) > 0
    elif method == "pseudo_label":
        assert labels.num_boxes == pseudo.num_boxes > 0
    else:
        assert max(sum(map(len, by_names)), 1) <= labels.num_boxes <= sum(map(len, by_names)) + pseudo.num_boxes


def test_a_training_that_was_stopped_ends_with_the_same_bytes(copied: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    several = ["downstream.training.steps=6", "training.checkpoint_every=2", "downstream.target_share=0.5"]
    run_stages(workspace_of(copied, *several), STAGE, say=quiet)
    model = workspace_of(copied).paths.downstream_model("city")
    whole = {path.name: path.read_bytes() for path in model.parent.glob("*.*")}
    shutil.rmtree(model.parent)
    seen = workspace_of(copied, *several)
    original, calls = type(seen.data.train_part("city")).image, 0

    def fails_at_the_ninth(self, i):
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        return original(self, i)

    monkeypatch.setattr(type(seen.data.train_part("city")), "image", fails_at_the_ninth)
    with pytest.raises(KeyboardInterrupt):
        run_stages(seen, STAGE, say=quiet)
    assert load_checkpoint(model.parent / "checkpoint.pt", "training_run")["step"] == 4
    monkeypatch.undo()
    run_stages(workspace_of(copied, *several), STAGE, say=quiet)
    assert {path.name: path.read_bytes() for path in model.parent.glob("*.*")} == whole


def test_labels_of_another_space_or_of_other_images_are_refused_in_one_line(copied: tuple[Path, Path]) -> None:
    seen = workspace_of(copied)
    shutil.copy(seen.paths.root / "transferred" / "nu.city.json", seen.paths.root / "kept.json")
    shutil.copy(seen.paths.root / "pseudo_labels" / "nu.way.json", seen.paths.transferred("nu", "city"))
    with pytest.raises(InputError, match=r"nu\.city\.json"):
        run_stages(seen, STAGE, say=quiet)
    content = json.loads((seen.paths.root / "kept.json").read_text())
    content["annotations"][0]["score"] = 1.5
    seen.paths.transferred("nu", "city").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"nu\.city\.json.*score"):
        run_stages(workspace_of(copied), STAGE, say=quiet)
    content["annotations"] = []
    content["images"] = content["images"][1:]
    seen.paths.transferred("nu", "city").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"nu\.city\.json: its images are not those of"):
        run_stages(workspace_of(copied), STAGE, say=quiet)
    assert not seen.paths.downstream_model("city").exists()


def test_labels_of_the_sources_come_weighed(copied: tuple[Path, Path]) -> None:
    plain = workspace_of(copied)
    scores = {source: torch.tensor(read_transferred(plain, source, "city").scores) for source in ("nu", "way")}
    middle = float(torch.cat(list(scores.values())).median())
    thresholds = [f"downstream.labels.trained_threshold={middle}", f"downstream.labels.ignore_threshold={middle / 2}"]
    seen = workspace_of(copied, *thresholds)
    parts = training_datasets(seen, "city")[1:]
    assert parts
    for part in parts:
        weights = torch.cat([part.boxes(i).weights for i in range(len(part))])
        assert len(weights) == (scores[part.name] >= middle / 2).sum()
        assert (weights > 0).sum() == (scores[part.name] >= middle).sum() > 0


def test_a_source_without_labels_that_count_is_left_out(copied: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    seen = workspace_of(copied, "downstream.method=class_names")
    run_stages(seen, STAGE, say=quiet)  # no class of way is called as one of city
    assert [part.name for part in training_datasets(seen, "city")] == ["city", "nu"]
    assert "way.json: no label of a score of 0.5 or more; way is left out" in capsys.readouterr().out
