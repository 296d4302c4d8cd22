"""Answers in a run: which transfers they do again, what labels say of them, and that without any nothing changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny import PAIRS, draw_tiny, quiet, result_bytes, tiny_workspace

from lat.core.errors import InputError
from lat.labelling.class_shares import ClassShares
from lat.pipeline.run import run_stages
from lat.stages.transfer.class_shares_file import write_class_shares
from lat.stages.transfer.convention_figures import convention_figures
from lat.stages.transfer.priors import find_conventions, find_prior
from lat.workspace.label_files import config_sha256

TRANSFER = ["train-upstream", "pseudo-label", "train-lat", "transfer"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration, and a run of it up to transferred labels."""
    folder = tmp_path_factory.mktemp("answers")
    config = draw_tiny(folder)
    run_stages(tiny_workspace(config, folder / "run"), TRANSFER, say=quiet)
    return config, folder / "run"


def answered(finished: tuple[Path, Path], run: Path, text: str) -> list[str]:
    """Do what answers make a copy of the run do again; titles of the steps."""
    if not run.exists():
        shutil.copytree(finished[1], run)
    file = run.parent / "answers.yaml"
    file.write_text(text)
    return [step.title for step in run_stages(tiny_workspace(finished[0], run, f"answers={file}"), TRANSFER, say=quiet)]


def labels_of(run: Path, source: str, target: str) -> dict[str, Any]:
    return json.loads((run / "transferred" / f"{source}.{target}.json").read_text())


def names_on(labels: dict[str, Any], source_class: str) -> set[str]:
    """The classes of labels that lie on human boxes of a class."""
    names = {one["id"]: one["name"] for one in labels["categories"]}
    priors = [(one, one["provenance"].get("prior")) for one in labels["annotations"]]
    return {
        names[one["category_id"]] for one, prior in priors if prior and prior["source_class"] == source_class and prior["factor"]
    }


def test_an_answer_does_again_the_transfers_of_its_pair_alone_and_is_in_their_labels(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert answered(finished, run, "way: {city: {vehicle: [car, truck]}}") == ["transfer city way", "transfer way city"]
    assert answered(finished, run, "way: {city: {vehicle: [car, truck]}}") == []
    labels = labels_of(run, "way", "city")
    assert labels["info"]["answers"] == {"said": {"vehicle": ["car", "truck"]}, "ruled_out": {}}
    assert names_on(labels, "vehicle") <= {"car", "truck"}
    back = labels_of(run, "city", "way")["info"]["answers"]
    assert back["said"] == {}
    assert set(back["ruled_out"]) == {"bus", "person", "rider", "bicycle", "motorcycle"}
    assert "vehicle" not in names_on(labels_of(run, "city", "way"), "bus")
    for pair in PAIRS:
        if set(pair) != {"way", "city"}:
            assert labels_of(run, *pair) == labels_of(finished[1], *pair)


def test_classes_whose_hidden_parts_are_treated_alike_have_no_exceptions(finished: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    text = "hidden parts: {way: {vehicle: left out}, city: {car: left out, bus: included}, nu: {car: included}}"
    assert answered(finished, run, text) == ["transfer city nu", "transfer city way", "transfer nu city", "transfer way city"]
    answers = labels_of(run, "way", "city")["info"]["answers"]
    assert answers == {"said": {}, "ruled_out": {}, "drawn_alike": {"vehicle": ["car"]}}
    assert labels_of(run, "city", "nu")["info"]["answers"]["drawn_alike"] == {"bus": ["car"]}
    assert "answers" not in labels_of(run, "way", "nu")["info"]  # of these the two differ
    told = tiny_workspace(finished[0], run, f"answers={tmp_path / 'answers.yaml'}")
    before, now = (find_conventions(one, "way", "city").exceptions for one in (tiny_workspace(*finished), told))
    assert not now[0, 0].any()
    assert torch.equal(before[0, 1:], now[0, 1:])
    assert torch.equal(before[1:], now[1:])
    for row in convention_figures(told, "way", "city")["conventions"]:
        assert (row["source_class"], row["target_class"]) != ("vehicle", "car") or set(row["hidden"].values()) == {0.0}


def test_a_class_that_is_nothing_leaves_no_label_on_its_boxes(finished: tuple[Path, Path], tmp_path: Path) -> None:
    before = labels_of(finished[1], "way", "city")
    assert names_on(before, "vehicle")
    answered(finished, tmp_path / "run", "way: {city: {vehicle: []}}")
    assert not names_on(labels_of(tmp_path / "run", "way", "city"), "vehicle")


def test_what_is_ruled_out_is_impossible_however_rare_it_was_and_all_else_keeps_its_factor(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    run, file = tmp_path / "run", tmp_path / "answers.yaml"
    shutil.copytree(finished[1], run)
    workspace = tiny_workspace(finished[0], run)
    pairs = []
    for source, target in PAIRS:
        shares = torch.full((len(workspace.data.space(source)), len(workspace.data.space(target)) + 1), 0.01)
        shares[:, 0] = 1.01 - 0.01 * shares.shape[1]
        spaces = workspace.data.space(source), workspace.data.space(target)
        pairs.append([ClassShares(*spaces, shares, name) for name in ("counted", "learnt", "consistent", "scored")])
    write_class_shares(workspace, pairs)
    before = {pair: find_prior(workspace, *pair) for pair in PAIRS}
    file.write_text("way: {city: {cyclist: [rider, bicycle]}}")
    for pair, prior in before.items():
        answered, expected = find_prior(tiny_workspace(finished[0], run, f"answers={file}"), *pair), prior.factors.clone()
        if pair == ("way", "city"):
            assert (answered.factors[2] > 0).tolist() == [False, False, False, False, True, True, False, True]
            expected[2] = answered.factors[2]
        if pair == ("city", "way"):
            expected[[0, 1, 2, 3, 6], 2] = 0.0  # all but rider and bicycle
            expected[[0, 1, 2, 3, 6], 0] = answered.factors[[0, 1, 2, 3, 6], 0]  # which have what is left
        assert torch.equal(answered.factors, expected)


def test_answers_that_are_taken_back_leave_no_trace(finished: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = result_bytes(finished[1])
    assert answered(finished, run, "# nothing yet\n") == []
    answered(finished, run, "nu: {city: {truck: [truck]}}")
    assert result_bytes(run) != before
    workspace = tiny_workspace(finished[0], run)
    assert [step.title for step in run_stages(workspace, TRANSFER, say=quiet)] == ["transfer city nu", "transfer nu city"]
    assert result_bytes(run) == before


def test_without_answers_labels_tell_of_the_settings_that_there_were_before(finished: tuple[Path, Path], tmp_path: Path) -> None:
    config = tiny_workspace(finished[0], "run").config.to_dict()
    del config["answers"]
    config["relations"]["standalone_bias"] = -1.0
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match="standalone_bias"):
        tiny_workspace(tmp_path / "config.yaml", "run", "relations.standalone_bias=0.5")
    before, now = (tiny_workspace(path, "run") for path in (tmp_path / "config.yaml", finished[0]))
    assert before.config == now.config
    assert config_sha256(now) != config_sha256(tiny_workspace(finished[0], "run", "answers=a.yaml"))


def test_an_answered_class_is_no_longer_undecided(finished: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text("way: {city: {vehicle: [car, truck, bus]}}")
    figures = convention_figures(tiny_workspace(*finished, f"answers={file}"), "way", "city")
    vehicle = next(one for one in figures["classes"] if one["class"] == "vehicle")
    assert vehicle["contradiction"] == 0.0
    assert not vehicle["undecided"]
    assert set(vehicle["shares"]) <= {"car", "truck", "bus"}


def test_a_wrong_file_is_an_error_before_anything_is_done(finished: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no class of way 'vehicel'; did you mean 'vehicle'\?"):
        answered(finished, tmp_path / "run", "way: {city: {vehicel: [car]}}")
    (tmp_path / "answers.yaml").unlink()
    with pytest.raises(InputError, match="there is no such file of answers"):
        run_stages(tiny_workspace(*finished, f"answers={tmp_path / 'answers.yaml'}"), TRANSFER, say=quiet)


def test_answers_count_from_the_folder_of_the_configuration_and_need_a_prior(finished: tuple[Path, Path], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(finished[0].read_text() + "answers: mine.yaml\n")
    assert tiny_workspace(config, "run").config.answers == str(tmp_path / "mine.yaml")
    with pytest.raises(InputError, match=r"answers is given, but transfer\.prior\.method is none"):
        tiny_workspace(config, "run", "transfer.prior.method=none")
