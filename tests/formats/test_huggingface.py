"""Exports for Hugging Face: the layout by hand, the card, and what the real `datasets` reads where it is installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from factories import coco_dict, label_space, write_json
from PIL import Image
from pyarrow import parquet

from lat.commands.export import Content, export, export_files
from lat.data.dataset import DetectionDataset
from lat.labels.coco.read import read_labels

SPACE = label_space(class_names=("car", "truck & trailer"), ids=(7, 3))


def transferred(folder: Path) -> Path:
    """Two images of 40 x 20 in `transferred/`: on the first a car from a person's truck and a crowd, on the second none."""
    value = coco_dict([[(4, 5, 10, 2.5), (20, 0, 20, 20)], []], [[7, 3], []], space=SPACE, size_hw=(20, 40))
    for image, name in zip(value["images"], ("front/a b.png", "c.png"), strict=True):
        image["file_name"] = name
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), (image["id"], 0, 0)).save(folder / "images" / name)
    first, second = value["annotations"]
    first |= {"id": 11, "score": 0.25, "provenance": {"origin": "ground_truth", "space": "nu", "annotation_id": 5}}
    second |= {"id": 12, "iscrowd": 1, "provenance": {"origin": "pseudo_label", "space": "city", "annotation_id": None}}
    (folder / "transferred").mkdir()
    return write_json(folder / "transferred" / "nu.city.json", {**value, "info": {"method": "label_transfer"}})


def export_to(folder: Path) -> Path:
    summary = export_files(transferred(folder), folder / "images", "huggingface", folder / "out")
    assert (summary.images, summary.boxes, summary.losses) == (2, 2, ())
    return folder / "out"


def head_of(out: Path) -> tuple[dict[str, Any], str]:
    """The YAML head of a card, and its text."""
    _, head, text = (out / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), text


def test_every_image_has_a_line_with_its_boxes_in_pixels(tmp_path: Path) -> None:
    out = export_to(tmp_path)
    first, second = parquet.read_table(out / "images" / "train" / "metadata.parquet").to_pylist()
    assert first == {
        "file_name": "front/a b.png",
        "image_id": 1,
        "width": 40,
        "height": 20,
        "objects": {
            "bbox": [[4, 5, 10, 2.5], [20, 0, 20, 20]],
            "category": [0, 1],
            "annotation_id": [11, 12],
            "score": [0.25, 1.0],
            "iscrowd": [False, True],
            "origin": ["ground_truth", "pseudo_label"],
            "origin_space": ["nu", "city"],
            "origin_id": [5, None],
        },
    }
    assert (out / "images" / "train" / first["file_name"]).is_file()
    assert set(second["objects"]) == set(first["objects"])
    assert not any(second["objects"].values())


def test_the_card_says_protocol_provenance_and_licences(tmp_path: Path) -> None:
    head, text = head_of(export_to(tmp_path))
    assert head["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "images/train/**"}]}]
    (objects,) = [one["struct"] for one in head["dataset_info"]["features"] if one["name"] == "objects"]
    assert objects[1] == {"name": "category", "list": {"class_label": {"names": {"0": "car", "1": "truck & trailer"}}}}
    assert [one["name"] for one in objects][2:] == ["annotation_id", "score", "iscrowd", "origin", "origin_space", "origin_id"]
    assert "| 1 | truck & trailer | 3 | 1 |" in text
    assert "| ground\\_truth | a human box of the source | nu | 1 |" in text
    assert "images and human labels keep the licences of their sources" in text
    assert "## Figures" not in text


def test_the_card_has_the_figures_of_its_run(tmp_path: Path) -> None:
    labels = transferred(tmp_path)
    figures = {"ap": 41.25, "ap50": 60.0, "ap75": None, "images": 2, "boxes": 9}
    others = [
        {"source": "nu", "target": "way", "method": "label_transfer"},
        {"source": "nu", "target": "city", "method": "union"},
    ]
    rows = [*others, {"source": "nu", "target": "city", "method": "label_transfer", **figures}]
    write_json(tmp_path / "evaluation.json", {"transfer": [{**figures, "ap": 1.0, **row} for row in others] + rows[2:]})
    export_files(labels, tmp_path / "images", "huggingface", tmp_path / "out")
    assert head_of(tmp_path / "out")[1].count("| nu.city | 41.2 | 60.0 | - | 2 | 9 |") == 1
    assert "| nu.city | 1.0 |" not in head_of(tmp_path / "out")[1]


def test_names_cannot_break_the_card(tmp_path: Path) -> None:
    table = read_labels(transferred(tmp_path), "x")
    odd = replace(table, space=label_space(class_names=("a|b\n# c", "---"), ids=(7, 3)))
    export(Content({"train": DetectionDataset("--- |x", tmp_path / "images", odd)}), "huggingface", tmp_path / "out")
    head, text = head_of(tmp_path / "out")
    assert head["pretty_name"] == "--- |x"
    assert "| 0 | a\\|b \\# c | 7 | 1 |" in text


def test_datasets_opens_the_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    if not hasattr(datasets, "load_dataset"):
        pytest.skip("the package datasets is not installed; what is called so is a folder of configurations")
    table = read_labels(transferred(tmp_path), "city")
    part = DetectionDataset("city", tmp_path / "images", table)
    export(Content({"train": part, "val": part.select([1])}), "huggingface", tmp_path / "out")
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in found.items()} == {"train": 2, "validation": 1}
    features = found["train"].features["objects"]
    category = features["category"].feature
    assert category.names == ["car", "truck & trailer"]
    by_id = {row["image_id"]: row for row in found["train"]}
    assert by_id[1]["image"].size == (40, 20)
    assert by_id[1]["image"].getpixel((0, 0)) == (1, 0, 0)
    assert by_id[1]["objects"]["bbox"] == [[4, 5, 10, 2.5], [20, 0, 20, 20]]
    assert by_id[1]["objects"]["category"] == [0, 1]
    assert by_id[1]["objects"]["origin_id"] == [5, None]
    assert by_id[2]["objects"]["bbox"] == []
    alone = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out" / "images" / "train"), cache_dir=str(tmp_path / "c")
    )
    assert [row["objects"]["category"] for row in alone["train"]] == [[0, 1], []]
