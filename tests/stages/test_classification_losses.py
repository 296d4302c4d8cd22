"""A label-transfer model trained on class relations, from the files of relations to the trained model."""

from __future__ import annotations

import shutil
from itertools import permutations
from pathlib import Path

import pytest
from tiny import draw_tiny, quiet, tiny_workspace

from lat.commands.relate import relate
from lat.core.errors import InputError
from lat.engine.checkpoint import load_checkpoint
from lat.pipeline.run import run_stages
from lat.stages.shared.relation_files import joint_relation_table
from lat.stages.shared.transfer_model import load_model, open_features
from lat.workspace.workspace import Workspace

REVIEWED = """
pairs:
- spaces: [city, nu]
  relations: [{first: car, second: car, relation: equal}, {first: person, second: adult, relation: broader}]
- spaces: [city, way]
  relations: [{first: car, second: vehicle, relation: narrower}, {first: truck, second: vehicle, relation: narrower}]
- spaces: [nu, way]
  relations: [{first: car, second: vehicle, relation: narrower}]
"""


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration beside a run of it with pseudo-labels, which are the truth, and reviewed relations."""
    folder = tmp_path_factory.mktemp("classification")
    config = draw_tiny(folder)
    (folder / "reviewed.yaml").write_text(REVIEWED, encoding="utf-8")
    workspace = tiny_workspace(config, folder / "run")
    for source, space in permutations(workspace.names, 2):
        path = workspace.paths.pseudo_labels(source, space)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "data" / source / f"truth.{space}.json", path)
    return config


def workspace_of(labelled: Path, run: Path, loss: str, reviewed: str = "reviewed.yaml") -> Workspace:
    """A copy of the run, with a classification loss and reviewed relations."""
    if not run.exists():
        shutil.copytree(labelled.parent / "run", run)
    settings = ["lat.backbone.name=random", f"lat.head.classification_loss={loss}"]
    if reviewed:
        settings.append(f"relations.file={labelled.parent / reviewed}")
    return tiny_workspace(labelled, run, *settings)


def test_reviewed_relations_are_taken_as_given_and_outdate_the_model(labelled: Path, tmp_path: Path) -> None:
    workspace = workspace_of(labelled, tmp_path / "run", "nll_plus")
    run_stages(workspace, ["train-lat"], say=quiet)
    model = load_checkpoint(workspace.paths.transfer_model, "label_transfer")["model"]
    # {car, car, vehicle}, {truck, vehicle}, {person, adult}; 4 classes of city, 5 of nu and 2 of way are alone; and the rest.
    members = model["classification.relations"]
    assert members.shape == (7 + 7 + 3 + 3, 3 + 4 + 5 + 2 + 1)
    assert len(model["predictor.classes.weight"]) == members.shape[1]
    load_model(workspace, open_features(workspace))
    assert not run_stages(workspace, ["train-lat"], say=quiet)
    edited = labelled.parent / "edited.yaml"
    edited.write_text(REVIEWED.replace(", {first: truck, second: vehicle, relation: narrower}", ""), encoding="utf-8")
    workspace = workspace_of(labelled, tmp_path / "run", "nll_plus", "edited.yaml")
    assert run_stages(workspace, ["train-lat"], say=quiet)
    edited.write_text(REVIEWED[: REVIEWED.index("- spaces: [nu, way]")], encoding="utf-8")
    with pytest.raises(InputError, match=r"edited\.yaml: has no pair \[nu, way\]; add it, with `relations: \[\]` if"):
        run_stages(workspace, ["train-lat"], say=quiet)
    edited.unlink()
    with pytest.raises(InputError, match=r"edited\.yaml: no such relations file; `lat relations"):
        run_stages(workspace, ["train-lat"], say=quiet)


def test_found_relations_are_asked_for_and_must_be_of_the_same_spaces(labelled: Path, tmp_path: Path) -> None:
    workspace = workspace_of(labelled, tmp_path / "run", "nll_plus", reviewed="")
    with pytest.raises(InputError, match=r"city\.nu\.json: does not exist yet.*run `lat relations` first"):
        run_stages(workspace, ["train-lat"], say=quiet)
    relate(workspace_of(labelled, tmp_path / "run", "nll_plus"))
    path = workspace.paths.relations("nu", "way")
    path.write_text(path.read_text(encoding="utf-8").replace('"adult"', '"grown-up"'), encoding="utf-8")
    with pytest.raises(InputError, match="is for other label spaces"):
        run_stages(workspace, ["train-lat"], say=quiet)


def test_class_relational_positives_are_directed(labelled: Path, tmp_path: Path) -> None:
    workspace = workspace_of(labelled, tmp_path / "run", "class_relational_bce")
    table = joint_relation_table(workspace)
    assert table is not None
    names = [f"{space.name}.{name}" for space in workspace.data.joint.spaces for name in space.class_names]
    found = {(names[c], names[k]) for c, k in table.nonzero().tolist()}
    equal = {("city.car", "nu.car"), ("nu.car", "city.car")}
    narrower = {("nu.adult", "city.person"), *((one, "way.vehicle") for one in ("city.car", "city.truck", "nu.car"))}
    assert found == equal | narrower
