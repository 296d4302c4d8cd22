"""What a whole dataset tells about its boxes, from files to files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import draw_tiny, quiet, tiny_workspace
from torchvision.ops import nms

from lat.commands.relate import relate
from lat.core.errors import InputError
from lat.core.origin import Origin
from lat.data.tensors import boxes_of
from lat.labelling.calibration import Calibration
from lat.labelling.class_prior import ClassPrior
from lat.labelling.class_shares import ClassShares, counted, without_counterpart
from lat.labelling.consistent_shares import make_consistent
from lat.labels.overlaps import overlaps
from lat.pipeline.run import run_stages
from lat.stages.doubt import pair_doubt
from lat.stages.transfer.class_shares_file import read_class_shares
from lat.stages.transfer.evidence import RunEvidence, compare_conventions
from lat.stages.transfer.held_out import HeldOutImages
from lat.stages.transfer.no_counterpart import boxes_without_counterpart
from lat.workspace.label_files import read_held_out_labels, read_pseudo_labels, read_transferred


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration, and a run of it up to the trained label-transfer model."""
    folder = tmp_path_factory.mktemp("transfer")
    config = draw_tiny(folder)
    run_stages(tiny_workspace(config, folder / "run"), ["train-upstream", "pseudo-label", "train-lat"], say=quiet)
    return config, folder / "run"


def transferred(finished: tuple[Path, Path], run: Path, *settings: str) -> dict[str, Any]:
    """The labels of nu in the space of city, written with some settings."""
    if not run.exists():
        shutil.copytree(finished[1], run)
    workspace = tiny_workspace(finished[0], run, "target=city", *settings)
    run_stages(workspace, ["pseudo-label", "transfer"], say=quiet)
    return json.loads(workspace.paths.transferred("nu", "city").read_text())


def test_calibration_changes_scores_and_nothing_else(finished: tuple[Path, Path], tmp_path: Path) -> None:
    raw = transferred(finished, tmp_path / "run", "transfer.calibration=none")
    assert raw["info"]["calibration"] == Calibration().to_dict()
    fitted = transferred(finished, tmp_path / "run", "transfer.calibration=platt")
    calibration = Calibration.from_dict(fitted["info"]["calibration"])
    assert (calibration.method, calibration.pairs > 0) == ("platt", True)
    scores = [[one.pop("score") for one in labels["annotations"]] for labels in (raw, fitted)]
    assert raw["annotations"] == fitted["annotations"]
    np.testing.assert_allclose(calibration(torch.tensor(scores[0])).numpy(), scores[1], atol=2e-4)


def test_without_held_out_images_scores_stay_as_they_are(finished: tuple[Path, Path], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    lines = finished[0].read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if "validation:" not in line))
    labels = transferred((config, finished[1]), tmp_path / "run", "transfer.calibration=platt")
    assert labels["info"]["calibration"] == Calibration().to_dict()


def test_on_held_out_images_detections_stand_in_for_human_boxes(finished: tuple[Path, Path]) -> None:
    workspace = tiny_workspace(*finished, "target=city", "transfer.combine.sure_threshold=0.05")
    held_out = HeldOutImages(workspace, "nu", "city")
    detections = {space: boxes_of(read_held_out_labels(workspace, "city", space), 0) for space in ("city", "nu", "way")}
    proposals = held_out.transfer_input(0).proposals
    stand_ins = proposals[proposals.origin == Origin.GROUND_TRUTH]
    one_per_object = detections["nu"][nms(detections["nu"].boxes_xyxy, detections["nu"].scores, 0.5)]
    torch.testing.assert_close(stand_ins.boxes_xyxy, one_per_object.boxes_xyxy)
    assert stand_ins.confidence.tolist() == [1.0] * len(one_per_object)
    assert stand_ins.class_scores[:, workspace.data.joint.slice("nu")].argmax(dim=1).tolist() == one_per_object.labels.tolist()
    others = proposals[proposals.origin == Origin.PSEUDO_LABEL]
    torch.testing.assert_close(others.boxes_xyxy, torch.cat([detections[name].boxes_xyxy for name in ("city", "way")]))


def test_of_unsure_detections_those_on_objects_play_with_the_class_that_a_person_gives(finished: tuple[Path, Path]) -> None:
    workspace = tiny_workspace(*finished, "target=city", "transfer.combine.sure_threshold=1.0")
    num_source, num_target, van = len(workspace.data.space("nu")), len(workspace.data.space("city")), 3
    shares = torch.zeros(num_source, num_target + 1)
    shares[van] = 1.0  # no other class of the source is anything in the target
    found = ClassShares(workspace.data.space("nu"), workspace.data.space("city"), shares, "counted")
    held_out = HeldOutImages(workspace, "nu", "city", ClassPrior(torch.ones_like(shares), found))
    detections, truth = held_out.labels["nu"], held_out.part.boxes(0)
    boxes = np.tile(np.float32([0, 0, 1, 1]), (detections.num_boxes, 1))  # in the corner, but for the first of the image
    boxes[detections.rows(0).start] = truth.boxes_xyxy[0].numpy()
    held_out.labels["nu"] = replace(detections, boxes_xyxy=boxes)
    proposals = held_out.transfer_input(0).proposals
    stand_ins = proposals[proposals.origin == Origin.GROUND_TRUTH]
    assert stand_ins.boxes_xyxy.tolist() == truth.boxes_xyxy[:1].tolist()
    assert stand_ins.class_scores[:, workspace.data.joint.slice("nu")].argmax(dim=1).tolist() == [van]


def test_protocols_are_compared_on_sure_detections_alone(finished: tuple[Path, Path]) -> None:
    sure = tiny_workspace(*finished, "transfer.combine.sure_threshold=1.0")
    assert not RunEvidence(sure, "nu", "city").counts_on_target.any()
    assert compare_conventions(sure, "nu", "city").human_variance.isinf().all()
    every = tiny_workspace(*finished, "transfer.combine.sure_threshold=0.05")
    found = sum(len(boxes_of(read_pseudo_labels(every, "city", "nu"), i)) for i in range(3))
    assert RunEvidence(every, "nu", "city").counts_on_target.sum() == found


def test_every_part_can_be_switched_off(finished: tuple[Path, Path], tmp_path: Path) -> None:
    off = [
        "transfer.combine.keep=false",
        "transfer.prior.method=none",
        "transfer.combine.fuse=false",
        "transfer.combine.detector_share=0",
    ]
    whole = transferred(finished, tmp_path / "run", *off)
    workspace = tiny_workspace(finished[0], tmp_path / "run", "target=city", *off)
    assert whole["annotations"]
    assert read_transferred(workspace, "nu", "city").num_boxes == len(whole["annotations"])


def test_a_table_can_forbid_every_class_of_a_source_box(finished: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "table.yaml"
    names = tiny_workspace(*finished).data.space("nu").class_names
    table.write_text(f"nu: {{city: {{{', '.join(f'{name}: []' for name in names)}}}}}\n")
    run, settings = tmp_path / "run", ["transfer.prior.method=table", f"transfer.prior.table={table}", "transfer.prior.veto=0.5"]
    forbidden = transferred(finished, run, *settings, "transfer.decode.written_threshold=0.01")["annotations"]
    assert forbidden  # detections that lie on no box of the source
    assert all("prior" not in one["provenance"] for one in forbidden)
    assert {one["provenance"]["origin"] for one in forbidden} == {"pseudo_label"}
    off = transferred(finished, run, *settings, "transfer.decode.written_threshold=0.01", "transfer.prior.sources=way")[
        "annotations"
    ]
    assert {one["provenance"]["origin"] for one in off} == {"pseudo_label", "ground_truth"}
    assert all("prior" not in one["provenance"] for one in off)
    table.write_text("nu: {cite: {}}")
    with pytest.raises(InputError, match=r"table.yaml: there is no dataset 'cite'; did you mean 'city'\?"):
        transferred(finished, run, *settings)


def test_labels_on_a_source_box_tell_what_the_prior_did(finished: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "table.yaml"
    table.write_text("nu: {city: {car: {truck: 0.6, car: 0.1}}}")
    settings = ["transfer.prior.method=table", f"transfer.prior.table={table}", "transfer.prior.veto=0.2"]
    labels = transferred(finished, tmp_path / "run", *settings, "transfer.prior.floor=0.05")["annotations"]
    workspace = tiny_workspace(*finished)
    nu, city = (workspace.data.space(name) for name in ("nu", "city"))
    old = counted(RunEvidence(workspace, "nu", "city")).shares
    human = workspace.data.train_part("nu").labels
    class_of = dict(zip(human.annotation_ids.tolist(), (nu.class_names[k] for k in human.labels), strict=True))
    on_cars = {}
    for one in (one for one in labels if one["provenance"]["origin"] == "ground_truth"):
        prior = one["provenance"]["prior"]
        assert prior["source_class"] == class_of[one["provenance"]["annotation_id"]]
        assert not prior["kept"]  # the threshold is 0
        if prior["source_class"] == "car":
            on_cars[city.class_names[city.category_ids.index(one["category_id"])]] = prior["factor"]
    expected = float(old[nu.class_names.index("car"), city.class_names.index("truck")])
    assert on_cars["truck"] == pytest.approx(0.6 / max(expected, 0.05), abs=1e-5)
    assert {on_cars[name] for name in set(on_cars) - {"truck"}} <= {0}  # 0.1 is below the veto


def test_class_shares_are_learnt_for_every_pair_and_are_what_the_prior_applies(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = ["transfer.combine.sure_threshold=0.05", "transfer.decode.written_threshold=0.01"]
    labels = transferred(finished, tmp_path / "run", "transfer.prior.method=learnt", *settings)["annotations"]
    workspace = tiny_workspace(finished[0], tmp_path / "run", "target=city", *settings)
    pairs = {(p["source"], p["target"]): p for p in json.loads(workspace.paths.class_shares.read_text())["pairs"]}
    assert sorted(pairs) == sorted(permutations(("city", "nu", "way"), 2))
    learnt = {pair: read_class_shares(workspace, *pair, "learnt") for pair in pairs}
    tables = {name: workspace.data.train_part(name).labels for name in workspace.names}
    boxes = {
        name: torch.bincount(torch.from_numpy(human.labels[~human.is_crowd]), minlength=len(human.space))
        for name, human in tables.items()
    }
    for pair, wanted in zip(learnt, make_consistent(list(learnt.values()), boxes), strict=True):
        torch.testing.assert_close(torch.tensor(pairs[pair]["consistent"]), wanted.shares)
        torch.testing.assert_close(wanted.shares.sum(dim=1), torch.ones(len(wanted.source)))
    of_detectors = counted(RunEvidence(workspace, "nu", "city"))
    torch.testing.assert_close(torch.tensor(pairs["nu", "city"]["counted"]), of_detectors.shares)
    factors = ClassPrior.of_learnt_shares(learnt["nu", "city"], of_detectors).factors
    nu, city = (workspace.data.space(name) for name in ("nu", "city"))
    weighed = [one for one in labels if "prior" in one["provenance"]]
    assert weighed
    for one in weighed:
        prior, label = one["provenance"]["prior"], city.category_ids.index(one["category_id"])
        assert prior["factor"] == pytest.approx(float(factors[nu.class_names.index(prior["source_class"]), label]), abs=1e-5)


def test_what_is_in_memory_still_gives_the_labels_that_decoding_anew_does(finished: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(finished[1], run := tmp_path / "run")
    workspace = tiny_workspace(finished[0], run, "target=city")
    steps = run_stages(workspace, ["transfer"], say=quiet)
    assert [step.title for step in steps] == ["transfer class shares", "transfer nu city", "transfer way city"]
    assert len(workspace.data.decoded) == 0
    at_once = workspace.paths.transferred("nu", "city").read_bytes()
    workspace.paths.transferred("nu", "city").unlink()
    again = tiny_workspace(finished[0], run, "target=city")  # another process, which has nothing in memory
    assert [step.title for step in run_stages(again, ["transfer"], say=quiet)] == ["transfer nu city"]
    assert workspace.paths.transferred("nu", "city").read_bytes() == at_once


def test_class_shares_are_learnt_anew_if_other_detections_are_sure_and_left_out_if_no_prior_asks(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(finished[1], run := tmp_path / "run")

    def done(*settings: str) -> list[str]:
        steps = run_stages(tiny_workspace(finished[0], run, "target=city", *settings), ["train-lat", "transfer"], say=quiet)
        return [step.title for step in steps]

    assert done("transfer.prior.method=cooccurrence") == ["transfer nu city", "transfer way city"]
    assert done()[0] == "transfer class shares"
    assert done() == []
    assert done("transfer.combine.sure_threshold=0.4")[0] == "transfer class shares"


def test_cooccurrence_counts_the_sources_own_boxes(finished: tuple[Path, Path]) -> None:
    workspace = tiny_workspace(*finished, "transfer.combine.sure_threshold=0.05")
    counts = RunEvidence(workspace, "nu", "city").counts_on_source
    labels = workspace.data.train_part("nu").labels
    assert counts.sum(dim=1).tolist() == np.bincount(labels.labels[~labels.is_crowd], minlength=len(labels.space)).tolist()
    none_sure = RunEvidence(tiny_workspace(*finished, "transfer.combine.sure_threshold=1.0"), "nu", "city").counts_on_source
    assert torch.equal(none_sure[:, -1], counts.sum(dim=1))


def test_relations_are_asked_for_and_make_the_transfer_outdated(finished: tuple[Path, Path], tmp_path: Path) -> None:
    settings = ["transfer.prior.method=relations", "target=city"]
    shutil.copytree(finished[1], run := tmp_path / "run")
    with pytest.raises(InputError, match=r"relations/city.nu.json: does not exist yet; run `lat relations` first"):
        run_stages(tiny_workspace(finished[0], run, *settings), ["transfer"], say=quiet)
    review = tmp_path / "review.yaml"
    for relation, done in (("equal", 2), ("overlapping", 1)):  # of nu alone, that of way stays as it was
        nu = f"{{spaces: [nu, city], relations: [{{first: car, second: car, relation: {relation}}}]}}"
        way = "{spaces: [way, city], relations: [{first: vehicle, second: car, relation: broader}]}"
        review.write_text(f"pairs: [{nu}, {way}]")
        relate(tiny_workspace(finished[0], run, f"relations.file={review}"))
        assert len(run_stages(tiny_workspace(finished[0], run, *settings), ["transfer"], say=quiet)) == done


def test_an_unknown_calibration_is_refused(finished: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"transfer\.calibration is 'beta'"):
        tiny_workspace(*finished, "transfer.calibration=beta")


def test_a_class_that_the_target_does_not_have_becomes_nothing_is_named_and_comes_first_for_review(
    finished: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished[1], run := tmp_path / "run")
    settings = ["target=city", "transfer.decode.written_threshold=0.01", "evaluation.counted_threshold=0.0"]
    workspace = tiny_workspace(finished[0], run, *settings)
    nu = workspace.data.space("nu")
    drawn = np.bincount(workspace.data.train_part("nu").labels.labels)
    odd, count = int(drawn.argmax()), int(drawn.max())
    path = workspace.paths.pseudo_labels("city", "nu")
    found = json.loads(path.read_text())
    one = {
        "category_id": nu.category_ids[odd],
        "iscrowd": 0,
        "score": 0.9,
        "class_scores": [float(k == odd) for k in range(len(nu))],
    }
    corners = [{**one, "bbox": [x, 0.0, 1.0, 1.0], "area": 1.0} for x in (0.0, 2.0, 4.0, 6.0)]  # where nobody drew anything
    boxes = [{**corner, "image_id": image["id"]} for image in found["images"] for corner in corners]
    found["annotations"] = [{**box, "id": number} for number, box in enumerate(boxes, start=1)]
    path.write_text(json.dumps(found))
    assert without_counterpart(RunEvidence(workspace, "nu", "city").counts_on_target).nonzero().tolist() == [[odd]]

    name = nu.class_names[odd]
    run_stages(workspace, ["transfer"], say=quiet)
    assert (
        f"nu -> city: no counterpart for {name} (100 % match nothing): 0 of {count} became anything\n" in capsys.readouterr().out
    )

    off = tiny_workspace(finished[0], run, *settings, "transfer.prior.method=none")
    run_stages(off, ["transfer"], say=quiet)
    assert ": 0 of" not in capsys.readouterr().out
    labels = read_transferred(off, "nu", "city")
    doubts = pair_doubt(off, "nu", "city", labels)
    is_on = overlaps(labels, boxes_without_counterpart(off, "nu", "city")).best()[1] >= 0.5
    assert is_on.any()
    assert (doubts.boxes[is_on] == 1).all()
    assert (doubts.boxes[~is_on] < 1).all()
