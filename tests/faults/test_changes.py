"""What changes under a run between two stages: images, labels that a person edits, the clock."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fault_reference import Reference
from fault_runs import SETTINGS, Plan, Runs, command
from tiny import quiet

from lat.config.load import load_config
from lat.pipeline.plan import STAGES, all_steps
from lat.pipeline.run import run_stages
from lat.workspace.step_records import StepRecords
from lat.workspace.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]  # the undisturbed run is made once


def outdated(config: Path, run: Path, *settings: str) -> set[str]:
    """The titles of the steps that a run would do first."""
    workspace = Workspace(load_config(config, [*SETTINGS, f"output_dir={run}", *settings]))
    records = StepRecords(workspace)
    return {step.title for step in all_steps(workspace, [stage.name for stage in STAGES]) if not records.is_current(step)}


def without_first_box(path: Path) -> bytes:
    """Take the first box out of a labels file; returns the file's new content."""
    content = json.loads(path.read_bytes())
    del content["annotations"][0]
    path.write_text(json.dumps(content))
    return path.read_bytes()


def test_a_clock_that_jumps_changes_nothing(runs: Runs, whole: Reference) -> None:
    run = whole.begun_before("train-lat round 1", whole.config.parent / "jumping")
    ended = runs.lat(*command(whole.config, run), run=run, plan=Plan(clock_seconds=40_000_000))
    assert (ended.status, ended.errors) == (0, "")
    assert whole.differences(run) == []


def test_an_image_that_is_gone_or_cut_is_named_and_back_again_all_is_as_before(runs: Runs, whole: Reference) -> None:
    run, data = whole.begun_before("report", whole.config.parent / "changing"), whole.config.parent / "changing-data"
    shutil.copytree(whole.config.parent / "data", data)
    settings = [f"data_root={data}"]
    image = sorted((data / "nu" / "images").iterdir())[0]
    aside = image.rename(data / image.name)
    gone = runs.lat(*command(whole.config, run, *settings), run=run)
    assert gone.status == 2
    assert gone.line.startswith(f"error: {image}: ")
    image.write_bytes(aside.read_bytes()[:-40])
    cut = runs.lat(*command(whole.config, run, *settings), run=run)
    assert cut.status == 2
    assert cut.line.startswith(f"error: {image}: ")
    assert {"train-upstream nu", "pseudo-label nu city"} <= outdated(whole.config, run, *settings)
    aside.rename(image)
    ended = runs.lat(*command(whole.config, run, *settings), run=run)
    assert (ended.status, ended.begun) == (0, ["report"])


def test_labels_that_a_person_edits_count_and_what_depends_on_them_is_done_again(runs: Runs, whole: Reference) -> None:
    run = whole.begun_before("report", whole.config.parent / "edited")
    path = run / "transferred" / "nu.city.json"
    edited = without_first_box(path)
    ended = runs.lat(*command(whole.config, run), run=run)
    assert (ended.status, ended.begun) == (0, ["train-downstream city", "evaluate", "report"])
    assert path.read_bytes() == edited
    said = f"{path}: was changed by hand, and counts as it is (`lat transfer --force` writes it anew)"
    assert [told["text"] for told in ended.told if told["event"] == "message"].count(said) == 1
    assert whole.differences(run)
    assert runs.lat(*command(whole.config, run), run=run).begun == []
    path.write_bytes((whole.run / "transferred" / "nu.city.json").read_bytes())
    assert runs.lat(*command(whole.config, run), run=run).status == 0
    assert whole.differences(run) == []


def test_only_a_sound_file_that_no_run_has_written_counts_as_edited(runs: Runs, whole: Reference) -> None:
    run = whole.begun_before("report", whole.config.parent / "sound")
    step, path = "pseudo-label nu city", run / "pseudo_labels" / "nu.city.json"
    before, again = path.read_bytes(), {"train-lat", "train-upstream city round 1", "report"}
    edited = without_first_box(path)
    assert step not in outdated(whole.config, run)
    assert outdated(whole.config, run) >= {"train-lat", "report"}
    path.write_bytes(edited[: len(edited) // 2])
    assert step in outdated(whole.config, run)
    path.write_bytes(before)
    assert outdated(whole.config, run).isdisjoint(again - {"report"})

    # a run of other settings has written it, and was killed before it could record that
    workspace = Workspace(load_config(whole.config, [*SETTINGS, f"output_dir={run}", "pseudo_label.voting_iou=1"]))
    record = (run / ".state" / "pseudo-label.nu.city.json").read_bytes()
    run_stages(workspace, ["pseudo-label"], select=lambda each: each.title == step, say=quiet)
    assert path.read_bytes() != before
    (run / ".state" / "pseudo-label.nu.city.json").write_bytes(record)
    assert step in outdated(whole.config, run)
