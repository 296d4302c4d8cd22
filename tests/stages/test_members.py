"""Several detectors of one target: each is trained, and what all of them say of an image and its mirror image is averaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import TWO_MEMBERS, draw_tiny, quiet, tiny_workspace

from lat.config.load import load_config
from lat.core.errors import InputError
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_of
from lat.detectors.detections import scaled
from lat.detectors.ensemble import fuse_members
from lat.detectors.region_detections import voting
from lat.pipeline.run import run_stages
from lat.stages.shared.detection import Predictor, load_detector
from lat.stages.shared.kept_detections import keep_pseudo_labels
from lat.workspace.label_files import read_pseudo_labels
from lat.workspace.workspace import Workspace

STAGES = ["train-upstream", "pseudo-label"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A run whose target has two detectors, up to its pseudo-labels."""
    folder = tmp_path_factory.mktemp("members")
    workspace = tiny_workspace(draw_tiny(folder), folder / "run", *TWO_MEMBERS, "augmentation.scale=[0.7,1.3]")
    run_stages(workspace, STAGES, say=quiet)
    return workspace


def test_a_target_has_all_members_and_a_source_one_detector(two: Workspace) -> None:
    assert two.paths.upstream_models("city") == (
        two.paths.root / "upstream" / "city" / "model.pt",
        two.paths.root / "upstream" / "city" / "members" / "1" / "model.pt",
    )
    assert all(path.is_file() for path in two.paths.upstream_models("city"))
    assert len(two.paths.upstream_models("nu")) == 1
    assert not (two.paths.root / "upstream" / "nu" / "members").exists()
    assert (two.paths.upstream_metrics("city", 1)).is_file()
    first, second = (load_detector(path).state_dict() for path in two.paths.upstream_models("city"))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_pseudo_labels_are_what_members_say_of_both_images_and_of_larger_ones(two: Workspace) -> None:
    part, found = two.data.train_part("nu"), read_pseudo_labels(two, "nu", "city")
    settings, seen = two.config.pseudo_label, 0
    detectors = [voting(load_detector(path), settings.voting_iou) for path in two.paths.upstream_models("city")]
    assert settings.scaled == [1.3]
    predictors = [Predictor(scaled(one, scale), two.fabric) for one in detectors for scale in (1.0, 1.3)]
    for i in range(len(part)):
        image, width = part.image(i), part.size_hw(i)[1]
        views: list[LabeledBoxes] = [one.predict([image])[0] for one in predictors]
        for one in predictors:
            mirrored = one.predict([image.flip(-1)])[0]
            x1, y1, x2, y2 = mirrored.boxes_xyxy.unbind(dim=1)
            views.append(replace(mirrored, boxes_xyxy=torch.stack([width - x2, y1, width - x1, y2], dim=1)))
        wanted = keep_pseudo_labels(fuse_members(views), settings.threshold, two.config.upstream.model.max_detections)
        boxes = boxes_of(found, i)
        seen += len(boxes)
        torch.testing.assert_close(boxes.boxes_xyxy, wanted.boxes_xyxy, atol=1e-3, rtol=0)
        torch.testing.assert_close(boxes.scores, wanted.scores, atol=1e-5, rtol=0)
    assert seen > 0


def test_detectors_see_images_at_the_scales_that_they_have_trained_at(two: Workspace) -> None:
    config = replace(two.config, pseudo_label=replace(two.config.pseudo_label, scaled=[0.6, 1.3, 0.8]))
    assert config.detected_scales == [1.0, 1.3, 0.8]
    assert replace(config, augmentation=replace(config.augmentation, scale=[1.0, 1.0])).detected_scales == [1.0]


def test_another_member_leaves_the_first_detector_as_it_is(two: Workspace) -> None:
    more = Workspace(replace(two.config, upstream=replace(two.config.upstream, members=[{"training": {"steps": 5}}, {}])))
    done = [step.title for step in run_stages(more, STAGES, say=quiet)]
    assert [title for title in done if title.startswith("train-upstream")] == ["train-upstream city member 2"]
    assert "pseudo-label nu city" in done
    assert "pseudo-label nu way" not in done


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("[{model: {backbon: small}}]", "upstream.members[0].model has no setting 'backbon'; did you mean 'backbone'?"),
        ("[{}, {backbone: small}]", "upstream.members[1] has no setting 'backbone'"),
        ("[{model: small}]", "upstream.members[0].model is 'small'; write a mapping of settings"),
        ("[{model: {detector: yolo}}]", "upstream.members[0].model.detector is 'yolo'"),
    ],
)
def test_mistakes_in_members_are_named(members: str, message: str, tmp_path: Path) -> None:
    config = draw_tiny(tmp_path)
    with pytest.raises(InputError) as caught:
        load_config(config, [f"upstream.members={members}"])
    assert message in str(caught.value)
