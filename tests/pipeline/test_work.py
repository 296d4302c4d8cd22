"""Laws of inference in shards: whatever did them, in whatever order and after whatever stop, the bytes are the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import FEW_STEPS, draw_tiny, end_when_there, quiet, result_bytes, tiny_workspace

from lat.config.load import load_config
from lat.core.errors import InputError
from lat.engine import jobs
from lat.engine.jobs import Advance, uncounted
from lat.labels.coco.read import read_labels
from lat.pipeline.run import run_stages
from lat.pipeline.work import share_of_run, work
from lat.stages import pseudo_label
from lat.stages.shared.transfer_model import open_features
from lat.stages.transfer import transfer
from lat.workspace.label_files import read_pseudo_labels, read_transferred
from lat.workspace.label_shards import work_folder
from lat.workspace.workspace import Workspace

SMALL_SHARDS = ["runtime.images_per_batch=1", "target=city"]
LABELLED = ("pseudo-label", "transfer")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration, and the folder of an undisturbed run of it up to transferred labels."""
    folder = tmp_path_factory.mktemp("labelled")
    config = draw_tiny(folder, images=9)
    stages = ("train-upstream", "pseudo-label", "train-lat", "transfer")
    run_stages(tiny_workspace(config, folder / "run", *SMALL_SHARDS), stages, say=quiet)
    return config, folder / "run"


@pytest.fixture
def unlabelled(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    """The folder of the same run with its models alone."""
    run = tmp_path / "run"
    shutil.copytree(finished[1], run)
    for folder in (".work", "pseudo_labels", "transferred", "rounds"):
        shutil.rmtree(run / folder, ignore_errors=True)
    (run / "lat" / "class_shares.json").unlink()
    for record in (run / ".state").glob("*.json"):
        if record.name.startswith(LABELLED):
            record.unlink()
    return run


def label(config: Path, run: Path, *, force: bool = False) -> dict[str, int]:
    """Do the stages that label images; returns how many shards each did."""
    done = dict.fromkeys(LABELLED, 0)
    with pytest.MonkeyPatch.context() as patch:
        for name, kind in (("pseudo-label", pseudo_label.PseudoLabelShards), ("transfer", transfer.TransferShards)):
            patch.setattr(kind, "run", counted(kind.run, done, name))
        for stage in LABELLED:
            run_stages(tiny_workspace(config, run, *SMALL_SHARDS), [stage], force=force, say=quiet)
    return done


def counted(do: Callable[..., list[Path]], done: dict[str, int], name: str) -> Callable[..., list[Path]]:
    def run(job: object, shard: int, advance: Advance = uncounted) -> list[Path]:
        done[name] += 1
        return do(job, shard, advance)

    return run


def test_shares_of_strangers_joined_are_the_bytes_of_one_process(finished: tuple[Path, Path], unlabelled: Path) -> None:
    config, undisturbed = finished
    for stage in LABELLED:  # between them, what the shares have written is joined
        for part in (2, 0, 1):
            settings = load_config(config, [*FEW_STEPS, f"output_dir={unlabelled}", *SMALL_SHARDS])
            titles = work(share_of_run(settings, f"{part}/3"), quiet)
            assert all(title.startswith(stage) for title in titles)
            assert titles
        assert not (unlabelled / "transferred").exists()
        if stage == "pseudo-label":
            run_stages(tiny_workspace(config, unlabelled, *SMALL_SHARDS), [stage], say=quiet)
    assert label(config, unlabelled) == {"pseudo-label": 0, "transfer": 0}
    assert result_bytes(unlabelled) == result_bytes(undisturbed)


def test_after_a_kill_only_missing_shards_are_done(finished: tuple[Path, Path], unlabelled: Path, tmp_path: Path) -> None:
    config, undisturbed = finished
    whole = tmp_path / "whole"
    shutil.copytree(unlabelled, whole)
    every = label(config, whole)
    parts = unlabelled / ".work" / "transferred" / "nu.city"
    end_when_there(config, unlabelled, parts / "part-00001.parquet", *SMALL_SHARDS)
    there = len(list(parts.glob("part-*.parquet")))
    done = label(config, unlabelled)
    assert done["pseudo-label"] == 0
    assert 0 < done["transfer"] <= every["transfer"] - there
    assert result_bytes(unlabelled) == result_bytes(undisturbed)


def test_what_is_forced_is_done_again_whole(finished: tuple[Path, Path], unlabelled: Path) -> None:
    config, undisturbed = finished
    every = label(config, unlabelled)
    (unlabelled / "transferred" / "nu.city.json").unlink()
    assert label(config, unlabelled) == {"pseudo-label": 0, "transfer": 0}  # its shards are there
    assert label(config, unlabelled, force=True) == every
    assert result_bytes(unlabelled) == result_bytes(undisturbed)


def test_shards_made_from_other_inputs_are_not_used(finished: tuple[Path, Path], unlabelled: Path) -> None:
    config, _ = finished
    every = label(config, unlabelled)
    path = unlabelled / "transferred" / "nu.city.json"
    ten = read_labels(path, "city").num_boxes
    fewer = tiny_workspace(config, unlabelled, *SMALL_SHARDS, "transfer.decode.max_detections=5")
    run_stages(fewer, ["transfer"], say=quiet)
    assert read_labels(path, "city").num_boxes <= 9 * 5 < ten
    assert label(config, unlabelled) == {"pseudo-label": 0, "transfer": every["transfer"]}
    assert read_labels(path, "city").num_boxes == ten


def test_readers_take_shards_but_a_changed_file_itself(finished: tuple[Path, Path], unlabelled: Path) -> None:
    config, _ = finished
    label(config, unlabelled)
    workspace = tiny_workspace(config, unlabelled, *SMALL_SHARDS)
    path = workspace.paths.pseudo_labels("nu", "city")
    read, stored = read_labels(path, "city"), read_pseudo_labels(workspace, "nu", "city")
    for name in ("boxes_xyxy", "labels", "scores", "annotation_ids", "offsets", "image_ids"):
        assert (getattr(read, name) == getattr(stored, name)).all(), name
    content = json.loads(path.read_text())
    content["annotations"] = content["annotations"][:1]
    path.write_text(json.dumps(content))
    assert read_pseudo_labels(workspace, "nu", "city").num_boxes == 1
    parts = work_folder(unlabelled, workspace.paths.transferred("nu", "city"))
    next(parts.glob("part-*.parquet")).write_bytes(b"damaged")
    written = read_labels(unlabelled / "transferred" / "nu.city.json", "city")
    assert read_transferred(workspace, "nu", "city").num_boxes == written.num_boxes


def test_shares_of_features_are_all_that_training_needs(
    finished: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MIN_BATCHES", 1)
    config, labelled = finished
    shutil.copytree(labelled, tmp_path / "run")
    chosen = [*SMALL_SHARDS, "lat.backbone.name=random", "lat.backbone.cache=disk"]
    settings = load_config(config, [*FEW_STEPS, f"output_dir={tmp_path / 'run'}", *chosen])
    missing = []
    for part in (1, 0, 2):
        assert work(share_of_run(settings, f"{part}/3"), quiet) == ["features of random"]
        missing.append(open_features(Workspace(settings)).count_missing())
    assert missing == [36, 18, 0]  # of nine images of each of three datasets, each with its flipped one
    assert "train-lat" in [step.stage for step in run_stages(Workspace(settings), ["train-lat"], say=quiet)]
    assert work(share_of_run(settings, "0/3"), quiet) != ["features of random"]


@pytest.mark.parametrize("shard", ["3", "3/3", "-1/3", "a/3", "1/3/5", "0/0"])
def test_a_share_that_does_not_exist_is_refused(shard: str, finished: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"^--shard: is '.*'; write I/N"):
        share_of_run(load_config(finished[0], []), shard)


def test_a_job_array_needs_a_folder(finished: tuple[Path, Path]) -> None:
    config = load_config(finished[0], ["output_dir=s3://bucket/run", "runtime.executor=ray"])
    with pytest.raises(
        InputError, match=r"^output_dir: is s3://bucket/run, and `lat work` needs a folder; name a folder that all"
    ):
        share_of_run(config, "0/2")
