"""Laws of keep and fuse; numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lat.core.decoded_proposals import DecodedProposals, KnownProposals, joined
from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.core.origin import Origin
from lat.core.structures import Proposals
from lat.labelling.class_prior import ClassPrior
from lat.labelling.class_shares import ClassShares
from lat.labelling.conventions import MIN_SPREAD, BoxConventions
from lat.labelling.keep_and_fuse import PAPER, labels_of
from lat.labelling.labelling_settings import CombineSettings, DecodeSettings

SOURCE = LabelSpace.from_names("source", ["van"])
TARGET = LabelSpace.from_names("target", ["bus", "truck"])
DECODE = DecodeSettings(written_threshold=0.1)
OFF = PAPER
ALONE = CombineSettings(keep=False, detector_share=0.0)  # agreeing boxes are averaged, with the model's scores
SIZE_HW = (100, 100)


def decoded(
    boxes: list[list[float]],
    scores: list[list[float]],
    drawn: Tensor | None = None,
    human: int = 0,
    detector: list[list[float]] | None = None,
) -> DecodedProposals:
    """Proposals at `boxes`, the first `human` of them human boxes (class 0); as each class the model draws `drawn` or the same.

    `detector` has what the target's detector says of its own detections, zeros for other proposals.
    """
    count, xyxy = len(boxes), torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    is_human = torch.arange(count) < human
    proposals = Proposals(
        xyxy,
        torch.zeros(count, 3),
        torch.ones(count),
        torch.where(is_human, int(Origin.GROUND_TRUTH), int(Origin.PSEUDO_LABEL)),
        torch.zeros(count, dtype=torch.int64),
        torch.arange(count),
        torch.zeros(count, dtype=torch.int64) if detector is None else torch.tensor(detector).argmax(dim=1),
    )
    drawn = xyxy[:, None].repeat(1, 2, 1) if drawn is None else drawn
    detector_scores = torch.zeros(count, 3) if detector is None else torch.tensor(detector)
    model_scores = torch.tensor(scores).reshape(-1, 3)
    images, source_labels = torch.zeros(count, dtype=torch.int64), torch.where(is_human, 0, -1)
    known = KnownProposals(proposals, images, torch.tensor([SIZE_HW]), source_labels)
    return DecodedProposals(known, model_scores, detector_scores, drawn)


def together(images: Sequence[DecodedProposals]) -> DecodedProposals:
    """Images one by one as a batch."""
    batch = joined([{"target": image} for image in images])["target"]
    known = KnownProposals(batch.proposals, batch.known.images, batch.known.sizes_hw, batch.known.source_labels)
    assert torch.equal(batch.known.support, known.support), "as found anew"
    return batch


def class_prior(factors: Tensor, shares: Tensor) -> ClassPrior:
    return ClassPrior(factors, ClassShares(SOURCE, TARGET, shares, "counted"))


def conventions(offset: float = 0.0, human_variance: float = 0.0, detector_variance: float = 0.01) -> BoxConventions:
    return BoxConventions(
        torch.full((1, 2, 4), offset),
        torch.full((1, 2, 4), human_variance),
        torch.full((2, 4), detector_variance),
        torch.zeros(2, 4),
        torch.zeros(1, 2, 4),
    )


def test_the_papers_form_thresholds_and_suppresses_only() -> None:
    image = decoded([[0, 0, 40, 40], [0, 0, 40, 38], [60, 60, 90, 90]], [[0.7, 0.2, 0.1], [0.8, 0.05, 0.15], [0.05, 0.08, 0.87]])
    found, rows = labels_of(image, TARGET, DECODE)
    assert found.labels.tolist() == [0, 1]
    assert rows.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.8, 0.2])
    assert found.boxes_xyxy.tolist() == [[0, 0, 40, 38], [0, 0, 40, 40]]
    torch.testing.assert_close(found.class_scores, torch.tensor([[0.8, 0.05], [0.7, 0.2]]))


def test_boxes_of_one_class_are_averaged_by_score() -> None:
    image = decoded([[0, 0, 40, 40], [0, 0, 40, 32]], [[0.6, 0.0, 0.4], [0.2, 0.0, 0.8]])
    found, rows = labels_of(image, TARGET, DECODE, ALONE)
    assert rows.tolist() == [0]
    torch.testing.assert_close(found.boxes_xyxy, torch.tensor([[0.0, 0, 40, 38]]))  # (0.6 * 40 + 0.2 * 32) / 0.8
    assert found.scores.tolist() == pytest.approx([0.6])


def test_the_targets_detector_has_a_say_and_says_nothing_where_it_sees_nothing() -> None:
    scores, detector = [[0.5, 0.1, 0.4], [0.5, 0.1, 0.4]], [[0.9, 0.1, 0.0], [0.0, 0.0, 0.0]]
    image = decoded([[0, 0, 40, 40], [60, 60, 90, 90]], scores, detector=detector)
    for share, first, second in ((0.0, 0.5, 0.5), (0.25, 0.6, 0.375), (1.0, 0.9, 0.0)):
        settings = CombineSettings(keep=False, detector_share=share)
        found, rows = labels_of(image, TARGET, DecodeSettings(0.3), settings)
        by_row = dict(zip(rows.tolist(), found.scores.tolist(), strict=True))
        assert by_row == pytest.approx({0: first, 1: second})


def test_a_sure_detection_that_a_human_box_suppresses_leaves_it_its_score() -> None:
    # The human box overlaps the detection by 0.55: enough to suppress it, too little to average the two.
    image = decoded(
        [[0, 0, 40, 40], [0, 0, 40, 22]], [[0.1, 0.0, 0.9], [0.8, 0.0, 0.2]], human=1, detector=[[0.0] * 3, [0.9, 0, 0.1]]
    )
    found, rows = labels_of(image, TARGET, DECODE, CombineSettings(), conventions())
    assert rows.tolist() == [0]
    assert found.scores.tolist() == [pytest.approx(0.25 * 0.8 + 0.75 * 0.9)]
    assert found.boxes_xyxy.tolist() == [[0, 0, 40, 40]]


def test_a_detection_loses_the_bias_of_its_detector() -> None:
    known = conventions(human_variance=0.01)
    biased = replace(known, detector_bias=torch.tensor([[0.0, 0, 0, 0.1]] * 2))  # it draws a tenth too far down
    image = decoded([[0, 0, 40, 40]], [[0.8, 0.0, 0.2]], detector=[[0.8, 0.0, 0.2]])
    for each, y2 in ((known, 40), (biased, 37)):  # 0.25 of 40, as the model draws it, and 0.75 of 40 less 0.1 of it
        found, _ = labels_of(image, TARGET, DECODE, CombineSettings(), each)
        assert found.boxes_xyxy.tolist() == [[0, 0, 40, pytest.approx(y2)]]


def test_boxes_of_another_class_or_place_are_not_averaged() -> None:
    image = decoded([[0, 0, 40, 40], [0, 0, 40, 32], [0, 0, 40, 22]], [[0.6, 0.0, 0.4], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])
    found, _ = labels_of(image, TARGET, DECODE, CombineSettings(keep=False))
    assert found.boxes_xyxy[found.labels == 1].tolist() == [[0, 0, 40, 32]]
    assert found.boxes_xyxy[found.labels == 0].tolist() == [[0, 0, 40, 40]]  # IoU 0.55: suppressed, not averaged


def test_a_human_box_is_kept_as_far_as_it_is_precise() -> None:
    drawn = torch.tensor([[[0.0, 0, 40, 30]] * 2])
    image = decoded([[0, 0, 40, 40]], [[0.9, 0.0, 0.1]], drawn, human=1)
    keep = CombineSettings()
    for human_variance, y2 in ((0.01, 35.0), (0.03, 32.5), (float("inf"), 30.0)):
        found, _ = labels_of(image, TARGET, DECODE, keep, conventions(human_variance=human_variance))
        assert found.boxes_xyxy[0].tolist() == pytest.approx([0, 0, 40, y2])
    found, _ = labels_of(image, TARGET, DECODE, keep, conventions(human_variance=0.0))
    assert found.boxes_xyxy[0, 3] == pytest.approx(40 - 10 * MIN_SPREAD**2 / (0.01 + MIN_SPREAD**2), abs=1e-3)


def test_a_kept_box_is_moved_to_the_targets_convention() -> None:
    drawn = torch.tensor([[[19.0, 19, 51, 51]] * 2])
    image = decoded([[20, 20, 50, 50]], [[0.9, 0.0, 0.1]], drawn, human=1)
    found, _ = labels_of(image, TARGET, DECODE, CombineSettings(), conventions(0.1, 0.01, 0.01))
    torch.testing.assert_close(found.boxes_xyxy, torch.tensor([[21.0, 21, 52, 52]]))  # half way between 23 and 19, 53 and 51


def test_a_box_that_the_model_sees_elsewhere_is_not_kept() -> None:
    drawn = torch.tensor([[[20.0, 20, 50, 32]] * 2])  # a part of the object, as the target draws it
    image = decoded([[20, 20, 50, 50]], [[0.9, 0.0, 0.1]], drawn, human=1)
    found, _ = labels_of(image, TARGET, DECODE, CombineSettings(), conventions())
    assert found.boxes_xyxy.tolist() == [[20, 20, 50, 32]]


def test_a_human_box_is_averaged_with_what_networks_draw_of_its_object() -> None:
    boxes, drawn = [[0, 0, 40, 40], [0, 0, 40, 34]], torch.tensor([[[0.0, 0, 40, 40]] * 2, [[0.0, 0, 40, 36]] * 2])
    detector = [[0.0] * 3, [0.5, 0.0, 0.5]]
    image = decoded(boxes, [[0.5, 0.0, 0.5]] * 2, drawn, human=1, detector=detector)
    # The model draws 40 and 36, 38 in the mean, and the detector 34: together 35, as precisely as the person.
    found, _ = labels_of(image, TARGET, DECODE, CombineSettings(), conventions(human_variance=0.01))
    torch.testing.assert_close(found.boxes_xyxy, torch.tensor([[0.0, 0, 40, (40 + 35) / 2]]))


def test_a_box_that_the_detector_drew_for_another_class_is_not_averaged() -> None:
    # Two detections of one region have the same score vector: as class 0 of height 40, as class 1 of height 30.
    boxes, scores = [[0, 0, 40, 40], [0, 0, 40, 30]], [[0.6, 0.0, 0.4]] * 2
    image = decoded(boxes, scores, torch.tensor([[[0.0, 0, 40, 36]] * 2] * 2), detector=[[0.6, 0.3, 0.1]] * 2)
    of_two_classes = replace(image.proposals, labels=torch.tensor([0, 1]))
    image = replace(image, known=replace(image.known, proposals=of_two_classes), on_host=None)
    found, _ = labels_of(image, TARGET, DECODE, CombineSettings(keep=False))
    assert found.boxes_xyxy[found.labels == 0].tolist() == [[0, 0, 40, pytest.approx(0.25 * 36 + 0.75 * 40)]]


def test_two_human_boxes_drawn_on_each_other_stay_two_objects() -> None:
    boxes = [[0.0, 0, 40, 40], [0, 0, 40, 22], [0, 0, 40, 36]]
    image = decoded(boxes, [[0.6, 0.0, 0.4], [0.5, 0.0, 0.5], [0.9, 0.0, 0.1]], human=2)
    found, rows = labels_of(image, TARGET, DECODE, replace(ALONE, keep=True), conventions(human_variance=0.01))
    assert sorted(rows.tolist()) == [0, 1]  # the detection suppresses neither, though its score is higher
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])  # which the one that it overlaps more has from it
    assert labels_of(image, TARGET, DECODE)[1].tolist() == [2]


def test_two_boxes_that_become_one_object_are_one() -> None:
    rider_and_bicycle = [[10.0, 0, 30, 40], [0, 40, 40, 80]]
    whole = torch.tensor([[[0.0, 0, 40, 80]] * 2, [[0.0, 1, 40, 80]] * 2])
    image = decoded(rider_and_bicycle, [[0.7, 0.0, 0.3], [0.8, 0.0, 0.2]], whole, human=2)
    found, rows = labels_of(image, TARGET, DECODE, CombineSettings(), conventions(human_variance=float("inf")))
    assert rows.tolist() == [1]
    assert found.boxes_xyxy.tolist() == [[0, 1, 40, 80]]


def test_what_is_suppressed_suppresses_nothing() -> None:
    drawn = torch.tensor([[[0.0, 0, 40, 40]] * 2, [[0.0, 0, 40, 24]] * 2, [[0.0, 0, 40, 14]] * 2])
    apart = [[0.0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]]  # nowhere near each other as the source draws them
    image = decoded(apart, [[0.9, 0.0, 0.1], [0.8, 0.0, 0.2], [0.7, 0.0, 0.3]], drawn, human=3)
    keep_nothing = conventions(human_variance=float("inf"))
    assert labels_of(image, TARGET, DECODE, CombineSettings(), keep_nothing)[1].tolist() == [0, 2]


def test_the_prior_weighs_proposals_on_a_human_box_and_no_others() -> None:
    scores = [[0.5, 0.4, 0.1]] * 3
    image = decoded([[0, 0, 40, 40], [0, 0, 40, 36], [60, 60, 90, 90]], scores, human=1)
    prior = class_prior(torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]]))
    found, rows = labels_of(image, TARGET, DECODE, CombineSettings(keep=False, fuse=False), None, prior)
    on_human = [labels for labels, row in zip(found.labels.tolist(), rows.tolist(), strict=True) if row < 2]
    assert on_human == [1]
    assert found.scores[0] == pytest.approx(0.8)
    assert sorted(found.labels[rows == 2].tolist()) == [0, 1]


@pytest.mark.parametrize("fuse", [OFF, CombineSettings()])
def test_images_without_proposals_or_human_boxes(fuse: CombineSettings) -> None:
    prior = class_prior(torch.ones(1, 3), torch.full((1, 3), 1 / 3))
    nothing, rows = labels_of(decoded([], []), TARGET, DECODE, fuse, conventions(), prior)
    assert (len(nothing), len(rows)) == (0, 0)
    found, _ = labels_of(decoded([[0, 0, 9, 9]], [[0.9, 0.0, 0.1]]), TARGET, DECODE, fuse, conventions(), prior)
    assert found.boxes_xyxy.tolist() == [[0, 0, 9, 9]]


@pytest.mark.parametrize("fuse", [OFF, CombineSettings()])
def test_images_of_a_batch_have_nothing_to_do_with_each_other(fuse: CombineSettings) -> None:
    generator = torch.Generator().manual_seed(0)
    images = []
    for count, human in ((30, 8), (0, 0), (12, 0), (25, 25)):
        corner = 60 * torch.rand(count, 2, generator=generator)
        boxes = torch.cat([corner, corner + 20 + 10 * torch.rand(count, 2, generator=generator)], dim=1)
        scores = torch.softmax(3 * torch.randn(count, 3, generator=generator), dim=1)
        images.append(
            decoded(boxes.tolist(), scores.tolist(), boxes[:, None] + torch.rand(count, 2, 4, generator=generator), human)
        )
    known, prior = conventions(0.02, 0.01), class_prior(torch.tensor([[0.5, 2.0, 1.0]]), torch.tensor([[0.3, 0.7, 0.0]]))
    decode = DecodeSettings(0.3, max_detections=6)
    batch = together(images)
    found, rows = labels_of(batch, TARGET, decode, fuse, known, prior)
    starts = [0, 30, 30, 42]
    alone = [labels_of(image, TARGET, decode, fuse, known, prior) for image in images]
    assert batch.counts(rows) == [len(boxes) for boxes, _ in alone]
    assert max(batch.counts(rows)) == 6
    assert rows.tolist() == [row + start for (_, own_rows), start in zip(alone, starts, strict=True) for row in own_rows.tolist()]
    for name in ("boxes_xyxy", "labels", "scores", "class_scores"):
        torch.testing.assert_close(getattr(found, name), torch.cat([getattr(boxes, name) for boxes, _ in alone]))


def test_boxes_without_score_do_not_become_nan() -> None:
    found, _ = labels_of(
        decoded([[0, 0, 9, 9]], [[0.0, 0.0, 1.0]]), TARGET, DecodeSettings(0.0), CombineSettings(), conventions()
    )
    assert found.boxes_xyxy.tolist() == [[0, 0, 9, 9]] * 2


def test_settings_out_of_range() -> None:
    for settings, section in (({"written_threshold": 1.5}, DecodeSettings), ({"sure_threshold": -0.1}, CombineSettings)):
        with pytest.raises(InputError, match="choose a number between 0 and 1"):
            section(**settings)
    with pytest.raises(InputError, match="max_detections"):
        DecodeSettings(max_detections=0)
