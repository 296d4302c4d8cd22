"""Files that a run wrote and something has damaged since: one line names the file and says how to write it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from trust.one_line import bounded

from lat.core.errors import InputError
from lat.detectors.base import build_detector, describe_detector
from lat.detectors.detector_settings import DetectorSettings
from lat.engine.checkpoint import save_checkpoint
from lat.engine.training_log import _lines_until
from lat.stages.shared.detection import load_detector
from lat.stages.shared.relation_files import read_relation_content
from lat.workspace.result_files import read_evaluation, read_log, read_metrics
from lat.workspace.step_records import _read_json, _Record

WRONG = ["", "{", "5", "[5]", "null", '{"transfer": 5}', '{"ap": "x"}', "[" * 200_000, "1" * 5000, "\xff"]


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("read", [read_evaluation, read_metrics, read_log, read_relation_content])
def test_damaged_figures_are_one_line(read: Any, text: str, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_bytes(text.encode("latin-1"))
    if read is read_log and text in ("", '{"transfer": 5}'):  # lines of a log, too
        assert len(read(path)) == bool(text)
        return
    with bounded(), pytest.raises(InputError, match=r"figures\.json: ") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [*WRONG, '{"inputs": 5, "outputs": []}', '{"inputs": "a", "outputs": {"b": 1}}'])
def test_a_damaged_record_counts_as_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "transfer.json"
    path.write_bytes(text.encode("latin-1"))
    assert _read_json(path, _Record) == {}


def test_damaged_lines_of_a_log_are_dropped_when_training_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 2}\n{broken\n5\n{"step": 4}\n{"step": 6}\n{"st')
    assert _lines_until(path, 4) == ['{"step": 2}\n', '{"step": 4}\n']


@pytest.mark.parametrize("what", ["model", "settings", "space", "settings 5", "space {}", "NaN", "other classes"])
def test_a_checkpoint_that_is_not_whole_is_named(what: str, tmp_path: Path) -> None:
    from factories import label_space

    settings = DetectorSettings(detector="torchvision", backbone="small", weights="none")
    content = describe_detector(settings, label_space())
    content["model"] = build_detector(settings, label_space()).state_dict()
    if what == "NaN":
        next(iter(content["model"].values())).view(-1)[0] = torch.nan
    elif what == "other classes":
        content["space"] = label_space(class_names=("car", "truck", "bus")).to_dict()
    elif " " in what:
        content[what.split()[0]] = 5 if what.endswith("5") else {}
    else:
        del content[what]
    path = tmp_path / "model.pt"
    save_checkpoint(path, content)
    with pytest.raises(InputError, match=r"model\.pt: ") as caught:
        load_detector(path)
    assert "\n" not in str(caught.value)
