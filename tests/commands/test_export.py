"""`lat export`: whole or not at all, nothing overwritten, one line an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import coco_dict, label_space, write_coco, write_json

from lat.cli import main
from lat.commands.export import Content, ExportOptions, export, export_files
from lat.core.errors import InputError
from lat.core.files import sha256_of_file
from lat.data.dataset import DetectionDataset
from lat.labels.coco.read import read_labels


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, list[str]]:
    """Exit status, standard output, and lines of standard error without those of progress."""
    with pytest.raises(SystemExit) as caught:
        main(["export", *map(str, arguments)])
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if not line.startswith("check images")]
    return int(caught.value.code or 0), captured.out, errors


def scored() -> dict[str, Any]:
    """Two images; scores 0.9 and 0.2 on the first, 1 on the second."""
    value = coco_dict()
    value["annotations"][0]["score"], value["annotations"][1]["score"] = 0.9, 0.2
    return value


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_command_writes_every_format_and_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco(tmp_path, scored())
    labels, images = tmp_path / "annotations.json", tmp_path / "images"
    for form, file in (("yolo", "data.yaml"), ("voc", "labelmap.txt"), ("coco", "annotations/instances_train.json")):
        out = tmp_path / form
        status, output, errors = run(capsys, labels, "--to", form, "--images", images, "--out", out, "--min-score", 0.5)
        assert (status, errors) == (0, [])
        assert output.splitlines()[:2] == [
            f"wrote {out}: 2 images, 2 boxes",
            "note: 1 box below a score of 0.5 left out",
        ]
        assert (out / file).is_file()
        pictures = list(out.rglob("*.png"))
        assert len(pictures) == 2
        assert all(path.is_symlink() and path.readlink().is_absolute() for path in pictures)
    assert not list(tmp_path.glob(".*"))


def test_the_manifest_names_every_image_and_its_hash(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_dict(space=label_space(ids=[9, 4])))
    export_files(tmp_path / "annotations.json", tmp_path / "images", "voc", tmp_path / "out", ExportOptions(min_score=0.25))
    content = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (content["format"], content["min_score"]) == ("voc", 0.25)
    assert content["classes"] == [{"index": 0, "id": 9, "name": "car"}, {"index": 1, "id": 4, "name": "truck"}]
    train = content["splits"]["train"]
    assert train["labels"] == {"file": "annotations.json", "sha256": sha256_of_file(tmp_path / "annotations.json")}
    assert [image["id"] for image in train["images"]] == [1, 2]
    for image in train["images"]:
        assert image["sha256"] == sha256_of_file(tmp_path / "out" / image["exported_as"])
        assert (tmp_path / "images" / image["file_name"]).samefile(tmp_path / "out" / image["exported_as"])


def test_a_validation_file_becomes_a_part_of_its_own(tmp_path: Path) -> None:
    for name in ("train", "val"):
        write_coco(tmp_path / name, coco_dict(), name=name)
    files = (tmp_path / "train" / "annotations.json", tmp_path / "train" / "images")
    val = {"val": tmp_path / "val" / "annotations.json", "val_images": tmp_path / "val" / "images"}
    for form in ("yolo", "voc", "coco"):
        export_files(*files, form, tmp_path / form, ExportOptions(**val))
        content = json.loads((tmp_path / form / "manifest.json").read_text())
        assert list(content["splits"]) == ["train", "val"]
        for name, split in content["splits"].items():
            for image in split["images"]:
                assert (tmp_path / form / image["exported_as"]).resolve() == tmp_path / name / "images" / image["file_name"]
    sets = tmp_path / "voc" / "ImageSets" / "Main"
    assert (sets / "train.txt").read_text() == "001\n002\n"
    assert (sets / "val.txt").read_text() == "001_1\n002_2\n"
    assert (sets / "trainval.txt").read_text() == "001\n002\n001_1\n002_2\n"
    assert "val: images/val" in (tmp_path / "yolo" / "data.yaml").read_text()


def test_an_export_can_be_moved_and_a_copied_one_stands_alone(tmp_path: Path) -> None:
    write_coco(tmp_path / "data", coco_dict())
    files = (tmp_path / "data" / "annotations.json", tmp_path / "data" / "images")
    (tmp_path / "empty").mkdir()
    export_files(*files, "yolo", tmp_path / "empty")
    (tmp_path / "empty").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "images" / "train" / "001.png").read_bytes() == (files[1] / "001.png").read_bytes()
    export_files(*files, "yolo", tmp_path / "copied", ExportOptions(copy=True))
    assert not any(path.is_symlink() for path in (tmp_path / "copied").rglob("*"))


def break_nothing(folder: Path) -> None:
    """The data are sound; an option is wrong."""


def unlink_image(folder: Path) -> None:
    (folder / "data" / "images" / "002.png").unlink()


def spoil_score(folder: Path) -> None:
    value = scored()
    value["annotations"][0]["score"] = 1.5
    write_json(folder / "data" / "annotations.json", value)


def resize_image(folder: Path) -> None:
    value = scored()
    value["images"][0]["width"] = 49
    write_json(folder / "data" / "annotations.json", value)


def rename_class(folder: Path) -> None:
    write_json(folder / "val.json", coco_dict(space=label_space(class_names=["car", "bus"])))


def fill_out(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("mine")


def out_as_file(folder: Path) -> None:
    (folder / "out").write_text("mine")


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (unlink_image, [], "002.png: image 2 of DATA/annotations.json is missing (1 of 2 images are); name the folder"),
        (spoil_score, [], "annotations.json: annotation 1: `score` is 1.5; a `score` must lie in 0..1"),
        (resize_image, [], "001.png: the image is 48 x 32 pixels (width x height), the annotation file says 49 x 32"),
        (
            rename_class,
            ["--val", "val.json"],
            "val.json: categories: the class list is [1 car, 2 bus], but that of annotations is",
        ),
        (fill_out, [], "out: is not empty; name a new or empty folder; nothing was written"),
        (out_as_file, [], "out: is not a folder; name a new or empty folder; nothing was written"),
        (break_nothing, ["--min-score", "1.5"], "--min-score: is 1.5; choose a number from 0 to 1"),
        (break_nothing, ["--to", "kitti"], "--to: is 'kitti'; choose one of yolo, voc, coco"),
        (break_nothing, ["--val-images", "images"], "--val-images: is given without --val"),
        (break_nothing, ["--images", "elsewhere"], "elsewhere: no such images folder; name the folder"),
        (
            break_nothing,
            ["--val", "none.json"],
            "none.json: no such file (looked for ",
        ),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(
    spoil: Callable[[Path], None], options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_coco(tmp_path / "data", scored())
    spoil(tmp_path)
    before = tree(tmp_path)
    arguments = ["data/annotations.json", "--to", "yolo", "--images", "data/images", "--out", "out", *options]
    status, output, errors = run(capsys, *arguments)
    assert (status, output, len(errors)) == (2, "", 1)
    assert errors[0].startswith("error: ")
    assert message.replace("DATA", "data") in errors[0]
    assert tree(tmp_path) == before


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    labels = write_json(tmp_path / "labels.json", coco_dict([]))
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=r"labels\.json: has no images"):
        export_files(labels, tmp_path / "images", "coco", tmp_path / "out")


def test_links_that_cannot_be_made_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco(tmp_path, coco_dict())

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(InputError, match=r"links to images cannot be created here \(Operation not permitted\); copy .* --copy"):
        export_files(tmp_path / "annotations.json", tmp_path / "images", "yolo", tmp_path / "out")
    assert tree(tmp_path) == {"annotations.json", "images", "images/001.png", "images/002.png"}


def test_a_stop_in_the_middle_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco(tmp_path, coco_dict())

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "symlink_to", stop)
    with pytest.raises(KeyboardInterrupt):
        export_files(tmp_path / "annotations.json", tmp_path / "images", "voc", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    write_coco(tmp_path, scored())
    part = DetectionDataset("city", tmp_path / "images", read_labels(tmp_path / "annotations.json", "city"))
    for form in ("yolo", "voc", "coco"):
        for out in (tmp_path / form / "1", tmp_path / form / "2"):
            export(Content({"train": part, "val": part.select(np.array([1]))}), form, out)
        files = sorted(path.relative_to(tmp_path / form / "1") for path in (tmp_path / form / "1").rglob("*") if path.is_file())
        assert tree(tmp_path / form / "1") == tree(tmp_path / form / "2")
        assert all((tmp_path / form / "1" / file).read_bytes() == (tmp_path / form / "2" / file).read_bytes() for file in files)


@pytest.mark.parametrize("form", ["cvat", "label-studio", "fiftyone"])
def test_only_the_most_doubtful_images_are_written_with_the_doubt_of_each_label(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco(tmp_path, scored())
    labels, images = tmp_path / "run" / "transferred" / "a.b.json", tmp_path / "images"
    labels.parent.mkdir(parents=True)
    labels.write_bytes((tmp_path / "annotations.json").read_bytes())
    words = [labels, "--to", form, "--images", images, "--out", tmp_path / "out", "--most-doubtful", 1]
    status, _, errors = run(capsys, *words)
    assert status == 2
    assert "has no ranking of doubt; run `lat report` on its run first" in errors[0]
    table = read_labels(labels, "b")
    first, second = table.image_ids.tolist()
    annotation = int(table.annotation_ids[table.rows(1)][0])
    ranking = {
        "labels": {"file": "transferred/a.b.json", "sha256": sha256_of_file(labels)},
        "images": [{"image_id": second, "doubt": 0.625}, {"image_id": first, "doubt": 0.25}],
        "boxes": [{"annotation_id": annotation, "image_id": second, "doubt": 0.625, "parts": {}}],
    }
    (tmp_path / "run" / "doubt").mkdir()
    write_json(tmp_path / "run" / "doubt" / "a.b.json", ranking)
    status, output, _ = run(capsys, *words)
    assert (status, output.splitlines()[0]) == (0, f"wrote {tmp_path / 'out'}: 1 images, 1 boxes")
    file = {"cvat": "train.xml", "label-studio": "tasks_train.json", "fiftyone": "samples.json"}[form]
    text = (tmp_path / "out" / file).read_text(encoding="utf-8")
    assert "0.625" in text
    assert table.file_names[1] in text
    assert table.file_names[0] not in text
    labels.write_bytes(labels.read_bytes() + b"\n")
    assert "has no ranking of doubt" in run(capsys, *words[:-4], "--out", tmp_path / "other", *words[-2:])[2][0], "of other bytes"
