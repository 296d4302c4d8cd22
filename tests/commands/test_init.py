"""`lat init`: a configuration that `lat check` accepts, proposed from what the datasets hold."""

from __future__ import annotations

import json
import platform
import re
import shutil
from pathlib import Path

import pytest
import torch
from factories import coco_dict, label_space, write_coco

from lat.cli import main
from lat.commands.doctor import advice
from lat.commands.init import parse_dataset, write_config
from lat.config.load import load_config
from lat.core.convnet_names import PACKAGED, timm_name
from lat.core.errors import InputError
from lat.data.data_settings import DatasetSettings
from lat.data.dataset import load_dataset
from lat.engine.machine import Machine


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def datasets(folder: Path) -> list[DatasetSettings]:
    """`a` has 40 images of 48 x 32 with a box of 8 x 8, `b` has three of 1000 x 600 with a box of 20 x 40."""
    first = write_coco(folder / "a", coco_dict([[(2, 3, 8, 8)]] * 40), name="a")
    second = write_coco(folder / "b", coco_dict([[(2, 3, 20, 40)]] * 3, size_hw=(600, 1000)), name="b")
    return [first, second]


def test_init_writes_what_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = []
    for one in datasets(tmp_path):
        options += ["--dataset", f"{one.name}={one.images},{one.annotations}"]
    path = tmp_path / "mine.yaml"
    assert run("init", *options, "--out", str(path)) == 0
    first, total, *stages, last = capsys.readouterr().out.splitlines()
    assert (first, last) == (f"wrote {path}: labels are moved to b", f"next: lat check {path}")
    assert re.fullmatch(r"lat run will take about [\d.]+ (s|min|h) on .*:", total)
    assert [re.split(" {2,}", line.strip())[0] for line in stages] == [
        *("upstream training", "pseudo-labels", "label-transfer training", "transfer", "downstream training"),
        "evaluation and report",
    ]
    assert run("check", str(path)) == 0
    config = load_config(path)
    assert config.target_names == ("b",)
    assert config.output_dir == str(tmp_path / "runs" / "mine"), "in the folder of the file"
    assert [one.validation_fraction for one in config.datasets] == [0.2, 0.0]  # three images are too few


@pytest.mark.parametrize(
    ("values", "parts", "held_out"),
    [
        (["train"] * 3 + ["val"] * 2 + ["test"], ("train", "val", 0.0), 2),
        (["Training"] * 3 + ["valid"] * 3, ("Training", "valid", 0.0), 3),
        (["train"] * 30 + ["test"] * 10, ("train", "", 0.2), None),
        (["train"] * 3 + ["test"] * 3, ("train", "", 0.0), None),
        (["a", "b"] * 3, ("", "", 0.0), None),
    ],
)
def test_a_key_split_is_taken_as_it_is(
    values: list[str], parts: tuple[str, str, float], held_out: int | None, tmp_path: Path
) -> None:
    value = coco_dict([[(2, 3, 8, 8)]] * len(values))
    for image, one in zip(value["images"], values, strict=True):
        image["split"] = one
    pair = [write_coco(tmp_path / "a", value, name="a"), datasets(tmp_path / "other")[1]]
    write_config(tmp_path / "mine.yaml", pair)
    one = load_config(tmp_path / "mine.yaml").datasets[0]
    assert (one.split, one.validation_split, one.validation_fraction) == parts
    assert held_out is None or len(load_dataset(one)[1] or ()) == held_out


def test_the_image_size_leaves_small_objects_ten_pixels(tmp_path: Path) -> None:
    # b: boxes of 20 pixels in 600 keep 10 at 300, which is 320 in steps of 32; a: its own 32 pixels are less than that.
    write_config(tmp_path / "mine.yaml", datasets(tmp_path))
    config = load_config(tmp_path / "mine.yaml")
    assert (config.upstream.model.image_size, config.downstream.model.image_size) == (320, 320)
    text = (tmp_path / "mine.yaml").read_text()
    assert "#   a: 8 pixels in images 32 high or wide, 80 as seen" in text
    assert "#   b: 20 pixels in images 600 high or wide, 11 as seen" in text


def test_steps_and_batches_are_those_for_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_config(tmp_path / "mine.yaml", datasets(tmp_path))
    config = load_config(tmp_path / "mine.yaml")
    if not written.machine.gpu_gib:
        chosen = (config.upstream.training, config.lat.training, config.downstream.training)
        assert [(one.steps, one.batch_size) for one in chosen] == [(800, 8), (1200, 8), (600, 8)]
    monkeypatch.setattr("lat.commands.init.this_machine", lambda: Machine(8, gpu_gib=24.0))
    written = write_config(tmp_path / "mine.yaml", datasets(tmp_path), force=True)
    chosen = load_config(tmp_path / "mine.yaml").upstream.training
    assert (chosen.steps, chosen.batch_size, chosen.learning_rate) == (800, 16, 0.001)
    assert "are for a GPU of 24 GiB" in (tmp_path / "mine.yaml").read_text()
    assert set(written.seconds) >= {"upstream training", "transfer"}


def test_upstream_detectors_start_from_weights_that_need_no_network(tmp_path: Path) -> None:
    write_config(tmp_path / "mine.yaml", datasets(tmp_path))
    config = load_config(tmp_path / "mine.yaml")
    upstream = config.upstream.model
    assert config.upstream.training.learning_rate == 0.001
    assert (upstream.detector, upstream.backbone, upstream.weights) == ("torchvision", "efficientnet_lite0", "pretrained")
    assert timm_name(upstream.backbone) in PACKAGED


def test_images_that_are_small_anyway_keep_their_size(tmp_path: Path) -> None:
    pair = [write_coco(tmp_path / name, name=name) for name in ("a", "b")]
    write_config(tmp_path / "mine.yaml", pair, target="all")
    config = load_config(tmp_path / "mine.yaml")
    assert config.upstream.model.image_size == 0
    assert config.target_names == ("a", "b")


def test_a_file_is_replaced_by_force_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("precious")
    with pytest.raises(InputError, match="already exists; name another file with --out, or replace it with --force"):
        write_config(path, datasets(tmp_path))
    assert path.read_text() == "precious"
    write_config(path, datasets(tmp_path), force=True)
    assert load_config(path).dataset_names == ("a", "b")


def test_names_and_paths_cannot_break_out_of_the_file(tmp_path: Path) -> None:
    odd = label_space(class_names=("car\nseed: 7", "a: {b"))
    pair = [write_coco(tmp_path / "it's #1: [x]", coco_dict(space=odd), name="a"), write_coco(tmp_path / "b", name="b")]
    write_config(tmp_path / "mine.yaml", pair, output_dir="runs/# 1")
    config = load_config(tmp_path / "mine.yaml")
    assert config.datasets[0].images == pair[0].images
    assert (config.seed, config.output_dir) == (0, str(Path("runs/# 1").absolute())), "typed here"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "c"}, "--target: there is no dataset 'c'; known here: a, b, all"),
        ({"target": "al"}, "--target: there is no dataset 'al'; did you mean 'all'?"),
    ],
)
def test_wrong_options(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        write_config(tmp_path / "mine.yaml", datasets(tmp_path), **change)
    assert str(caught.value) == message
    assert not (tmp_path / "mine.yaml").exists()


def test_a_folder_without_the_images_is_named(tmp_path: Path) -> None:
    first, second = datasets(tmp_path)
    wrong = DatasetSettings("b", first.annotations.replace("annotations.json", ""), second.annotations)
    with pytest.raises(
        InputError, match=r"a: has none of the images of .*b/annotations.json, such as '001.png'; name the folder"
    ):
        write_config(tmp_path / "mine.yaml", [first, wrong])


@pytest.mark.parametrize("text", ["a", "a=b,", "a=b,c,d,e,f"])
def test_a_dataset_of_another_form_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match="write NAME=FOLDER, or NAME=IMAGES,ANNOTATIONS"):
        parse_dataset(text)


def test_one_dataset_is_not_enough_and_a_model_can_make_the_second(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"names a alone, and labels move between two datasets; name another; a promptable model"
    ):
        write_config(tmp_path / "mine.yaml", datasets(tmp_path)[:1])
    with pytest.raises(InputError, match="--dataset: names a twice; give each dataset its own name"):
        write_config(tmp_path / "mine.yaml", [*datasets(tmp_path)[:1]] * 2)


def test_without_datasets_and_terminal_init_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", (tmp_path / "none").open("w+"))
    assert run("init") == 2
    assert "no terminal to ask on; name each with --dataset" in capsys.readouterr().err


def test_init_asks_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    a, b = datasets(tmp_path)
    no_file = b.annotations + "x"
    answers = iter(
        ["a", a.images, a.annotations, "", "", "bad name", "a", "b", b.images, no_file, b.annotations, "", "", "c", "a", "here"]
    )
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *words, **options: False)
    monkeypatch.setattr("typer.prompt", lambda *words, **options: next(answers))
    assert run("init", "--out", str(tmp_path / "mine.yaml")) == 0
    said = capsys.readouterr().out
    assert "datasets.name: is 'bad name'; use letters, digits, '_' and '-'\n  name: a is taken; choose another\n" in said
    assert "  This names a alone, and labels move between two datasets; name another" in said, "and nothing typed is lost"
    assert "  --target: there is no dataset 'c'; known here: a, b, all" in said
    assert f"{no_file}: there is no such file; check the path" in said
    config = load_config(tmp_path / "mine.yaml")
    assert (config.dataset_names, config.target_names, config.output_dir) == (("a", "b"), ("a",), str(Path("here").absolute()))
    assert run("init", "--out", str(tmp_path / "mine.yaml")) == 2, "before anything is typed"
    assert "already exists" in capsys.readouterr().err


def test_doctor_tells_facts_that_others_can_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("doctor", "--json", "--folder", str(tmp_path / "not there yet")) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["python"], facts["torch"]) == (platform.python_version(), torch.__version__)
    assert facts["threads"] == torch.get_num_threads()
    assert len(facts["gpus"]) == torch.cuda.device_count()
    assert facts["used"]["accelerator"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert facts["disk"]["total_gib"] == round(shutil.disk_usage(tmp_path).total / 2**30, 1)
    assert facts["packages"]["scipy"]
    assert run("doctor") == 0
    assert "torchvision" in capsys.readouterr().out


def test_doctor_advises_where_room_is_short() -> None:
    facts = {"used": {"accelerator": "cuda"}, "disk": {"free_gib": 1.0}, "memory_gib": {"available": 2.0}}
    found = [word for line in advice(facts) for word in ("larger models", "5 GiB of disk", "4 GiB of memory") if word in line]
    assert found == ["larger models", "5 GiB of disk", "4 GiB of memory"]
