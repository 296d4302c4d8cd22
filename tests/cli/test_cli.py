"""The `lat` command: exit status, one line an error, and tools that are the same commands."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from factories import coco_dict, write_coco
from typer.main import get_command

from lat.cli import main
from lat.cli.app import COMMANDS, app
from lat.engine.outcome import WorkerEndedError
from lat.street_scenes import benchmark

TOOLS = Path(__file__).parents[2] / "tools"
COLOUR = re.compile(r"\x1b\[(?:[\d;]*;)?(?:3|4|9)[0-7](?:;[\d;]*)?m")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "none.yaml"],
            f"none.yaml: there is no such configuration file (looked for {Path('none.yaml').absolute()}); check the path",
        ),
        (["runn"], "No such command 'runn'"),
        (["run"], "Missing"),
        (["evaluate"], "takes either CONFIG or both --truth and --labels"),
        (["evaluate", "--truth", "a.json"], "takes either CONFIG or both --truth and --labels"),
        (["evaluate", "a.yaml", "--out", "a.json"], "--out: is given with CONFIG, which says where a run writes; leave it out"),
        (["street-scenes", "OUT", "--difficulty", "odd"], "difficulty: is 'odd'; choose one of easy, hard"),
        (["street-scenes", "OUT", "--dataset", "city"], "dataset: names 1; choose two or more of city, nu, way, bdd"),
        (["street-scenes", "OUT", "--dataset", "city", "--dataset", "town"], "dataset: is 'town'; choose two or more"),
        (["street-scenes", "OUT", "--dataset", "nu", "--dataset", "nu"], "dataset: names 'nu' more than once"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status = run(*(str(tmp_path / "out") if argument == "OUT" else argument for argument in arguments))
    captured = capsys.readouterr()
    assert status == 2
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_help_lists_every_command_and_version_is_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    text = capsys.readouterr().out
    for command in (
        "init",
        "doctor",
        "schema",
        "street-scenes",
        "check",
        "run",
        "train-upstream",
        "pseudo-label",
        "train-lat",
        "transfer",
        "train-downstream",
        "relations",
        "evaluate",
        "report",
        "export",
    ):
        assert command in text
    assert run("--version") == 0
    assert capsys.readouterr().out.strip().count(".") == 2


def test_a_command_of_one_process_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run("check", "none.yaml") == 2
    assert capsys.readouterr().err == "error: lat check: runs in one process; start it without torchrun or srun\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_each_command_are_in_its_help_and_can_be_parsed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    said = capsys.readouterr().out
    assert "<bool>" not in said, "flags have no value"
    assert COMMANDS[name].examples
    for example in COMMANDS[name].examples:
        program, command, *arguments = shlex.split(example.partition(" > ")[0])
        assert (program, command) == ("lat", name)
        assert f"  {example}" in said.splitlines(), "whole on its line, to be pasted"
        with get_command(app).commands[name].make_context(name, arguments):  # type: ignore[attr-defined]
            pass  # an unknown option, or one without its value, is an error


def test_a_group_of_commands_has_examples_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("review", "--help") == 0
    assert "  lat review apply decisions.theirs.ours.json" in capsys.readouterr().out.splitlines()


def test_shell_completion_knows_commands() -> None:
    asked = {"_LAT_COMPLETE": "complete_bash", "COMP_WORDS": "lat tra", "COMP_CWORD": "1"}
    code = "import sys; sys.argv[0] = 'lat'; from lat.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **asked})
    assert done.stdout.split() == ["train-upstream", "train-lat", "transfer", "train-downstream"]


def test_help_has_colours_on_a_terminal_alone_and_not_with_no_color() -> None:
    command = [sys.executable, "-m", "lat", "--help"]
    assert "\x1b[" not in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")} | {"TERM": "xterm"}
    assert COLOUR.search(on_a_terminal(command, plain))
    assert not COLOUR.search(on_a_terminal(command, {**plain, "NO_COLOR": "1"}))


def on_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    output = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return output.decode()


def test_any_two_files_can_be_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, labels = tmp_path / "truth.json", tmp_path / "labels.json"
    truth.write_text(json.dumps(coco_dict([[(0, 0, 10, 10), (20, 0, 10, 10)]])))
    labels.write_text(json.dumps(coco_dict([[(0, 0, 10, 10)]])))
    files = ("--truth", str(truth), "--labels", str(labels))
    assert run("evaluate", *files, "--out", str(tmp_path / "figures.json")) == 0
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines() if "│" in line]
    result = json.loads((tmp_path / "figures.json").read_text())
    # One of two boxes found, exactly: precision 1 up to recall 0.5, that is at 51 of the 101 recall levels.
    assert result["ap"] == pytest.approx(100 * 51 / 101)
    assert result["ap50"] == pytest.approx(100 * 51 / 101)
    assert (result["images"], result["boxes"]) == (1, 2)
    assert (result["precision"], result["recall"], result["mean_iou"], result["ece"]) == (1, 0.5, 1, 0)
    assert result["reliability"] == [{"score": 1, "precision": 1, "count": 1}]
    # F1 is 2 * 1 / (1 + 2); without truth, too, the one label is kept, at its score of 1.
    assert lines[0] == ["50.5", "/", "50.5", "1.000", "0.500", "1.000", "0.000", "0.667", "0.667,", "1.00"]
    assert lines[1:] == [["car", "50.5"], ["truck", "-"]]
    assert run("evaluate", *files, "--json-lines") == 0
    assert json.loads(capsys.readouterr().out) == {"event": "result", "table": "files", **result}


def test_check_lists_every_problem_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = coco_dict()
    content["annotations"][1]["category_id"] = 77
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    datasets = "".join(f"  - {{name: {n}, images: {tmp_path}/images, annotations: {tmp_path}/{n}.json}}\n" for n in "ab")
    (tmp_path / "config.yaml").write_text("datasets:\n" + datasets)
    assert run("check", str(tmp_path / "config.yaml")) == 2
    output = capsys.readouterr().out
    assert "77" in output
    assert "annotation 2" in output
    assert "no such images folder" in output


def test_images_both_trained_on_and_held_out_are_status_2_of_check_and_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [write_coco(tmp_path / name, name=name) for name in ("city", "way")]
    rows = [f"  - {{name: {one.name}, images: {one.images}, annotations: {one.annotations}" for one in entries]
    rows[0] += f", validation: {entries[0].annotations}"
    config = tmp_path / "config.yaml"
    config.write_text(f"output_dir: {tmp_path}/run\ndatasets:\n" + "".join(f"{row}}}\n" for row in rows))
    assert run("check", str(config)) == 2
    assert run("run", str(config)) == 2
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert "2 of 2 images of the validation part are in the training part too" in text


@pytest.mark.parametrize("tool", sorted(TOOLS.glob("*.py")), ids=lambda path: path.stem)
def test_each_tool_is_thin_and_is_the_command_of_its_name(tool: Path) -> None:
    lines = tool.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 15
    assert f'main(["{tool.stem.replace("_", "-")}", *sys.argv[1:]])' in "\n".join(lines)


def test_a_tool_runs() -> None:
    done = subprocess.run([sys.executable, str(TOOLS / "transfer.py"), "none.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: none.yaml: ")


def test_a_worker_that_has_ended_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ended(**_: object) -> int:
        raise WorkerEndedError("count: a process that did shard 3 was killed")

    monkeypatch.setattr("lat.cli.app.app", ended)
    with pytest.raises(SystemExit) as caught:
        main([])
    assert (caught.value.code, capsys.readouterr().err) == (1, "error: count: a process that did shard 3 was killed\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_says_how_to_go_on_and_exits_with_1(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = benchmark._write_image

    def write_and_be_asked_to_end(path: Path, image: np.ndarray) -> None:
        write(path, image)
        signal.raise_signal(number)

    monkeypatch.setattr(benchmark, "_write_image", write_and_be_asked_to_end)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell start with it ignored
    try:
        assert run("street-scenes", str(tmp_path / "scenes")) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"stopped; the same command resumes from here: lat street-scenes {tmp_path}/scenes"
    assert len(list(tmp_path.rglob("*.png"))) == 1
