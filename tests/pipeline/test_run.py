"""What a run does, does again, and leaves alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny import PAIRS, draw_tiny, end_when_there, quiet, result_bytes, tiny_workspace

from lat.core.errors import InputError
from lat.core.files import sha256_of_file
from lat.engine.jobs import missing_shards
from lat.engine.local_workers import LocalWorkers
from lat.labels import chunks
from lat.labels.coco.read import read_labels
from lat.pipeline.run import run_stages
from lat.stages import doubt
from lat.stages.doubt import DoubtShards
from lat.stages.evaluate import TRANSFER_METHODS, EvaluationShards, candidate_labels, evaluate
from lat.stages.report import report
from lat.workspace.jobs import do_shards_without_device


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration, and the folder of an undisturbed run of it; tests copy the folder before they change it."""
    folder = tmp_path_factory.mktemp("finished")
    config = draw_tiny(folder)
    run_stages(tiny_workspace(config, folder / "run"), say=quiet)
    return config, folder / "run"


def test_a_run_writes_every_file_of_the_contract(finished: tuple[Path, Path]) -> None:
    _, run = finished
    for name in ("city", "nu", "way"):
        assert {p.name for p in (run / "upstream" / name).iterdir()} >= {"model.pt", "metrics.json", "log.jsonl"}
    assert {p.name for p in (run / "pseudo_labels").glob("*.json")} == {f"{s}.{t}.json" for s, t in PAIRS}
    every = {f"{target}.{space}.json" for target in ("city", "nu", "way") for space in ("city", "nu", "way")}
    assert {p.name for p in (run / "pseudo_labels" / "held_out").iterdir()} == every
    assert {p.name for p in (run / "transferred").iterdir()} == {f"{s}.{t}.json" for s, t in PAIRS}
    assert {p.name for p in (run / "lat").iterdir()} >= {"model.pt", "metrics.json", "log.jsonl"}
    assert (run / "report" / "index.html").is_file()
    evaluation = json.loads((run / "evaluation.json").read_text())
    rows = {(row["source"], row["target"], row["method"]) for row in evaluation["transfer"]}
    assert rows == {(s, t, method) for s, t in PAIRS for method in TRANSFER_METHODS}
    assert {(row["source"], row["target"]) for row in evaluation["agreement"]} == set(PAIRS)
    assert evaluation["downstream"] == []
    for row in evaluation["transfer"]:
        assert row["f1_best"] >= max(row["f1"], row["f1_chosen"])
        assert sum(one["count"] for one in row["reliability"]) > 0 or row["ece"] is None


def test_the_report_comes_with_a_ranking_of_the_labels(finished: tuple[Path, Path]) -> None:
    _, run = finished
    assert {p.name for p in (run / "doubt").iterdir()} == {f"{s}.{t}.json" for s, t in PAIRS}
    ranking = json.loads((run / "doubt" / "nu.city.json").read_text(encoding="utf-8"))
    labels = read_labels(run / "transferred" / "nu.city.json", "city")
    assert ranking["labels"] == {"file": "transferred/nu.city.json", "sha256": sha256_of_file(labels.path)}
    assert {image["image_id"] for image in ranking["images"]} == set(labels.image_ids.tolist())
    counted = labels.at_least(0.5)
    assert {box["annotation_id"] for box in ranking["boxes"]} == set(counted.annotation_ids.tolist())
    for rows in (ranking["images"], ranking["boxes"]):
        doubts = [row["doubt"] for row in rows]
        assert doubts == sorted(doubts, reverse=True)
    assert len(list((run / "report" / "pictures" / "nu").iterdir())) == len(labels)


def test_evaluation_doubt_and_report_do_not_depend_on_how_many_images_are_compared_at_once(
    copied: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = copied
    before = result_bytes(run)
    for name in ("evaluation.json", "doubt", "report"):
        path = run / name
        path.unlink() if path.is_file() else shutil.rmtree(path)
    monkeypatch.setattr(chunks, "IMAGES_AT_ONCE", 1)
    monkeypatch.setattr(doubt, "ROWS_AT_ONCE", 2)
    workspace = tiny_workspace(config, run)
    evaluate(workspace)
    report(workspace)
    assert result_bytes(run) == before


def test_workers_find_the_same_figures_and_doubt(copied: tuple[Path, Path]) -> None:
    config, run = copied
    before = result_bytes(run)
    for path in [run / "evaluation.json", *(run / "doubt").iterdir()]:
        path.unlink()
    workspace = tiny_workspace(config, run)
    pairs = workspace.transfers()
    done, left = EvaluationShards(workspace, inputs=""), DoubtShards(workspace, inputs="")
    done.run(0)  # as if interrupted
    workspace.devices.executor_without_device = LocalWorkers(2, worth_images=1)
    evaluate(workspace)
    do_shards_without_device(workspace, DoubtShards, inputs="")
    assert missing_shards(left) == []
    assert len(done.sizes) == len(pairs) * (1 + len(candidate_labels(workspace, *pairs[0])))  # all have truth
    report(workspace)
    assert result_bytes(run) == before
    assert not left.folder.exists()


@pytest.mark.parametrize("kind", ["pseudo_labels", "transferred"])
def test_label_files_are_in_the_target_space_with_the_images_of_the_source(finished: tuple[Path, Path], kind: str) -> None:
    config, run = finished
    for source, target in PAIRS:
        labels = json.loads((run / kind / f"{source}.{target}.json").read_text())
        of_source = json.loads((config.parent / "data" / source / "train.json").read_text())
        of_target = json.loads((config.parent / "data" / target / "train.json").read_text())
        assert labels["categories"] == [{"id": c["id"], "name": c["name"]} for c in of_target["categories"]]
        assert labels["images"] == of_source["images"]
        assert [a["id"] for a in labels["annotations"]] == list(range(1, len(labels["annotations"]) + 1))
        assert labels["annotations"], "the thresholds of the tiny run keep something"
        calibrated = {"calibration"} if kind == "transferred" else set()
        assert set(labels["info"]) == {"method", "model_sha256", "config_sha256"} | calibrated
        for annotation in labels["annotations"]:
            if kind == "pseudo_labels":
                assert len(annotation["class_scores"]) == len(of_target["categories"])
            else:
                check_provenance(annotation["provenance"], source, run, config.parent / "data")


def check_provenance(provenance: dict[str, object], source: str, run: Path, data: Path) -> None:
    """The named annotation stands in the named file."""
    is_truth = provenance["origin"] == "ground_truth"
    assert is_truth == (provenance["space"] == source)
    path = data / source / "train.json" if is_truth else run / "pseudo_labels" / f"{source}.{provenance['space']}.json"
    assert provenance["annotation_id"] in read_labels(path, "any").annotation_ids


def test_a_second_run_does_nothing(copied: tuple[Path, Path]) -> None:
    config, run = copied
    before = {
        path: path.stat().st_mtime_ns
        for path in run.rglob("*")
        if path.is_file() and path.name not in ("config.yaml", "hashes.json")
    }
    assert run_stages(tiny_workspace(config, run), say=quiet) == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("transfer.decode.nms_iou=0.9", {"transfer", "evaluate", "report"}),
        ("lat.training.steps=7", {"train-lat", "transfer", "evaluate", "report"}),
        ("runtime.images_per_batch=2", set()),
        ("lat.backbone.cache=none", set()),
    ],
)
def test_a_changed_setting_sets_off_the_stages_that_depend_on_it(
    copied: tuple[Path, Path], override: str, stages: set[str]
) -> None:
    config, run = copied
    assert {step.stage for step in run_stages(tiny_workspace(config, run, override), say=quiet)} == stages


def test_another_name_for_the_command_that_makes_a_dataset_sets_off_nothing(copied: tuple[Path, Path], tmp_path: Path) -> None:
    config, run = copied
    other = tmp_path / "config.yaml"
    other.write_text(config.read_text().replace("  - name: city\n", "  - name: city\n    made_by: draw it\n"))
    assert tiny_workspace(other, run).data.settings_of("city").made_by == "draw it"
    assert run_stages(tiny_workspace(other, run), say=quiet) == []


def test_a_lost_file_is_made_again_and_nothing_after_it(copied: tuple[Path, Path]) -> None:
    config, run = copied
    lost = run / "pseudo_labels" / "nu.way.json"
    content = lost.read_bytes()
    lost.unlink()
    assert [step.title for step in run_stages(tiny_workspace(config, run), say=quiet)] == ["pseudo-label nu way"]
    assert lost.read_bytes() == content


def test_changed_annotations_set_off_that_detector_alone_and_what_follows(copied: tuple[Path, Path], tmp_path: Path) -> None:
    config, run = copied
    data = tmp_path / "data"
    shutil.copytree(config.parent / "data", data)
    path = data / "way" / "train.json"
    content = json.loads(path.read_text())
    content["annotations"] = content["annotations"][1:]
    path.write_text(json.dumps(content))
    done = run_stages(tiny_workspace(config, run, f"data_root={data}"), ["train-upstream", "pseudo-label"], say=quiet)
    assert [step.title for step in done if step.stage == "train-upstream"] == ["train-upstream way"]
    assert {step.title for step in done if step.stage == "pseudo-label"} == {
        "pseudo-label city way",
        "pseudo-label nu way",
        "pseudo-label way city",
        "pseudo-label way nu",
        *(f"pseudo-label {target} held-out way" for target in ("city", "nu")),
        *(f"pseudo-label way held-out {space}" for space in ("city", "nu", "way")),
    }


def test_other_content_of_a_weights_file_sets_off_the_training_that_starts_from_it(
    copied: tuple[Path, Path], tmp_path: Path
) -> None:
    config, run = copied
    weights = tmp_path / "weights.pt"

    def trained() -> list[str]:
        workspace = tiny_workspace(config, run, f"upstream.model.weights={weights}")
        return [step.title for step in run_stages(workspace, ["train-upstream"], select=lambda s: s.group == "city", say=quiet)]

    shutil.copy(run / "upstream" / "nu" / "model.pt", weights)
    assert trained() == ["train-upstream city"]
    assert trained() == []
    shutil.copy(run / "upstream" / "way" / "model.pt", weights)
    assert trained() == ["train-upstream city"]


def test_what_is_repaired_in_memory_is_said(copied: tuple[Path, Path], tmp_path: Path) -> None:
    config, run = copied
    shutil.copytree(config.parent / "data", tmp_path / "data")
    path = tmp_path / "data" / "nu" / "train.json"
    content = json.loads(path.read_text())
    x, y, width, height = content["annotations"][0]["bbox"]
    content["annotations"][0]["bbox"] = [x - 300, y, width + 300, height]
    path.write_text(json.dumps(content))
    lines: list[str] = []
    run_stages(
        tiny_workspace(config, run, f"data_root={tmp_path / 'data'}"), ["report"], select=lambda step: False, say=lines.append
    )
    assert lines == [f"{path}: repaired in memory: box clipped at the image border: 1"]


def test_a_stage_whose_inputs_are_missing_names_the_command(copied: tuple[Path, Path]) -> None:
    config, run = copied
    (run / "upstream" / "nu" / "model.pt").unlink()
    with pytest.raises(InputError, match="run `lat train-upstream` first"):
        run_stages(tiny_workspace(config, run), ["pseudo-label"], say=quiet)


@pytest.mark.parametrize(
    "settings",
    [
        ("lat.backbone.name=random",),
        ("lat.backbone.name=dinov2_vits14", "lat.backbone.weights=none", "lat.backbone.image_size=28"),
        ("lat.backbone.name=dinov2_vits14_reg", "lat.backbone.weights=none", "lat.backbone.image_size=28"),
        ("lat.backbone.cache=disk", "lat.fusion.attention=standard"),
        ("lat.fusion.attention=none",),
        ("runtime.precision=bf16-mixed",),
    ],
    ids=lambda settings: " ".join(settings),
)
def test_every_backbone_trains_and_transfers(copied: tuple[Path, Path], settings: tuple[str, ...]) -> None:
    config, run = copied
    done = run_stages(tiny_workspace(config, run, *settings), ["train-lat", "transfer"], say=quiet)
    assert len(done) == 2 + len(PAIRS)
    assert json.loads((run / "transferred" / "nu.way.json").read_text())["annotations"]


def test_a_cache_on_disk_gives_the_same_model_as_one_in_memory(copied: tuple[Path, Path]) -> None:
    config, run = copied
    contents = []
    for cache in ("memory", "disk"):
        run_stages(
            tiny_workspace(config, run, f"lat.backbone.cache={cache}", "lat.backbone.cache_dtype=float32"),
            ["train-lat"],
            force=True,
            say=quiet,
        )
        contents.append((run / "lat" / "model.pt").read_bytes())
    assert contents[0] == contents[1]


def test_cached_features_that_nothing_uses_are_removed_by_a_whole_run(copied: tuple[Path, Path]) -> None:
    config, run = copied
    lines: list[str] = []

    def files(*settings: str) -> set[Path]:
        run_stages(tiny_workspace(config, run, *settings), say=lines.append)
        return set((run / "cache").glob("*/*"))

    disk = "lat.backbone.cache=disk", "lat.training.steps=2"
    kept = files(*disk)
    assert kept
    assert not any("removed" in line for line in lines)
    (run / "cache" / "notes.txt").write_text("not ours")
    (half := next(iter(kept)).parent / ".abc.part").write_bytes(b"half")
    assert files(*disk) == kept
    assert lines[-1] == "removed 1 file of cached features that nothing uses any more (0.0 MiB)"
    other = files(*disk, "lat.backbone.cache_dtype=float32")
    assert len(other) == len(kept)
    assert not other & kept
    assert f"removed {len(kept)} files" in lines[-1]
    assert files("lat.training.steps=2", "lat.backbone.cache_dtype=float32") == set()
    assert f"removed {len(other)} files" in lines[-1]
    assert [path.name for path in (run / "cache").iterdir()] == ["notes.txt"]
    assert not half.exists()


def test_one_target_or_several_from_the_same_model(copied: tuple[Path, Path]) -> None:
    config, run = copied
    shutil.rmtree(run / "transferred")
    done = run_stages(tiny_workspace(config, run, "target=[way, city]"), ["transfer"], say=quiet)
    assert {step.title for step in done} == {f"transfer {s} {t}" for s, t in PAIRS if t != "nu"}
    assert run_stages(tiny_workspace(config, run, "target=city"), ["evaluate"], say=quiet)
    rows = json.loads((run / "evaluation.json").read_text())["transfer"]
    assert {(row["source"], row["target"]) for row in rows} == {("nu", "city"), ("way", "city")}


def test_a_run_killed_in_every_stage_goes_on_and_ends_with_the_same_bytes(finished: tuple[Path, Path], tmp_path: Path) -> None:
    config, undisturbed = finished
    run = tmp_path / "run"
    for moment in ("upstream/nu/checkpoint.pt", "pseudo_labels/nu.city.json", "lat/checkpoint.pt", "transferred/nu.way.json"):
        end_when_there(config, run, run / moment)
    run_stages(tiny_workspace(config, run), say=quiet)
    assert result_bytes(run) == result_bytes(undisturbed)
