"""`benchmarks/gpu.py` on a CPU: every part measures something, and neither a failure nor a spent budget loses anything."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from lat.core.label_space import LabelSpace
from lat.detectors.base import transformers_problem
from lat.engine.runtime import build_fabric
from lat.engine.training_settings import RuntimeSettings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gpu")]  # what all tests share is measured once

FOLDER = Path(__file__).parents[2] / "benchmarks"
IN_ONE_PROCESS = ("stages", "features", "same", "pseudo-labels", "paper", "training", "decoding")


@pytest.fixture(scope="module", autouse=True)
def gpu() -> Iterator[Any]:
    """The benchmark as a module; its own `markdown` hides another library's while the tests of this file run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.delitem(sys.modules, "markdown", raising=False)
        yield import_module("gpu")
        sys.modules.pop("markdown", None)


def bench(gpu: Any, folder: Path, budget: float = 600.0) -> Any:
    return gpu.Bench(torch.device("cpu"), True, budget, folder)


@pytest.fixture(scope="module")
def measured(gpu: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gpu")
    gpu.measure(bench(gpu, folder), {name: gpu.PARTS[name] for name in IN_ONE_PROCESS}, folder / "gpu.json")
    result: dict[str, Any] = json.loads((folder / "gpu.json").read_text())
    return result


def test_every_part_measures_something_on_a_cpu(measured: dict[str, Any]) -> None:
    assert tuple(measured["parts"]) == IN_ONE_PROCESS
    for name, part in measured["parts"].items():
        assert part["rows"], name
        assert {"error", "skipped"}.isdisjoint(part), name
    assert measured["device"].startswith("CPU")


def test_every_stage_of_a_run_stands_beside_its_ceiling(measured: dict[str, Any]) -> None:
    rows = measured["parts"]["stages"]["rows"]
    assert [row["stage"].split()[0] for row in rows] == [
        *("upstream", "pseudo-labels", "features", "label-transfer", "transfer", "downstream")
    ]
    assert all(row["images/s"] > 0 and row["ceiling (images/s)"] > 0 for row in rows)


def test_labels_do_not_depend_on_the_size_of_batches(measured: dict[str, Any]) -> None:
    (row,) = measured["parts"]["same"]["rows"]
    assert row["on the CPU"] == row["here"] > 0
    assert row["verdict"] == "the same"


def test_one_step_of_every_stage_of_each_configuration_of_the_paper(measured: dict[str, Any]) -> None:
    rows = measured["parts"]["paper"]["rows"]
    assert {row["configuration"] for row in rows} == {path.stem for path in (FOLDER.parent / "configs" / "paper").glob("*.yaml")}
    found = {row["stage"]: row["steps"] for row in rows if row["configuration"] == "one_to_one"}
    assert found.pop("train-downstream deformable_detr") == (0 if transformers_problem() else 1)
    assert found == {"train-upstream": 1, "pseudo-label": 4, "train-lat": 1, "transfer": 1, "train-downstream": 1}


def test_further_detectors_of_the_paper_are_read_from_its_configurations() -> None:
    further = import_module("gpu_paper").further_detectors
    kinds = {
        name: [
            one.removeprefix("downstream.model.detector=") for options in further(name) for one in options if "detector=" in one
        ]
        for name in ("class_divergent", "one_to_one", "small_large", "street_scenes")
    }
    two = ["rtdetr", "yolo"]
    assert kinds == {"class_divergent": two, "one_to_one": ["deformable_detr"], "small_large": two, "street_scenes": []}


def numbers(gpu: Any, upto: int, error: Exception | None = None) -> Any:
    def rows(_: Any) -> Iterator[dict[str, object]]:
        for number in range(upto):
            yield {"number": number}
        if error is not None:
            raise error

    return gpu.Part(rows, 0.0)


def test_a_part_that_fails_loses_neither_its_rows_nor_the_others(
    gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"bad": numbers(gpu, 2, ValueError("no kernel")), "good": numbers(gpu, 1)}
    gpu.measure(bench(gpu, tmp_path), parts, tmp_path / "all.json")
    written = json.loads((tmp_path / "all.json").read_text())["parts"]
    assert [len(written[name]["rows"]) for name in parts] == [2, 1]
    assert written["bad"]["error"] == "failed: ValueError: no kernel"
    assert "bad: failed: ValueError: no kernel" in capsys.readouterr().out


def test_what_the_budget_does_not_reach_is_left_out_with_a_line(
    gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = bench(gpu, tmp_path)

    def spend(_: Any) -> Iterator[dict[str, object]]:
        for number in range(3):
            if number == 1:
                one.budget = 0.0
            yield {"number": number}

    results = gpu.measure(one, {"first": gpu.Part(spend, 0.0), "second": numbers(gpu, 1)}, tmp_path / "all.json")
    assert results["first"]["rows"] == [{"number": 0}, {"number": 1}]
    assert results["second"]["rows"] == []
    lines = capsys.readouterr().out.splitlines()
    assert "first: stopped: the budget is spent" in lines
    assert "second: left out: 0 s of the budget of 0 s are left" in lines


def test_a_row_is_on_disk_before_the_next_one_is_measured_and_what_was_not_reached_is_named(
    gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, seen = tmp_path / "all.json", []

    def rows(_: Any) -> Iterator[dict[str, object]]:
        yield {"number": 7}
        seen.append((json.loads(file.read_text())["parts"], capsys.readouterr().out))

    gpu.measure(bench(gpu, tmp_path), {"first": gpu.Part(rows, 0.0), "second": numbers(gpu, 1)}, file)
    ((parts, printed),) = seen
    assert parts == {"first": {"rows": [{"number": 7}]}, "second": {"rows": [], "skipped": "not reached"}}
    assert "number 7" in printed
    assert "skipped" not in json.loads(file.read_text())["parts"]["second"]


def test_all_parts_are_estimated_to_end_well_before_the_budget_and_that_before_eight_minutes(gpu: Any) -> None:
    assert sum(part.seconds for part in gpu.PARTS.values()) <= 0.85 * gpu.BUDGETS["cuda"]
    assert gpu.BUDGETS["cuda"] < 8 * 60


def test_labels_that_differ_are_told_from_the_same_ones(tmp_path: Path) -> None:
    space = LabelSpace.from_names("labels", ["a", "b"])
    path, copy = tmp_path / "one.json", tmp_path / "two.json"
    import_module("gpu_data").write_dataset(tmp_path / "images", {path: 3}, space, (48, 64))
    shutil.copy(path, copy)
    compared = import_module("gpu_same").Compared
    same, moved = compared(), compared()
    same.add(path, copy)
    assert same.row("")["verdict"] == "the same"
    document = json.loads(path.read_text())
    document["annotations"][0]["bbox"][0] += 3.0  # one of thirty
    copy.write_text(json.dumps(document))
    moved.add(path, copy)
    assert moved.row("")["verdict"] == "different"
    assert moved.row("")["same (IoU 0.98, score 0.02)"] == "96.67 %"


def test_images_reach_a_model_as_numbers_from_0_to_1() -> None:
    fabric = build_fabric(RuntimeSettings(accelerator="cpu"), seed=0)
    batch = [torch.full((3, 2, 2), 255, dtype=torch.uint8)], (torch.ones(1),)
    images, (ones,) = import_module("gpu_watch").on_device(fabric, batch)
    assert images[0].dtype == ones.dtype == torch.float32
    assert images[0].max() == ones.max() == 1.0
