"""`lat import`: counts printed, mistakes in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import coco_dict, draw_images, label_space, write_json
from stand_ins import STAND_INS

from lat.cli import main
from lat.commands.import_dataset import FORMATS
from lat.core.files import sha256_of_file
from lat.data.manifest import read_manifest
from lat.labels.coco.read import read_labels


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], list[str]]:
    """Exit status, lines of standard output, and lines of standard error without those of progress."""
    with pytest.raises(SystemExit) as caught:
        main(["import", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out.splitlines(), [e for e in captured.err.splitlines() if e.startswith("error")]


@pytest.mark.parametrize("name", STAND_INS)
def test_the_command_writes_coco_files_and_prints_the_counts(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    STAND_INS[name](tmp_path / "data")
    status, lines, errors = run(capsys, name, "--root", tmp_path / "data", "--out", tmp_path / "out")
    assert (status, errors) == (0, [])
    (labels,) = (path for path in (tmp_path / "out").glob("*.json") if "manifest" not in path.name)
    table = read_labels(labels, name)
    images = 4 if name == "acdc" else 3
    assert lines[0] == f"wrote {labels}: {images} images (0 without boxes), {2 * images} boxes (0 crowd)"
    assert lines[1].startswith("boxes per class: ")
    assert lines[2].startswith("in a configuration: images: ")
    assert (len(table), table.num_boxes) == (images, 2 * images)
    folder = Path(lines[2].removeprefix("in a configuration: images: ").partition(", annotations: ")[0])
    entries = read_manifest(labels, folder).entries
    assert {key: one.sha256 for key, one in entries.items()} == {key: sha256_of_file(folder / key) for key in table.file_names}


def test_splits_subsets_and_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    STAND_INS["nuimages"](tmp_path / "data")
    parts = ("--split", "train", "--split", "val", "--subset", 2)
    status, lines, _ = run(capsys, "nuimages", "--root", tmp_path / "data", "--out", tmp_path / "out", *parts, "classes=standard")
    assert status == 0
    assert [line.split()[2] for line in lines if line.startswith("wrote")] == ["2", "2"]
    assert len(read_labels(tmp_path / "out" / "val.json", "nu").space) == 10


def test_the_root_of_a_roboflow_export_is_no_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = coco_dict(space=label_space("cells", ["red", "white"]))
    for category in value["categories"]:
        category["supercategory"] = "cells"
    value["categories"].insert(0, {"id": 0, "name": "cells", "supercategory": "none"})
    draw_images(tmp_path / "train", value)
    write_json(tmp_path / "train" / "_annotations.coco.json", value)
    arguments = ("coco", "--root", tmp_path, "--out", tmp_path / "out", "--split", "train")
    status, lines, _ = run(capsys, *arguments)
    assert status == 0
    assert "note: category 0 'cells', the root of all others and without boxes, is no class" in lines
    assert read_labels(tmp_path / "out" / "train.json", "cells").space.class_names == ("red", "white")
    value["annotations"][0]["category_id"] = 0
    write_json(tmp_path / "train" / "_annotations.coco.json", value)
    status, lines, _ = run(capsys, *arguments)
    assert status == 0
    assert not any("root" in line for line in lines if line.startswith("note"))
    assert read_labels(tmp_path / "out" / "train.json", "cells").space.class_names == ("cells", "red", "white")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kity"], "FORMAT: is 'kity'; did you mean 'kitti'?"),
        (["synscapes", "--split", "val"], "--split: is given, but synscapes has no splits; leave it out"),
        (
            ["synscapes", "max_oclusion=1"],
            "lat import synscapes: there is no setting 'max_oclusion'; did you mean 'max_occlusion'?",
        ),
        (["synscapes", "max_occlusion=x"], "lat import synscapes: max_occlusion is 'x'; use a number"),
        (["nuimages", "classes=ten"], "classes: is 'ten'; choose one of all, standard"),
        (["kitti", "x=1"], "lat import kitti: there is no setting 'x'; this format has no settings"),
        (["kitti", "x"], "lat import kitti: the setting 'x' is not key=value; write, for example, KEY=VALUE"),
        (["kitti", "--subset", "0"], "--subset: is 0; choose 1 or more"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, errors = run(capsys, *arguments, "--root", tmp_path, "--out", tmp_path / "out")
    assert (status, lines, errors) == (2, [], [f"error: {message}"])
    assert not (tmp_path / "out").exists()


def test_every_format_is_in_the_help_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in FORMATS)
