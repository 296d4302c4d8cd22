"""Privileged proposals equal those of the slow reference, given the same random numbers, and their laws hold."""

from dataclasses import replace

import pytest
import reference
import torch
from scenes import CLASS_COUNTS, JOINT, SIZE_HW, SPACES, draw_scene, reference_proposals, rows_of
from tables import row, table
from torch import Tensor

from lat.core.errors import InputError
from lat.core.origin import Origin
from lat.core.structures import LabeledBoxes, Proposals
from lat.data.tensors import boxes_of
from lat.models.model_settings import ProposalSettings
from lat.models.proposals import PrivilegedProposalGenerator, counted_of_all

PLAIN = ProposalSettings(jitter_probability=0, drop_probability=0, background_proposals=0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def propose_for_training(settings: ProposalSettings, seed: int = 0, space: int = 0, truth: int = 4) -> Proposals:
    ground_truth, pseudo = draw_scene(space, truth, others=2, seed=seed)
    return PrivilegedProposalGenerator(JOINT, settings).propose_for_training(ground_truth, pseudo, SIZE_HW, seeded(seed))


def assert_same(proposals: Proposals, expected: list[reference.Proposal]) -> None:
    found = reference_proposals(proposals)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.origin, a.space, a.annotation_id) == (b.origin, b.space, b.annotation_id)
        assert [*a.box, *a.class_scores, a.confidence] == pytest.approx([*b.box, *b.class_scores, b.confidence], abs=1e-4)


@pytest.mark.parametrize("space", [0, 1, 2])
@pytest.mark.parametrize(("truth", "others"), [(4, 2), (0, 2), (3, 0), (0, 0), (1, 0)])
def test_proposals_equal_the_reference(space: int, truth: int, others: int) -> None:
    ground_truth, pseudo = draw_scene(space, truth, others, seed=space)
    if truth:
        ground_truth = replace(ground_truth, weights=torch.tensor([0.0, 1, 0.5, 1])[:truth])  # the first is a crowd
    expected = reference.propose(rows_of(ground_truth), [row for boxes in pseudo for row in rows_of(boxes)], CLASS_COUNTS)
    assert_same(PrivilegedProposalGenerator(JOINT, PLAIN).propose(ground_truth, pseudo), expected)


def draw(ground_truth: LabeledBoxes, settings: ProposalSettings, generator: torch.Generator) -> reference.Draws:
    """The random numbers in the order in which the generator draws them."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).double()

    drop, hide_boxes = uniform(int((ground_truth.weights > 0).sum())), uniform()
    kept = int((drop >= settings.drop_probability).sum()) * int(hide_boxes >= settings.hide_ground_truth)
    jitter, moves, hide_classes = uniform(kept, 1)[:, 0], uniform(kept, 4), uniform()
    return reference.Draws(drop.tolist(), float(hide_boxes), jitter.tolist(), moves.tolist(), float(hide_classes))


@pytest.mark.parametrize("seed", range(6))
def test_training_proposals_equal_the_reference_given_the_same_random_numbers(seed: int) -> None:
    settings = ProposalSettings(0.5, 0.3, 0.4, hide_ground_truth=0.3, hide_class_vectors=0.4, background_proposals=0)
    ground_truth, pseudo = draw_scene(1, 6, 2, seed)
    ground_truth = replace(ground_truth, weights=torch.tensor([1.0, 0, 1, 0.5, 1, 1]))
    proposals = PrivilegedProposalGenerator(JOINT, settings).propose_for_training(ground_truth, pseudo, SIZE_HW, seeded(seed))
    expected = reference.propose_for_training(
        rows_of(ground_truth),
        [row for boxes in pseudo for row in rows_of(boxes)],
        CLASS_COUNTS,
        reference.Augmentation(0.5, 0.3, 0.4, 0.3, 0.4),
        draw(ground_truth, settings, seeded(seed)),
        SIZE_HW,
    )
    assert_same(proposals, expected)


def test_without_augmentation_training_sees_what_transfer_sees() -> None:
    ground_truth, pseudo = draw_scene(0, 4, 2, seed=0)
    expected = PrivilegedProposalGenerator(JOINT, PLAIN).propose(ground_truth, pseudo)
    assert_same(propose_for_training(PLAIN), reference_proposals(expected))


def test_only_ground_truth_is_ever_left_out() -> None:
    whole, thinned = propose_for_training(PLAIN), propose_for_training(replace(PLAIN, drop_probability=1.0))
    assert (thinned.origin == Origin.PSEUDO_LABEL).all()
    assert_same(thinned, reference_proposals(whole[whole.origin == Origin.PSEUDO_LABEL]))


def test_every_side_of_every_ground_truth_box_moves_by_at_most_its_share() -> None:
    settings = replace(PLAIN, jitter_probability=1.0, jitter_scale=0.2)
    whole, moved = propose_for_training(PLAIN, truth=50), propose_for_training(settings, truth=50)
    shift = (moved.boxes_xyxy - whole.boxes_xyxy).abs()
    sides = (whole.boxes_xyxy[:, 2:] - whole.boxes_xyxy[:, :2]).repeat(1, 2)
    own = whole.origin == Origin.GROUND_TRUTH
    assert (shift[own] > 0).float().mean() > 0.95  # a side on the border may have nowhere to go
    assert (shift[own] <= 0.2 * sides[own] + 1e-4).all()
    assert (shift[own] > 0.15 * sides[own]).any()
    assert (shift[~own] == 0).all()
    assert (moved.boxes_xyxy >= 0).all()
    assert (moved.boxes_xyxy <= torch.tensor([SIZE_HW[1], SIZE_HW[0]]).repeat(2)).all()


def test_shares_are_probabilities_of_a_box() -> None:
    """Of 1000 boxes, 5 % are dropped and half of the rest moves; bounds are four standard deviations wide."""
    ground_truth, _ = draw_scene(0, 1000, 0, seed=0)
    generator = PrivilegedProposalGenerator(JOINT, ProposalSettings(background_proposals=0))
    proposals = generator.propose_for_training(ground_truth, [], SIZE_HW, seeded(0))
    assert len(proposals) == pytest.approx(950, abs=28)
    original = ground_truth.boxes_xyxy[proposals.annotation_ids - 1]
    assert int((proposals.boxes_xyxy != original).any(dim=1).sum()) == pytest.approx(len(proposals) / 2, abs=64)


def test_hidden_class_vectors_keep_box_and_confidence() -> None:
    hidden = propose_for_training(replace(PLAIN, hide_class_vectors=1.0))
    own = hidden.origin == Origin.GROUND_TRUTH
    assert own.sum() == 4
    assert (hidden.class_scores[own] == 0).all()
    assert (hidden.class_scores[~own].sum(dim=1) > 0).all()
    assert (hidden.confidence[own] == 1).all()


def test_hidden_ground_truth_leaves_pseudo_labels() -> None:
    assert (propose_for_training(replace(PLAIN, hide_ground_truth=1.0)).origin == Origin.PSEUDO_LABEL).all()


def test_background_boxes_lie_in_the_image_and_say_nothing() -> None:
    proposals = propose_for_training(replace(PLAIN, background_proposals=200))
    background = proposals[proposals.origin == Origin.BACKGROUND]
    assert len(background) == 200
    assert (background.boxes_xyxy >= 0).all()
    assert (background.boxes_xyxy <= torch.tensor([SIZE_HW[1], SIZE_HW[0]]).repeat(2) + 1e-4).all()
    shares = (background.boxes_xyxy[:, 2:] - background.boxes_xyxy[:, :2]) / torch.tensor([SIZE_HW[1], SIZE_HW[0]])
    assert 0.1 - 1e-4 <= float(shares.min()) < float(shares.max()) <= 0.5 + 1e-4
    assert (background.class_scores == 0).all()
    assert (background.confidence == 0).all()
    assert (background.space_index == -1).all()


def test_the_generator_decides_everything_and_the_input_stays_untouched() -> None:
    ground_truth, pseudo = draw_scene(0, 4, 2, seed=0)
    before = ground_truth.boxes_xyxy.clone()
    generator = PrivilegedProposalGenerator(JOINT, ProposalSettings())
    first, again, other = (generator.propose_for_training(ground_truth, pseudo, SIZE_HW, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first.boxes_xyxy, again.boxes_xyxy)
    assert not torch.equal(first.boxes_xyxy, other.boxes_xyxy)
    assert torch.equal(ground_truth.boxes_xyxy, before)


def test_labels_without_class_scores_count_with_their_score() -> None:
    """`way` begins at joint index 3 + 2, so its class 2 is joint class 7."""
    labels = LabeledBoxes(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([2]), SPACES[2], scores=torch.tensor([0.75]))
    proposals = PrivilegedProposalGenerator(JOINT, PLAIN).propose(LabeledBoxes.empty(SPACES[0]), [labels])
    assert proposals.class_scores.tolist() == [[0, 0, 0, 0, 0, 0, 0, 0.75, 0]]
    assert proposals.confidence.tolist() == [0.75]
    assert proposals.origin.tolist() == [Origin.PSEUDO_LABEL]


@pytest.mark.parametrize(
    ("field", "value"),
    [("jitter_probability", 1.5), ("drop_probability", -0.1), ("jitter_scale", 0.5), ("background_proposals", -1)],
)
def test_a_setting_out_of_range_is_named(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"^{field}: is"):
        ProposalSettings(**{field: value})  # type: ignore[arg-type]


def test_proposals_of_many_images_are_those_of_each() -> None:
    near, far = (0, 0, 10, 10), (20, 20, 40, 40)
    human = table([row(0, 1, near), row(0, 0, far, 1.0, True), row(2, 0, far)], (5, 6, 7, 8), JOINT.spaces[0])
    others = [
        table([row(0, 0, far, 0.5), row(1, 1, near, 0.7), row(2, 0, near, 0.6)], (5, 6, 7, 8), JOINT.spaces[1]),
        table([row(0, 0, near, 0.4), row(0, 1, far, 0.3)], (5, 6, 7, 8), JOINT.spaces[2]),
    ]
    generator = PrivilegedProposalGenerator(JOINT, PLAIN)
    found = generator.propose_for_images(counted_of_all(human), others, 4)
    wanted = [generator.propose(boxes_of(human, i), [boxes_of(one, i) for one in others]) for i in range(4)]
    assert [len(each) for each in found] == [4, 1, 2, 0]
    for each, alone in zip(found, wanted, strict=True):
        for name in ("boxes_xyxy", "class_scores", "confidence", "origin", "space_index", "annotation_ids"):
            assert torch.equal(getattr(each, name), getattr(alone, name)), name


@pytest.mark.parametrize("seed", range(5))
def test_proposals_move_with_their_boxes_and_keep_what_is_said_of_them(seed: int) -> None:
    truth, pseudo = draw_scene(0, 4, 2, seed)
    generator = PrivilegedProposalGenerator(JOINT, ProposalSettings())
    found = generator.propose(truth, pseudo)
    again = generator.propose(replace(truth, boxes_xyxy=truth.boxes_xyxy * 2 + 5), pseudo)
    own = found.origin == int(Origin.GROUND_TRUTH)
    torch.testing.assert_close(again.boxes_xyxy[own], found.boxes_xyxy[own] * 2 + 5)
    assert torch.equal(again.boxes_xyxy[~own], found.boxes_xyxy[~own])
    assert torch.equal(again.class_scores, found.class_scores)
    order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(seed))
    shuffled = generator.propose(truth[order], pseudo[::-1])
    assert sorted(map(tuple, shuffled.boxes_xyxy.tolist())) == sorted(map(tuple, found.boxes_xyxy.tolist()))
