"""`--quiet` and `--json-lines` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from factories import write_coco

from lat.cli import main
from lat.cli.app import COMMANDS

STAGES = (
    *("check", "run", "train-upstream", "pseudo-label", "train-lat", "transfer", "train-downstream"),
    *("relations", "evaluate", "report", "compare"),
)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    datasets = []
    for name in ("a", "b"):
        write_coco(tmp_path / name)
        datasets.append(
            f"  - {{name: {name}, images: {tmp_path / name}/images, annotations: {tmp_path / name}/annotations.json}}\n"
        )
    path = tmp_path / "mine.yaml"
    path.write_text("datasets:\n" + "".join(datasets))
    return path


def test_check_for_people_ends_with_what_to_run_next(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(config), "seed=1", "output_dir=a b") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: lat run {config} seed=1 'output_dir=a b'"


def test_check_for_programs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(config), "--json-lines") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    results = [row for row in rows if row["event"] == "result"]
    assert [(row["table"], row["dataset"], row["images"], row["boxes"]) for row in results] == [
        ("check", "a", 2, 3),
        ("check", "b", 2, 3),
    ]
    assert rows[-1] == {"event": "next", "command": f"lat run {config}"}


def test_quiet_shows_problems_alone(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(config), "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    (config.parent / "a" / "images" / "001.png").unlink()
    assert run("check", str(config), "-q") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"problem: {config.parent}/a/images/001.png: image 1: no such image file")
    assert err.count("\n") == 1


def test_an_error_is_an_event_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "none.yaml", "--json-lines") == 2
    out, err = capsys.readouterr()
    message = f"none.yaml: there is no such configuration file (looked for {Path('none.yaml').absolute()}); check the path"
    assert json.loads(out) == {"event": "error", "message": message}
    assert err == f"error: {message}\n"


def test_the_two_modes_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "none.yaml", "--json-lines", "--quiet") == 2
    assert capsys.readouterr().err == "error: --quiet: is given with --json-lines; choose one of them\n"


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_has_both(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert name in COMMANDS
    assert run(name, "--help") == 0
    text = capsys.readouterr().out
    assert "--quiet" in text
    assert "--json-lines" in text
