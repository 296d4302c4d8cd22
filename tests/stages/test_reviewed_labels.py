"""What a person has decided on transferred labels: what trains on it, in which round, and what sets it off."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import draw_tiny, quiet, tiny_workspace

from lat.commands.apply_review import apply_decisions
from lat.core.errors import InputError
from lat.core.files import sha256_of_file
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_table
from lat.labels.reviewed import reviewed_path, with_review
from lat.pipeline.run import run_stages
from lat.stages.downstream.train import training_datasets
from lat.stages.shared.transfer_model import TransferItems, open_features
from lat.workspace.reviewed_labels import read_trained, review_files, reviewed_images, trained_labels
from lat.workspace.workspace import Workspace

TARGET = ["target=city", "downstream.training.steps=2", "downstream.training.batch_size=2", "downstream.model.max_detections=10"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("reviewed")
    config = draw_tiny(folder)
    run_stages(
        tiny_workspace(config, folder / "run", *TARGET), ["train-upstream", "pseudo-label", "train-lat", "transfer"], say=quiet
    )
    return config, folder / "run"


def review(workspace: Workspace, source: str = "nu") -> Path:
    """A person rejects the first image, and on the second one accepts the first box and rejects the second."""
    labels = workspace.paths.transferred(source, "city")
    table = read_labels(labels, "city")
    first = int(table.annotation_ids[table.rows(1)][0])
    decisions = {
        "format": "lat review decisions",
        "version": 1,
        "labels": {"file": str(labels), "sha256": sha256_of_file(labels)},
        "images": [{"image_id": int(table.image_ids[0]), "decision": "reject"}],
        "boxes": [{"annotation_id": first, "decision": "accept"}, {"annotation_id": first + 1, "decision": "reject"}],
    }
    file = workspace.paths.root / "decisions.json"
    file.write_text(json.dumps(decisions))
    return apply_decisions(file).path


def test_a_review_is_trained_on_in_place_of_the_labels(copied: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    workspace = tiny_workspace(*copied, *TARGET)
    before = read_labels(workspace.paths.transferred("nu", "city"), "city")
    assert run_stages(workspace, ["train-downstream"], say=quiet)
    file = review(workspace)
    assert file == copied[1] / "transferred" / "nu.city.reviewed.json" == trained_labels(workspace, "nu", "city")
    capsys.readouterr()
    part, labels = read_trained(workspace, "nu", "city")
    assert capsys.readouterr().out == f"{file}: nu is trained on with the labels of its review, 2 images of which a person saw\n"
    assert part.labels.file_names == before.file_names[1:] == labels.file_names
    assert labels.scores[0] == 1
    assert labels.num_boxes == before.num_boxes - 1 - np.diff(before.offsets)[0]
    nu = training_datasets(workspace, "city")[1]
    assert (nu.name, len(nu)) == ("nu", 2)
    assert nu.boxes(0).weights[0] == 1
    assert [step.title for step in run_stages(workspace, ["train-downstream"], say=quiet)] == ["train-downstream city"]
    assert run_stages(workspace, ["train-downstream"], say=quiet) == []


def test_a_review_of_other_labels_is_left_out_and_told_of(copied: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    workspace = tiny_workspace(*copied, *TARGET)
    file, labels = review(workspace), workspace.paths.transferred("nu", "city")
    write_table(labels, replace(read_labels(labels, "city"), info={"by": "hand"}))
    capsys.readouterr()
    part, found = read_trained(workspace, "nu", "city")
    assert (len(part), found.info) == (3, {"by": "hand"})
    said = f"{file}: is a review of other labels than nu.city.json now has, and is left out; review these\n"
    assert capsys.readouterr().out == said


def test_a_review_of_a_review_counts_as_one_of_the_labels(copied: tuple[Path, Path]) -> None:
    workspace = tiny_workspace(*copied, *TARGET)
    file = review(workspace)
    table = read_labels(file, "city")
    again = replace(table, scores=np.ones_like(table.scores), info=with_review(table, sha256_of_file(file), [99]))
    write_table(file, again)
    assert trained_labels(workspace, "nu", "city") == file
    assert read_labels(file, "city").info["reviewed"]["image_ids"] == [*table.info["reviewed"]["image_ids"], 99]


def test_images_of_another_dataset_are_refused(copied: tuple[Path, Path]) -> None:
    workspace = tiny_workspace(*copied, *TARGET)
    other, labels = workspace.paths.transferred("way", "city"), workspace.paths.transferred("nu", "city")
    table = read_labels(other, "city")
    names = tuple(f"other/{name}" for name in table.file_names)
    write_table(reviewed_path(labels), replace(table, file_names=names, info=with_review(table, sha256_of_file(labels), [])))
    with pytest.raises(InputError, match=r"nu.city.reviewed.json: its images are not those of nu; review the labels of this run"):
        read_trained(workspace, "nu", "city")


def test_the_next_round_learns_from_what_was_decided(copied: tuple[Path, Path]) -> None:
    run_stages(tiny_workspace(*copied, *TARGET, "rounds.count=1"), ["train-upstream"], say=quiet)
    first = tiny_workspace(*copied, *TARGET)
    file = review(first)
    workspace = tiny_workspace(*copied, *TARGET, "rounds.count=1")
    done = [step.title for step in run_stages(workspace, ["train-upstream", "pseudo-label", "train-lat"], say=quiet)]
    assert done[0] == "train-upstream city round 1", "the detector's further training, since a label of it has changed"
    assert done[-1] == "train-lat round 1"
    last = list(workspace.rounds())[-1]
    assert review_files(last.previous()) == (file,), "beside the labels of what was the last round when they were reviewed"
    (nu,) = reviewed_images(last.previous())
    assert (nu.source, nu.images.tolist()) == ("nu", [1])
    truth = nu.truth(0)
    assert truth.space.name == "city"
    assert truth.weights.tolist() == [1, *[0] * (len(truth) - 1)], "what nobody decided on is don't-care"
    items = TransferItems(last, open_features(last), last.names, [nu])
    assert len(items) == 3 * 3 + 1
    image, learnt = items.item(9, torch.Generator().manual_seed(0))
    own, of_nu = items.item(4, torch.Generator().manual_seed(0))  # image 1 of nu, the second dataset
    assert (learnt.space.name, of_nu.space.name) == ("city", "nu")
    assert torch.equal(image.proposals.boxes_xyxy, own.proposals.boxes_xyxy), "the same proposals, another lesson"
