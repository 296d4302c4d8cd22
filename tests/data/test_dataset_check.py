from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from factories import coco_dict, label_space, write_coco, write_json

from lat.core.errors import InputError
from lat.data.data_settings import DatasetSettings
from lat.data.dataset import load_dataset
from lat.data.dataset_check import DatasetCheck, check_dataset, check_datasets

BOX = [2, 3, 10, 8]
SPACE = label_space("city", ["car", "truck", "bus"])


def told(check: DatasetCheck) -> list[tuple[str, str, str]]:
    return [(problem.file.name, problem.item, problem.what) for problem in check.problems]


def test_a_sound_dataset_has_figures_and_nothing_else(tmp_path: Path) -> None:
    value = coco_dict([[BOX, BOX], [], [BOX], []], [[1, 2], [], [3], []], space=SPACE)
    value["annotations"][1]["iscrowd"] = 1
    check = check_dataset(write_coco(tmp_path, value))
    assert (check.problems, check.repairs, check.space) == ((), (), SPACE)
    (part,) = check.parts
    assert (part.part, part.images, part.boxes, part.crowd_boxes, part.empty_images) == ("training", 4, 3, 1, 2)
    assert part.boxes_per_class == {"car": 1, "truck": 1, "bus": 1}
    assert part.image_sizes == "48 x 32"


def test_every_image_is_opened_and_progress_counts_them(tmp_path: Path) -> None:
    settings = write_coco(tmp_path, coco_dict([[BOX]] * 6))
    images = tmp_path / "images"
    (images / "001.png").unlink()
    (images / "002.png").write_text("not an image")
    (images / "003.png").write_bytes((images / "003.png").read_bytes()[:-20])
    cv2.imwrite(str(images / "004.png"), np.zeros((48, 32, 3), np.uint8))
    cv2.imwrite(str(images / "005.png"), np.zeros((31, 48, 3), np.uint8))
    steps: list[tuple[int, int]] = []
    check = check_dataset(settings, progress=lambda done, total: steps.append((done, total)))
    expected = ["no such image file", "not an image", "cut off", "width and height are swapped", "48 x 31 pixels"]
    assert [(file, item) for file, item, _ in told(check)] == [(f"00{i}.png", f"image {i}") for i in range(1, 6)]
    for (_, _, what), words in zip(told(check), expected, strict=True):
        assert words in what
    assert steps == [(done, 6) for done in range(1, 7)]


def test_problems_in_the_file_and_in_the_images_are_all_found_at_once(tmp_path: Path) -> None:
    settings = write_coco(tmp_path, coco_dict([[BOX], [BOX], [BOX], [BOX]], space=SPACE))
    value = coco_dict([[BOX], [BOX], [BOX], [BOX]], space=SPACE)
    value["annotations"][0]["category_id"] = 99
    value["annotations"][1]["bbox"] = [0, 0, float("nan"), 3]
    value["annotations"][2]["bbox"] = [-1, 0, 5, 5]
    value["images"][2].update(file_name="../003.png")
    value["images"][3].update(width=-1)
    (tmp_path / "images" / "001.png").unlink()
    check = check_dataset(replace(settings, annotations=str(write_json(tmp_path / "bad.json", value))))
    assert [(file, item) for file, item, _ in told(check)] == [
        ("bad.json", "image 3"),
        ("bad.json", "image 4"),
        ("bad.json", "annotation 1"),
        ("bad.json", "annotation 2"),
        ("001.png", "image 1"),
    ]
    assert check.parts[0].boxes == 2
    assert [(repair.what, repair.count) for repair in check.repairs] == [("box clipped at the image border", 1)]


def test_an_unusable_class_list_does_not_hide_the_images(tmp_path: Path) -> None:
    settings = write_coco(tmp_path)
    write_json(tmp_path / "annotations.json", {**coco_dict(), "categories": []})
    (tmp_path / "images" / "002.png").unlink()
    check = check_dataset(settings)
    assert told(check)[0] == ("annotations.json", "categories", "the class list is empty")
    assert told(check)[1][:2] == ("002.png", "image 2")
    assert check.parts == ()


def test_missing_files_and_folders_are_problems_too(tmp_path: Path) -> None:
    settings = write_coco(tmp_path, validation=str(tmp_path / "none.json"))
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert told(check_dataset(settings)) == [("none.json", "", "no such file"), ("images", "", "no such images folder")]


def test_parts_without_boxes_and_splits_that_do_not_exist(tmp_path: Path) -> None:
    value = coco_dict([[BOX], [], [BOX]], splits=["train", "val", "test"])
    check = check_dataset(write_coco(tmp_path, value, split="train", validation_split="val"))
    assert told(check) == [("annotations.json", "", "the validation part has no boxes (1 images)")]
    assert "1 of 3 images are in no part because of their split" in [note.what for note in check.notes]
    check = check_dataset(write_coco(tmp_path, value, split="trian"))
    assert told(check) == [("annotations.json", "", "no image has the split 'trian'")]


def test_validation_file_is_checked_like_the_annotations(tmp_path: Path) -> None:
    value = coco_dict([[BOX], [BOX]])
    value["annotations"][1]["id"] = 0
    value["images"][0]["file_name"] = "100.png"
    value["images"][1]["file_name"] = "900.png"
    settings = write_coco(tmp_path, validation=str(write_json(tmp_path / "val.json", value)))
    shutil.copy(tmp_path / "images" / "001.png", tmp_path / "images" / "100.png")
    check = check_dataset(settings)
    assert [(file, item) for file, item, _ in told(check)] == [("val.json", "annotation 0"), ("900.png", "image 2")]
    assert [part.part for part in check.parts] == ["training", "validation"]


def test_legal_but_strange_things_are_notes(tmp_path: Path) -> None:
    value = coco_dict([[BOX], [BOX]], space=SPACE)
    check = check_dataset(write_coco(tmp_path, value))
    assert check.problems == ()
    assert [str(note) for note in check.notes] == [
        "the training part has no boxes of truck, bus",
        "fewer than 10 boxes to learn from: car (2); add some, or expect labels of these classes to be poor",
        "no images are held out: scores are not calibrated, and nothing says how good its detector is; "
        "add validation_fraction: 0.2 to datasets.city",
    ]


def test_a_dataset_with_enough_boxes_and_images_held_out_has_no_notes(tmp_path: Path) -> None:
    value = coco_dict([[BOX] * 5] * 4, [[1] * 5, [2] * 5] * 2, space=label_space("city", ["car", "truck"]))
    settings = replace(write_coco(tmp_path, value), validation=str(write_json(tmp_path / "val.json", value)))
    (tmp_path / "held_out").mkdir()
    for path in (tmp_path / "images").iterdir():
        cv2.imwrite(str(tmp_path / "held_out" / path.name), cv2.flip(cv2.imread(str(path)), 1))
    check = check_dataset(replace(settings, validation_images=str(tmp_path / "held_out")))
    assert (check.problems, check.notes) == ((), ())


def test_an_image_that_is_trained_on_and_held_out_is_a_problem(tmp_path: Path) -> None:
    value = coco_dict([[BOX], [BOX], [BOX]])
    settings = write_coco(tmp_path, value)
    held_out = coco_dict([[BOX], [BOX]])
    held_out["images"][1]["file_name"] = "linked/002.png"  # a link to a training image; the other has its name
    (tmp_path / "images" / "linked").mkdir()
    (tmp_path / "images" / "linked" / "002.png").symlink_to(tmp_path / "images" / "002.png")
    settings = replace(settings, validation=str(write_json(tmp_path / "val.json", held_out)))
    (problem,) = check_dataset(settings).problems
    assert problem.file.name == "val.json"
    assert problem.what.startswith("2 of 2 images of the validation part are in the training part too (")
    assert "annotations.json), the first is" in problem.what
    with pytest.raises(InputError, match=r"val\.json: 2 of 2 images of the validation part are in the training part too"):
        load_dataset(settings)
    # in another folder the same names are other images
    shutil.copytree(tmp_path / "images", tmp_path / "held_out", symlinks=False)
    apart = replace(settings, validation_images=str(tmp_path / "held_out"))
    assert check_dataset(apart).problems == ()
    load_dataset(apart)


def test_the_training_file_is_no_validation_file(tmp_path: Path) -> None:
    settings = write_coco(tmp_path)
    (problem,) = check_dataset(replace(settings, validation=settings.annotations)).problems
    assert problem.what.startswith("2 of 2 images of the validation part are in the training part too")


def test_one_image_file_under_two_ids_is_a_problem(tmp_path: Path) -> None:
    value = coco_dict([[BOX], [BOX], [BOX]])
    settings = write_coco(tmp_path, value)
    value["images"][2]["file_name"] = "./001.png"
    write_json(tmp_path / "annotations.json", value)
    (problem,) = check_dataset(settings).problems
    assert problem.item.endswith("images/001.png")
    assert problem.what == "stands in the training part 2 times, as image 1 and 3"
    with pytest.raises(InputError, match="stands in the training part 2 times"):
        load_dataset(settings)


def test_an_image_file_of_two_datasets_is_a_note(tmp_path: Path) -> None:
    city = write_coco(tmp_path, coco_dict([[BOX], [BOX]]))
    way = write_json(tmp_path / "way.json", coco_dict([[BOX]], space=label_space("way", ["car", "truck"])))
    checks = check_datasets([city, DatasetSettings("way", city.images, str(way)), write_coco(tmp_path / "nu", name="nu")])
    assert [check.problems for check in checks] == [(), (), ()]
    told_of = [[note.what for note in check.notes if "dataset city" in note.what] for check in checks]
    assert told_of[0] == told_of[2] == []
    assert told_of[1][0].startswith("1 of its images are in the dataset city too, the first is ")


def test_sizes_are_listed_or_given_as_a_range(tmp_path: Path) -> None:
    value = coco_dict([[BOX]] * 4)
    for image, (width, height) in zip(value["images"], [(60, 20), (48, 32), (50, 40), (48, 32)], strict=True):
        image.update(width=width, height=height)
    assert check_dataset(write_coco(tmp_path, value)).parts[0].image_sizes == "60 x 20, 48 x 32, 50 x 40"
    value["images"][3].update(width=30)
    assert check_dataset(write_coco(tmp_path, value)).parts[0].image_sizes == "30..60 x 20..40 (4 sizes)"


def with_truth(folder: Path, truth: dict[str, dict[str, Any]], **settings: Any) -> Any:
    files = {name: str(write_json(folder / f"truth.{name}.json", value)) for name, value in truth.items()}
    return write_coco(folder, coco_dict([[BOX], [BOX]]), truth=files, **settings)


def test_truth_files_are_checked_against_the_images_and_the_other_label_spaces(tmp_path: Path) -> None:
    way = label_space("way", ["vehicle"])
    good = coco_dict([[BOX], []], space=way)
    datasets = [with_truth(tmp_path / "a", {"way": good}), write_coco(tmp_path / "b", coco_dict([[BOX]], space=way), name="way")]
    city, _ = check_datasets(datasets)
    assert told(city) == []
    assert [part.part for part in city.parts] == ["training", "truth.way"]

    short = coco_dict([[BOX]], space=label_space("way", ["car"]))
    datasets[0] = with_truth(tmp_path / "a", {"way": short, "city": good, "nu": good})
    city, _ = check_datasets(datasets)
    assert [(file, item, what[:30]) for file, item, what in told(city)] == [
        ("truth.way.json", "image 2", "is not in the file"),
        ("truth.city.json", "categories", "the class list is [1 vehicle],"),
        ("truth.city.json", "", "has no boxes on images that ar"),
        ("truth.way.json", "categories", "the class list is [1 car], but"),
        ("truth.nu.json", "truth of city", "there is no dataset 'nu'"),
    ]


def test_test_images_are_those_that_are_in_no_other_part(tmp_path: Path) -> None:
    value = coco_dict([[BOX], [BOX, BOX], [BOX]], splits=["train", "test", "val"])
    settings = write_coco(
        tmp_path, value, split="train", validation_split="val", truth={"city": str(tmp_path / "annotations.json")}
    )
    parts = {part.part: (part.images, part.boxes) for part in check_dataset(settings).parts}
    assert parts == {"training": (1, 1), "validation": (1, 1), "test": (1, 2)}
    none_left = replace(settings, split="", validation_split="")
    assert [what for _, _, what in told(check_dataset(none_left))] == ["has no boxes on images that are in no other part"]


def test_two_datasets_with_one_name_are_both_told(tmp_path: Path) -> None:
    checks = check_datasets([write_coco(tmp_path / "a"), write_coco(tmp_path / "b"), write_coco(tmp_path / "c", name="nu")])
    assert [[problem.what for problem in check.problems] for check in checks] == [
        ["2 datasets have the name city"],
        ["2 datasets have the name city"],
        [],
    ]


def test_a_dataset_that_a_known_command_makes_has_one_problem_where_nothing_is_there(tmp_path: Path) -> None:
    settings = DatasetSettings("city", f"{tmp_path}/images", f"{tmp_path}/a.json", f"{tmp_path}/b.json", made_by="lat import x")
    check = check_dataset(settings)
    assert [str(problem) for problem in check.problems] == ["is not there; make it with `lat import x`"]
    assert (check.problems[0].file, check.parts, check.space) == (tmp_path / "a.json", (), None)
