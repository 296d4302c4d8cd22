"""`lat relations` on drawn images: files, review, reviewed relations taken as given."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny import draw_tiny

from lat.cli import main
from lat.commands import relate as relate_module
from lat.commands.draw_street_scenes import benchmark_config
from lat.commands.relate import crop_samples, region_samples
from lat.config.load import load_config
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.relation_settings import RelationTraining
from lat.relations.samples import LabeledSamples
from lat.street_scenes import SceneSettings, draw_street_scenes
from lat.workspace.workspace import Workspace

FEW = ["lat.backbone.name=random"]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


@pytest.fixture(scope="module", autouse=True)
def _three_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relate_module, "TRAINING", RelationTraining(steps=3))
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relations")
    draw_street_scenes(folder / "data", SceneSettings(train_images={"city": 24, "nu": 24, "way": 24}, val_images=1))
    path = folder / "config.yaml"
    path.write_text(benchmark_config(str(folder / "data"), str(folder / "run")), encoding="utf-8")
    assert run("relations", path, *FEW, "--review") == 0
    return path


def test_every_pair_has_a_file_with_names(config: Path) -> None:
    folder = config.parent / "run" / "relations"
    assert sorted(path.name for path in folder.glob("*.json")) == ["city.nu.json", "city.way.json", "nu.way.json"]
    content = json.loads((folder / "city.way.json").read_text(encoding="utf-8"))
    matrix = RelationMatrix.from_dict(content)
    assert (matrix.first.name, matrix.second.class_names) == ("city", ("vehicle", "pedestrian", "cyclist"))
    assert matrix.first.category_ids[:2] == (26, 27)


def test_a_reviewed_file_is_taken_as_given(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "pairs:\n- spaces: [nu, way]\n  relations:\n  - {first: adult, second: pedestrian, relation: narrower}\n"
    edited = config.parent / "edited.yaml"
    edited.write_text(text, encoding="utf-8")
    folder = config.parent / "given"
    assert run("relations", config, f"relations.file={edited}", f"output_dir={folder}") == 0
    (path,) = (folder / "relations").glob("*.json")
    relations = json.loads(path.read_text(encoding="utf-8"))["relations"]
    assert relations == [{"first": "adult", "second": "pedestrian", "relation": "narrower", "score": 1.0}]
    edited.write_text(text.replace("adult", "adlut"), encoding="utf-8")
    capsys.readouterr()
    assert run("relations", config, f"relations.file={edited}") == 2
    assert capsys.readouterr().err == f"error: {edited}: there is no class 'adlut' in nu; did you mean 'adult'?\n"


@pytest.mark.parametrize(("read", "shape"), [(region_samples, (64, 3, 3)), (crop_samples, (3, 48, 48))])
def test_samples_are_bounded_and_those_that_are_kept_are_as_before(
    read: Callable[[Workspace, str], LabeledSamples],
    shape: tuple[int, ...],
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace = Workspace(load_config(config, FEW))
    every = read(workspace, "city")
    assert every.inputs.shape == (len(every), *shape)
    monkeypatch.setattr(relate_module, "MOST_BYTES", 20 * 4 * math.prod(shape))
    fewer = read(workspace, "city")
    assert len(fewer) <= 20 < len(every)
    assert f"city: relations are found from {len(fewer)} of {len(every)} boxes" in capsys.readouterr().out
    flat = every.inputs.flatten(1)
    assert all((flat == one).all(dim=1).any() for one in fewer.inputs.flatten(1))
    assert (fewer.class_counts >= 2).all()


def test_crops_need_no_detector(config: Path) -> None:
    few = ["relations.method=missing_link", "relations.features=crops"]
    assert run("relations", config, *few, f"output_dir={config.parent / 'crops'}") == 0
    assert len(list((config.parent / "crops" / "relations").glob("*.json"))) == 3


def test_a_class_without_boxes_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("relations", draw_tiny(tmp_path), *FEW) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "to learn from; label at least 2" in line
