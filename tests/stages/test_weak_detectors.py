"""`upstream.min_ap` stops a run before weak detectors label anything, and changes nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TWO_MEMBERS, draw_tiny, quiet, tiny_workspace

from lat.cli import main
from lat.config.load import load_config
from lat.core.errors import InputError
from lat.pipeline.plan import all_steps
from lat.pipeline.run import run_stages
from lat.pipeline.work import share_of_run, work
from lat.workspace.label_files import config_sha256
from lat.workspace.workspace import Workspace

STAGES = ["train-upstream", "pseudo-label"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A run with detectors whose AP is set by hand: of `city` 30 and, its other member, 20, of `nu` 10, of `way` unknown."""
    folder = tmp_path_factory.mktemp("weak")
    workspace = tiny_workspace(draw_tiny(folder), folder / "run", *TWO_MEMBERS)
    run_stages(workspace, ["train-upstream"], say=quiet)
    known: list[tuple[str, int, float | None]] = [("city", 0, 30.0), ("city", 1, 20.0), ("nu", 0, 10.0), ("way", 0, None)]
    for dataset, member, ap in known:
        path = workspace.paths.upstream_metrics(dataset, member)
        path.write_text(json.dumps({**json.loads(path.read_text()), "ap": ap}))
    return workspace


@pytest.fixture
def trained(made: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it."""
    shutil.copytree(made.config.output_dir, tmp_path / "run")
    return Workspace(replace(made.config, output_dir=str(tmp_path / "run")))


def at_least(workspace: Workspace, min_ap: float) -> Workspace:
    return Workspace(replace(workspace.config, upstream=replace(workspace.config.upstream, min_ap=min_ap)))


@pytest.mark.parametrize(
    ("min_ap", "weak"),
    [
        (9.9, []),
        (10.5, ["nu has AP 10.0"]),
        (25.0, ["city (member 1) has AP 20.0", "nu has AP 10.0"]),
        (100.0, ["city has AP 30.0", "city (member 1) has AP 20.0", "nu has AP 10.0"]),
    ],
)
def test_every_member_has_to_reach_it_where_images_are_held_out(trained: Workspace, min_ap: float, weak: list[str]) -> None:
    if not weak:
        run_stages(at_least(trained, min_ap), ["pseudo-label"], say=quiet)
        assert trained.paths.pseudo_labels("nu", "city").is_file()
        return
    with pytest.raises(InputError) as caught:
        run_stages(at_least(trained, min_ap), ["pseudo-label"], say=quiet)
    message = str(caught.value)
    assert message.startswith(f"upstream.min_ap: on held-out images the detector of {weak[0]}")
    assert [one for one in ("city has", "city (member 1) has", "nu has", "way has") if one in message] == [
        one.partition(" AP")[0] for one in weak
    ]
    assert f"{weak[-1]}, below {min_ap:g}; train longer" in message
    assert "\n" not in message


def test_only_detectors_that_are_asked_count(trained: Workspace) -> None:
    run_stages(at_least(trained, 15.0), ["pseudo-label"], select=lambda step: step.member == "city", say=quiet)
    assert trained.paths.pseudo_labels("nu", "city").is_file()
    with pytest.raises(InputError, match=r"min_ap: on held-out images the detector of nu has AP 10\.0, below 15"):
        run_stages(at_least(trained, 15.0), ["pseudo-label"], say=quiet)


def test_nothing_is_labelled_and_a_lower_threshold_goes_on_from_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = draw_tiny(tmp_path)
    strict = tiny_workspace(config, tmp_path / "run", *TWO_MEMBERS, "upstream.min_ap=100")
    for begun in (True, False):  # the second time, all detectors are up to date
        told: list[str] = []
        with pytest.raises(InputError, match="below 100"):
            run_stages(strict, STAGES, say=told.append)
        assert [line.split()[0] for line in told] == ["train-upstream"] * (3 * begun)
        assert not (tmp_path / "run" / "pseudo_labels").exists()
        assert not (tmp_path / "run" / ".work").exists()
    share = share_of_run(load_config(tmp_path / "run"), "0/2")
    with pytest.raises(InputError, match="below 100"):
        work(share, quiet)
    with pytest.raises(SystemExit):
        main(["pseudo-label", str(tmp_path / "run")])
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert error.startswith("error: upstream.min_ap: on held-out images the detector of city has AP ")
    done = [step.stage for step in run_stages(at_least(strict, 0.0), STAGES, say=quiet)]
    assert set(done) == {"pseudo-label"}


def test_labels_and_figures_do_not_tell_of_it(trained: Workspace) -> None:
    assert config_sha256(at_least(trained, 5.0)) == config_sha256(trained)
    strict = at_least(trained, 5.0)
    assert [step.settings for step in all_steps(strict, STAGES)] == [step.settings for step in all_steps(trained, STAGES)]
    assert run_stages(strict, ["pseudo-label"], say=quiet)
    assert run_stages(trained, ["pseudo-label"], say=quiet) == []
    assert run_stages(at_least(trained, 100.0), ["report"], select=lambda step: False, say=quiet) == []


@pytest.mark.parametrize("value", ["-1", "100.5", "nan"])
def test_it_is_an_ap(value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"upstream\.min_ap"):
        load_config(draw_tiny(tmp_path), [f"upstream.min_ap={value}"])
