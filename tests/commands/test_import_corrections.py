"""There and back: labels go to a tool, a person changes some, and `lat import` brings them home."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import SubElement

import pytest
from factories import coco_dict, label_space, write_coco

from lat.cli import main
from lat.commands.export import ExportOptions, export_files
from lat.commands.import_corrections import FORMATS, CorrectionOptions, import_corrections
from lat.core.errors import InputError
from lat.core.files import sha256_of_file
from lat.labels.coco.read import read_labels

BOXES = [(4, 5, 10.123, 2.5), (20, 1, 9, 9), (1, 1, 3.3333, 3), (30, 10, 5, 5)]
PROVENANCE = {"origin": "pseudo_label", "space": "nu", "annotation_id": 5}


def labels(folder: Path) -> tuple[Path, Path]:
    """A labels file with boxes 11, 12, 13, 14 on image 1 and one each on images 2 and 3; and the folder of its images."""
    space = label_space(class_names=("car", "truck"), ids=(7, 3))
    value = coco_dict([BOXES, [(0, 0, 5, 5)], [(2, 2, 5, 5)]], [[7, 3, 7, 7], [3], [3]], space=space, size_hw=(20, 40))
    for annotation, score in zip(value["annotations"], (0.5, 0.6, 0.7, 0.1, 0.9, 0.8), strict=True):
        annotation |= {"id": annotation["id"] + 10, "score": score, "provenance": PROVENANCE, "class_scores": [score, 0.01]}
    settings = write_coco(folder / "data", {**value, "info": {"method": "label_transfer"}})
    return Path(settings.annotations), Path(settings.images)


def change_cvat(out: Path) -> Path:
    """A person's work in CVAT: box 11 stays, 12 becomes a car, 13 is moved, 14 is deleted, one is drawn; image 2 stays as it is,
    image 3 is cleared. CVAT writes two decimals, and no attribute of a new box.
    """
    tree = ElementTree.parse(out / "train.xml")
    first, _, third = tree.getroot().iter("image")
    for box in tree.getroot().iter("box"):
        for key in ("xtl", "ytl", "xbr", "ybr"):
            box.set(key, f"{float(box.get(key, '')):.2f}")
    eleven, twelve, thirteen, fourteen = first.findall("box")
    assert eleven.get("xbr") == "14.12"
    twelve.set("label", "car")
    thirteen.set("xtl", "2.00")
    first.remove(fourteen)
    SubElement(first, "box", label="truck", xtl="10.00", ytl="10.00", xbr="15.50", ybr="20.00", occluded="0")
    for box in third.findall("box"):
        third.remove(box)
    with zipfile.ZipFile(out / "task.zip", "w") as archive:
        archive.writestr("annotations.xml", ElementTree.tostring(tree.getroot()))
    return out / "task.zip"


def change_label_studio(out: Path) -> Path:
    """The same in Label Studio, which keeps predictions beside annotations; regions keep their ids, not always their meta."""
    tasks = json.loads((out / "tasks_train.json").read_text())
    for number, task in enumerate(tasks, start=1):
        result = json.loads(json.dumps(task["predictions"][0]["result"]))
        for region in result:
            del region["meta"]
        task |= {"id": number, "annotations": [{"was_cancelled": True, "result": []}, {"result": result}]}
    result = tasks[0]["annotations"][1]["result"]
    result[1]["value"]["rectanglelabels"] = ["car"]
    result[2]["value"] |= {"x": 5.0, "width": result[2]["value"]["width"] - 2.5}
    del result[3]
    value = {"x": 25, "y": 50, "width": 13.75, "height": 50, "rotation": 0, "rectanglelabels": ["truck"]}
    result.append({"id": "xY3", "type": "rectanglelabels", "value": value})
    tasks[2]["annotations"][1]["result"] = []
    (out / "project.json").write_text(json.dumps(tasks))
    return out / "project.json"


def change_fiftyone(out: Path) -> Path:
    """The same in FiftyOne."""
    content = json.loads((out / "samples.json").read_text())
    boxes = content["samples"][0]["transferred"]["detections"]
    boxes[1]["label"] = "car"
    _, y, width, height = boxes[2]["bounding_box"]
    boxes[2]["bounding_box"] = [0.05, y, width - 0.025, height]
    del boxes[3]
    boxes.append({"_cls": "Detection", "label": "truck", "bounding_box": [0.25, 0.5, 0.1375, 0.5], "confidence": None})
    content["samples"][2]["transferred"]["detections"] = []
    (out / "back").mkdir()
    (out / "back" / "samples.json").write_text(json.dumps(content))
    return out / "back"


CHANGES: dict[str, Callable[[Path], Path]] = {
    "cvat": change_cvat,
    "label-studio": change_label_studio,
    "fiftyone": change_fiftyone,
}


@pytest.mark.parametrize("tool", FORMATS)
def test_there_and_back(tool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, images = labels(tmp_path)
    before = file.read_bytes()
    export_files(file, images, tool, tmp_path / "out")
    back = CHANGES[tool](tmp_path / "out")
    with pytest.raises(SystemExit) as caught:
        main(
            [
                "import",
                tool,
                "--root",
                str(back),
                "--labels",
                str(file),
                "--out",
                str(tmp_path / "corrected.json"),
                "--allow-deletions",
            ]
        )
    assert caught.value.code == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert said.endswith("corrected.json: 5 boxes, 2 accepted, 2 changed, 1 new, 0 not seen; 2 deleted")
    assert file.read_bytes() == before
    old, new = json.loads(before), json.loads((tmp_path / "corrected.json").read_text())
    assert (new["images"], new["categories"]) == (old["images"], old["categories"])
    found = {annotation["id"]: annotation for annotation in new["annotations"]}
    kept = {annotation["id"]: annotation for annotation in old["annotations"]}
    assert list(found) == [11, 17, 18, 19, 15]  # ids go on behind the last one of the file, 16
    for number in (11, 15):
        seen = {**kept[number], "score": 1, "area": None}  # a person let it stand; byte for byte but for how area is rounded
        assert {**found[number], "area": None} == seen
    assert [(found[n]["category_id"], found[n]["score"]) for n in (17, 18, 19)] == [(7, 1), (7, 1), (3, 1)]
    assert found[17]["bbox"] == [20, 1, 9, 9]
    assert found[18]["bbox"] == pytest.approx([2, 1, 2.3333, 3], abs=0.006)
    assert found[19]["bbox"] == pytest.approx([10, 10, 5.5, 10])
    assert [found[n]["provenance"] for n in (17, 18, 19)] == [
        {"origin": "person", "space": "annotations", "annotation_id": 12},
        {"origin": "person", "space": "annotations", "annotation_id": 13},
        {"origin": "person", "space": "annotations", "annotation_id": None},
    ]
    assert found[19]["class_scores"] == [0, 1]
    assert new["info"]["method"] == "label_transfer"
    assert new["info"]["corrected"]["tool"] == tool
    assert new["info"]["reviewed"] == {"labels_sha256": sha256_of_file(file), "image_ids": [1, 2, 3]}


@pytest.mark.parametrize("tool", FORMATS)
def test_what_a_person_let_stand_comes_back_as_it_was_with_score_1(tool: str, tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, tool, tmp_path / "out")
    back = tmp_path / "out" / {"cvat": "train.xml", "label-studio": "tasks_train.json", "fiftyone": ""}[tool]
    if tool == "label-studio":
        tasks = json.loads(back.read_text())
        back.write_text(json.dumps([{**task, "annotations": task["predictions"]} for task in tasks]))
    import_corrections(tool, back, file, tmp_path / "corrected.json")
    old, new = (json.loads(path.read_text())["annotations"] for path in (file, tmp_path / "corrected.json"))
    for one in (*old, *new):
        del one["area"]  # rounded once more
    assert new == [{**one, "score": 1} for one in old]


def test_boxes_below_the_score_of_the_export_were_not_seen_and_stay(tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, "cvat", tmp_path / "out", ExportOptions(min_score=0.3))
    xml = tmp_path / "out" / "train.xml"
    assert 'annotation_id">14' not in xml.read_text()
    found, _ = import_corrections("cvat", xml, file, tmp_path / "a.json")
    assert (found.accepted, found.unseen, found.deleted) == (5, 1, 0)
    assert found.table.scores.tolist() == pytest.approx([1, 1, 1, 0.1, 1, 1])
    old = tmp_path / "old.xml"  # of a version that did not keep the score
    old.write_text(re.sub('<attribute name="min_score">.*?</attribute>', "", xml.read_text()))
    with pytest.raises(InputError, match=r"1 of the 6 boxes that were exported did not come back; .* give its --min-score"):
        import_corrections("cvat", old, file, tmp_path / "b.json")
    given, _ = import_corrections("cvat", old, file, tmp_path / "b.json", CorrectionOptions(min_score=0.3))
    assert (given.accepted, given.unseen, given.deleted) == (5, 1, 0)
    with pytest.raises(InputError, match=r"was exported with --min-score 0\.3, not 0\.2; leave out --min-score"):
        import_corrections("cvat", xml, file, tmp_path / "c.json", CorrectionOptions(min_score=0.2))


@pytest.mark.parametrize("tool", FORMATS)
def test_every_tool_keeps_the_score_of_the_export(tool: str, tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, tool, tmp_path / "out", ExportOptions(min_score=0.3))
    back = tmp_path / "out" / {"cvat": "train.xml", "label-studio": "tasks_train.json", "fiftyone": ""}[tool]
    if tool == "label-studio":
        tasks = json.loads(back.read_text())
        back.write_text(json.dumps([{**task, "annotations": task["predictions"]} for task in tasks]))
    found, _ = import_corrections(tool, back, file)
    assert (found.accepted, found.unseen, found.deleted) == (5, 1, 0)
    assert (file.parent / "annotations.reviewed.json").is_file()


def test_images_of_different_exports_are_not_mixed_up(tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, "cvat", tmp_path / "out")
    tree = ElementTree.parse(tmp_path / "out" / "train.xml")
    for attribute in list(tree.getroot().iter("image"))[1].iter("attribute"):
        if attribute.get("name") == "min_score":
            attribute.text = "0.5"
    tree.write(tmp_path / "mixed.xml")
    with pytest.raises(InputError, match=r"comes from exports with --min-score 0 and 0\.5; import the images of each"):
        import_corrections("cvat", tmp_path / "mixed.xml", file)


def test_a_box_drawn_where_one_was_not_seen_is_new(tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, "cvat", tmp_path / "out", ExportOptions(min_score=0.3))
    tree = ElementTree.parse(tmp_path / "out" / "train.xml")
    x, y, width, height = BOXES[3]
    corners = {"xtl": x, "ytl": y, "xbr": x + width, "ybr": y + height}
    SubElement(next(tree.getroot().iter("image")), "box", {"label": "car", **{key: str(side) for key, side in corners.items()}})
    tree.write(tmp_path / "drawn.xml")
    found, _ = import_corrections("cvat", tmp_path / "drawn.xml", file, tmp_path / "a.json")
    assert (found.accepted, found.unseen, found.added) == (5, 1, 1)
    assert found.table.annotation_ids.tolist() == [11, 12, 13, 14, 17, 15, 16]


def test_a_copied_box_keeps_the_id_once_and_is_new_otherwise(tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, "cvat", tmp_path / "out")
    tree = ElementTree.parse(tmp_path / "out" / "train.xml")
    image = next(tree.getroot().iter("image"))
    copied = ElementTree.fromstring(ElementTree.tostring(image.findall("box")[0]))
    copied.set("xtl", "3.00")
    image.insert(0, copied)  # it comes first, but the box that was not moved is the old one
    tree.write(tmp_path / "copied.xml")
    found, _ = import_corrections("cvat", tmp_path / "copied.xml", file, tmp_path / "a.json")
    assert (found.accepted, found.changed, found.added, found.deleted) == (6, 0, 1, 0)


def test_a_tool_that_loses_ids_loses_none_of_the_boxes_that_stay(tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, "cvat", tmp_path / "out")
    tree = ElementTree.parse(tmp_path / "out" / "train.xml")
    for box in tree.getroot().iter("box"):
        for attribute in list(box):
            box.remove(attribute)
    tree.write(tmp_path / "bare.xml")
    found, _ = import_corrections("cvat", tmp_path / "bare.xml", file, tmp_path / "a.json")
    assert (found.accepted, found.table.annotation_ids.tolist()) == (6, [11, 12, 13, 14, 15, 16])


def test_labels_without_provenance_get_that_of_their_own_file(tmp_path: Path) -> None:
    settings = write_coco(tmp_path / "data")
    file = Path(settings.annotations)
    export_files(file, Path(settings.images), "fiftyone", tmp_path / "out")
    import_corrections("fiftyone", tmp_path / "out", file, tmp_path / "a.json")
    first = json.loads((tmp_path / "a.json").read_text())["annotations"][0]
    assert first["provenance"] == {"origin": "ground_truth", "space": "annotations", "annotation_id": first["id"]}


def test_tasks_that_nobody_submitted_keep_their_boxes(tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, "label-studio", tmp_path / "out")
    found, notes = import_corrections("label-studio", tmp_path / "out" / "tasks_train.json", file, tmp_path / "a.json")
    assert (found.unseen, found.untouched_images) == (6, 3)
    assert notes == ("3 of 3 images did not come back and keep their boxes",)


def cvat(*images: str) -> str:
    return f"<annotations>{''.join(images)}</annotations>"


def image(content: str, name: str = "001.png") -> str:
    return f'<image name="{name}">{content}</image>'


BOX = '<box label="{label}" xtl="{x}" ytl="1" xbr="9" ybr="9" {more}/>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no XML", "cannot be read as XML"),
        ("<else/>", "is not of the format 'CVAT for images'; export the task as"),
        (cvat("<track/>"), "is not of the format 'CVAT for images'"),
        (cvat(image("", "none.png")), "image 'none.png' matches no image of "),
        (cvat(image(""), image("")), "image '001.png' and image '001.png' are the same image; leave one out"),
        (
            cvat(image(BOX.format(label="bus", x=1, more=""))),
            "the class 'bus' is not in the class list of .*classes are car, t",
        ),
        (
            cvat(image(BOX.format(label="car", x=9, more=""))),
            r"the box \[9.0, 1.0, 9.0, 9.0\] has no area inside the image",
        ),
        (cvat(image(BOX.format(label="car", x="nan", more=""))), "has no area inside the image"),
        (cvat(image(BOX.format(label="car", x="a", more=""))), "is not a box"),
        (cvat(image(BOX.format(label="car", x=1, more='rotation="3"'))), "a box of 'car' is rotated; only upright boxes"),
    ],
)
def test_what_cannot_be_read_is_named(content: str, message: str, tmp_path: Path) -> None:
    file, _ = labels(tmp_path)
    (tmp_path / "task.xml").write_text(content)
    with pytest.raises(InputError, match=message):
        import_corrections("cvat", tmp_path / "task.xml", file, tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("tool", "content", "message"),
    [
        ("label-studio", {}, "is not a list of tasks; export the project as 'JSON'"),
        ("label-studio", [{"data": {"image": "x.png"}, "annotations": [{"result": []}]}], r"task \? .* matches no image"),
        (
            "fiftyone",
            {"samples": [{"gt": {"_cls": "Detections"}}]},
            "no sample has detections in the field 'transferred'; known",
        ),
        ("fiftyone", [], "holds no samples; export the dataset"),
        ("fiftyone", None, "there is no such file"),
        ("coco", [], "FORMAT: is 'coco'"),
    ],
)
def test_other_tools_too(tool: str, content: Any, message: str, tmp_path: Path) -> None:
    file, _ = labels(tmp_path)
    if content is not None:
        (tmp_path / "back.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        import_corrections(tool, tmp_path / "back.json", file, tmp_path / "a.json")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, "fiftyone", tmp_path / "out")
    with pytest.raises(InputError, match="is the labels file itself, which must not change"):
        import_corrections("fiftyone", tmp_path / "out", file, file, force=True)
    (tmp_path / "a.json").write_text("precious")
    with pytest.raises(InputError, match="already exists"):
        import_corrections("fiftyone", tmp_path / "out", file, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == "precious"
    import_corrections("fiftyone", tmp_path / "out", file, tmp_path / "a.json", force=True)
    assert (tmp_path / "a.json").read_text() != "precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cvat"], "lat import cvat: needs --labels; corrected labels come from cvat, label-studio or fiftyone"),
        (["yolo", "--labels", "a.json"], "lat import yolo: takes no --labels; corrected labels come from cvat, label-"),
        (["cvat", "--labels", "a.json", "--subset", "2"], "lat import cvat: takes no --split, --subset or --hash-images; leave"),
        (
            ["cvat", "--labels", "a.json", "min_score=0.3"],
            "lat import cvat: takes no min_score=0.3; leave it out; see",
        ),
    ],
)
def test_corrections_need_labels_and_datasets_take_none(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["import", *arguments, "--root", "x", "--out", "y"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


@pytest.mark.parametrize("tool", CHANGES)
def test_another_review_that_was_there_is_kept_and_told_of(tool: str, tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, tool, tmp_path / "out")
    back, options = CHANGES[tool](tmp_path / "out"), CorrectionOptions(allow_deletions=True)
    _, notes = import_corrections(tool, back, file, options=options)
    assert not [note for note in notes if "another review" in note]
    reviewed = file.with_name(f"{file.stem}.reviewed.json")
    reviewed.write_text(earlier := reviewed.read_text().replace("cvat", "CVAT") + " ")
    _, notes = import_corrections(tool, back, file, options=options)
    kept = file.with_name(f"{file.stem}.reviewed.1.json")
    assert notes[-1].startswith(f"another review of these labels was there; it is kept as {kept}, and the run")
    assert kept.read_text() == earlier


@pytest.mark.parametrize("tool", CHANGES)
def test_a_review_goes_on_from_one_tool_to_the_next(tool: str, tmp_path: Path) -> None:
    file, images = labels(tmp_path)
    export_files(file, images, "cvat", tmp_path / "first")
    import_corrections("cvat", change_cvat(tmp_path / "first"), file, options=CorrectionOptions(allow_deletions=True))
    reviewed = file.with_name(f"{file.stem}.reviewed.json")
    first = read_labels(reviewed, "city")
    export_files(reviewed, images, tool, tmp_path / "second")
    if tool == "label-studio":
        tasks = json.loads((tmp_path / "second" / "tasks_train.json").read_text())
        for number, task in enumerate(tasks, start=1):
            task |= {"id": number, "annotations": [{"result": task["predictions"][0]["result"]}]}
        (tmp_path / "second" / "tasks_train.json").write_text(json.dumps(tasks))
    back = {"cvat": "train.xml", "label-studio": "tasks_train.json", "fiftyone": "samples.json"}[tool]
    place = tmp_path / "second" / (back if tool != "fiftyone" else "")
    merged, notes = import_corrections(tool, place, reviewed)
    assert (merged.accepted, merged.changed, merged.deleted) == (first.num_boxes, 0, 0), "all that was there, as it was"
    again = read_labels(reviewed, "city")
    assert again.annotation_ids.tolist() == first.annotation_ids.tolist()
    assert again.info["reviewed"]["labels_sha256"] == sha256_of_file(file), "of the labels that no person had changed"
    assert notes[-1] == f"the review that it goes on from is kept as {reviewed.with_suffix('.1.json')}"


def test_a_field_is_of_tools_that_have_fields(tmp_path: Path) -> None:
    file, _ = labels(tmp_path)
    with pytest.raises(InputError, match="--field: is given, but cvat has no label fields; leave it out"):
        import_corrections("cvat", tmp_path / "task.xml", file, options=CorrectionOptions(field="a"))


def test_a_wrong_option_is_told_with_the_help_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("import", "review apply"):
        with pytest.raises(SystemExit) as caught:
            main([*command.split(), "--min_score"])
        assert caught.value.code == 2
        assert capsys.readouterr().err.rstrip().endswith(f"; see `lat {command} --help`")


def test_polygons_are_told_of(tmp_path: Path) -> None:
    file, _ = labels(tmp_path)
    (tmp_path / "task.xml").write_text(cvat(image('<polygon label="car" points="1,1;2,2;3,1"/>')))
    given = CorrectionOptions(allow_deletions=True)
    _, notes = import_corrections("cvat", tmp_path / "task.xml", file, tmp_path / "a.json", given)
    assert notes == ("1 shapes that are not boxes are left out", "2 of 3 images did not come back and keep their boxes")
