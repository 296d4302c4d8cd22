"""`lat label` end to end with tiny random models, and what a run makes of the label set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

pytest.importorskip("transformers")
from promptable_models import SAVED
from tiny import draw_tiny

from lat.cli import main
from lat.commands.prompted_folder import label_folder
from lat.commands.prompted_labels import PromptedShards, prompting_alone
from lat.config.load import load_config
from lat.labels.coco.read import read_labels
from lat.workspace.label_files import read_pseudo_labels
from lat.workspace.workspace import Workspace


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return draw_tiny(tmp_path)


@pytest.fixture(scope="module")
def owlv2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SAVED["owlv2"](tmp_path_factory.mktemp("owlv2"))


def lat(*words: object) -> object:
    with pytest.raises(SystemExit) as raised:
        main([str(word) for word in words])
    return raised.value.code


def label(config: Path, model: Path, *options: str) -> object:
    return lat("label", config, "--model", model, "--name", "asked", "--min-score", "0.3", *options)


@pytest.mark.parametrize("family", SAVED)
def test_a_label_set_of_each_family_is_one_more_space_of_proposals(
    family: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert label(config, SAVED[family](tmp_path / "model"), "--dataset", "nu") == 0
    printed = capsys.readouterr().out
    entry = yaml.safe_load(printed[printed.index("label_sets:") : printed.index("next:")])
    assert f"next: lat run {config}" in printed
    settings = yaml.safe_load(config.read_text()) | entry
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    workspace = Workspace(load_config(config))
    assert workspace.data.proposal_spaces("nu") == ("city", "way", "asked")
    file = read_labels(Path(entry["label_sets"][0]["files"]["nu"]), "asked")
    used = read_pseudo_labels(workspace, "nu", "asked")
    assert used.num_boxes == file.at_least(workspace.config.pseudo_label.threshold).num_boxes
    assert len(used) == len(workspace.data.train_part("nu"))


def test_what_is_done_is_left_and_another_prompt_does_it_again(
    config: Path, owlv2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert label(config, owlv2) == 0
    root = Workspace(load_config(config)).paths.root
    files = {name: root / "label_sets" / "asked" / f"{name}.json" for name in ("city", "nu", "way")}
    before = {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in files.items()}
    (part, *_) = sorted((root / ".work" / "label_sets" / "asked" / "nu").glob("part-*.parquet"))
    part.unlink()
    files["way"].unlink()
    assert label(config, owlv2) == 0
    assert files["city"].stat().st_mtime_ns == before["city"][1]
    assert {name: path.read_bytes() for name, path in files.items()} == {name: content for name, (content, _) in before.items()}
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text("wheel: a wheel\n")
    assert label(config, owlv2, "--prompts", str(prompts)) == 0
    assert read_labels(files["city"], "asked").space.class_names == ("wheel",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "nu"), "--name: 'nu' is the name of a dataset; choose another one"),
        (("--name", "../nu"), "--name: '../nu' has other characters than letters, digits and _; choose another one"),
        (("--min-score", "2"), "--min-score: is 2.0; choose a number from 0 to 1"),
        (("--dataset", "moon"), "datasets: there is no dataset 'moon'; known here: city, nu, way"),
        (("--prompts", "nowhere.yaml"), "nowhere.yaml: is not there; correct --prompts"),
    ],
)
def test_a_wrong_option_is_one_line(
    options: tuple[str, ...], message: str, config: Path, owlv2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert label(config, owlv2, *options) == 2
    assert capsys.readouterr().err.strip().endswith(message)


def test_a_folder_of_images_becomes_a_dataset_for_who_has_one_alone(
    config: Path, owlv2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.yaml").write_text("wheel: a wheel\nhuman: a person\n")
    assert lat("label", "data/nu/images", "--model", owlv2, "--name", "asked", "--prompts", "prompts.yaml") == 0
    said = capsys.readouterr().out.splitlines()
    table = read_labels(Path("asked.json"), "asked")
    assert said[-3] == f"wrote asked.json: {len(list(Path('data/nu/images').iterdir()))} images, {table.num_boxes} boxes"
    assert said[-2:] == ["a dataset for lat init: --dataset asked=data/nu/images,asked.json", "next: lat init"]
    assert table.space.class_names == ("wheel", "human")
    assert not Path(".work").exists()
    own = "city=data/city/images,data/city/train.json"
    assert lat("init", "--dataset", own, "--dataset", said[-2].split()[-1]) == 0
    assert lat("check", "mine.yaml") == 0
    assert lat("label", "data/nu/images", "--model", owlv2, "--name", "asked", "--prompts", "prompts.yaml") == 2
    assert capsys.readouterr().err.endswith("asked.json: already exists; name another file with --out\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data/nu/images",), "--prompts: is missing; name a YAML file with a text for each class"),
        (
            ("data", "--prompts", "prompts.yaml", "seed=1"),
            "takes no settings and no --dataset for a folder of images; leave them out",
        ),
        (("config.yaml", "--out", "a.json"), "--out: is given for a run, whose labels have their place; leave it out"),
        (("empty", "--prompts", "prompts.yaml"), "empty: has no images; name a folder with images (.bmp, .jpeg, .jpg, .png,"),
    ],
)
def test_a_folder_that_cannot_be_labelled_is_one_line(
    words: tuple[str, ...], message: str, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    Path("prompts.yaml").write_text("wheel: a wheel\n")
    Path("empty").mkdir()
    assert lat("label", *words) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_was_stopped_goes_on(
    config: Path, owlv2: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    asked = prompting_alone(str(owlv2), None, "asked", 0.3)
    asked = replace(asked, prompts={"wheel": "a wheel"})
    whole = label_folder(Path("data/nu/images"), Path("whole.json"), asked)
    with monkeypatch.context() as patch:
        patch.setattr(PromptedShards, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            label_folder(Path("data/nu/images"), Path("again.json"), asked)
    monkeypatch.setattr(PromptedShards, "run", stop)
    again = label_folder(Path("data/nu/images"), Path("again.json"), asked)
    assert Path("again.json").read_bytes() == Path("whole.json").read_bytes()
    assert (again.boxes_xyxy == whole.boxes_xyxy).all()


def stop(*arguments: object) -> None:
    raise KeyboardInterrupt
