"""`lat label` end to end with tiny random models, and what a run makes of the label set."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip("transformers")
from promptable_models import SAVED
from tiny import draw_tiny

from lat.cli import main
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


def label(config: Path, model: Path, *options: str) -> object:
    with pytest.raises(SystemExit) as raised:
        main(["label", str(config), "--model", str(model), "--name", "asked", "--min-score", "0.3", *options])
    return raised.value.code


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
