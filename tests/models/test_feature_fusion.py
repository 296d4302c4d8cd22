"""Semantic Feature Fusion equals the slow reference in every mode, and its laws hold."""

import itertools

import pytest
import reference
import torch
from scenes import CLASS_COUNTS, JOINT, draw_scene, randomise, reference_proposals
from torch import Tensor
from torch.nn.functional import layer_norm

from lat.core.errors import InputError
from lat.core.structures import Proposals
from lat.models.feature_fusion import SemanticFeatureFusion
from lat.models.model_settings import FusionSettings, ProposalSettings
from lat.models.proposals import PrivilegedProposalGenerator

DIM = 6
NUM_CLASSES = sum(CLASS_COUNTS)
GENERATOR = PrivilegedProposalGenerator(JOINT, ProposalSettings(0, background_proposals=2))
MODES = [
    FusionSettings(*values)
    for values in itertools.product(
        ("sff",),
        ("overlapping", "image"),
        ("scale", "clamp", "none"),
        ("class", "feature"),
        ("multiply", "add_log"),
        (True, False),
    )
]
MODES += [FusionSettings(attention, attend) for attention in ("standard", "none") for attend in ("overlapping", "image")]


def make_fusion(settings: FusionSettings | None = None, seed: int = 0) -> SemanticFeatureFusion:
    fusion = SemanticFeatureFusion(DIM, NUM_CLASSES, num_datasets=3, settings=settings or FusionSettings())
    randomise(fusion, seed, scale=0.8)  # peaked attention: the cap acts on some rows and not on others
    return fusion


def make_image(truth: int, others: int, seed: int) -> tuple[Tensor, Proposals]:
    """Region features (M, D) and proposals, two background boxes among them."""
    ground_truth, pseudo = draw_scene(seed % 3, truth, others, seed)
    generator = torch.Generator().manual_seed(seed)
    proposals = GENERATOR.propose_for_training(ground_truth, pseudo, (64, 96), generator)
    return torch.randn(len(proposals), DIM, generator=generator), proposals


def attendable(proposals: Proposals, attend: str) -> Tensor:
    """(M, M) bool, entry by entry from the reference's rule."""
    rows = reference_proposals(proposals)
    return torch.tensor([[reference.may_attend(q, k, attend) for k in rows] for q in rows]).reshape(len(rows), len(rows))


def fuse(fusion: SemanticFeatureFusion, regions: Tensor, proposals: Proposals) -> Tensor:
    """One image alone: (M, D)."""
    may = attendable(proposals, fusion.settings.attend)
    return fusion(regions[None], proposals.class_scores[None], proposals.confidence[None], may[None])[0]


@pytest.mark.parametrize("settings", MODES, ids=lambda s: "-".join(str(v) for v in vars(s).values()))
def test_every_mode_equals_the_reference(settings: FusionSettings) -> None:
    fusion = make_fusion(settings)
    for seed, (truth, others) in enumerate([(3, 2), (0, 1)]):
        regions, proposals = make_image(truth, others, seed)
        expected = reference.fuse(fusion, reference.numbers(regions), reference_proposals(proposals), num_datasets=3)
        assert_close = torch.testing.assert_close
        assert_close(fuse(fusion, regions, proposals).double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-4, atol=1e-4)


def test_the_cap_acts_on_some_rows_of_the_reference_scenes_and_not_on_others() -> None:
    """Otherwise the comparison above would say nothing about it."""
    fusion = make_fusion(FusionSettings(cap="none"))
    regions, proposals = make_image(3, 2, seed=0)
    query, key = fusion.query(regions), fusion.key(regions)
    logits = (query @ key.T / DIM**0.5).masked_fill(~attendable(proposals, "overlapping"), float("-inf"))
    largest = logits[:-2].softmax(dim=1).amax(dim=1)  # the last two are background boxes, which may have no key
    assert 0 < int((largest > 3**-0.5).sum()) < len(largest)


def test_scaling_and_clamping_by_hand() -> None:
    """Four datasets: T = 1/2. (0.8, 0.2) is scaled by 5/8 or clamped at its first entry; (0.5, 0.5) stays."""
    rows = torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5]])
    expected = {
        "scale": [[0.5, 0.125], [1 / 3, 0.5], [0.5, 0.5]],
        "clamp": [[0.5, 0.2], [0.4, 0.5], [0.5, 0.5]],
        "none": rows.tolist(),
    }
    for cap, values in expected.items():
        fusion = SemanticFeatureFusion(DIM, NUM_CLASSES, num_datasets=4, settings=FusionSettings(cap=cap))
        torch.testing.assert_close(fusion._cap(rows), torch.tensor(values))


def test_a_single_proposal_is_capped_in_the_class_branch_and_whole_in_the_feature_branch() -> None:
    fusion = make_fusion()
    regions, proposals = make_image(1, 0, seed=0)
    regions, proposals = regions[:1], proposals[:1]
    values = fusion.class_value(proposals.class_scores) / 3**0.5 + fusion.region_value(regions)
    expected = layer_norm(regions + values, (DIM,), fusion.norm.weight, fusion.norm.bias)
    torch.testing.assert_close(fuse(fusion, regions, proposals), expected)


def test_a_proposal_without_any_key_keeps_its_region_feature() -> None:
    fusion = make_fusion()
    regions = torch.randn(1, 3, DIM)
    out = fusion(regions, torch.rand(1, 3, NUM_CLASSES), torch.rand(1, 3), torch.zeros(1, 3, 3, dtype=torch.bool))
    torch.testing.assert_close(out, fusion.norm(regions))


def test_disjoint_proposals_do_not_know_of_each_other() -> None:
    fusion = make_fusion()
    regions, proposals = make_image(4, 0, seed=0)
    regions, proposals = regions[:4], proposals[:4]
    corners = torch.tensor([[0.0, 0], [20, 0], [40, 0], [60, 0]])
    apart = Proposals(**{**vars(proposals), "boxes_xyxy": torch.cat([corners, corners + 20], dim=1)})  # edges touch
    together = fuse(fusion, regions, apart)
    alone = torch.cat([fuse(fusion, regions[i : i + 1], apart[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("attend", ["overlapping", "image"])
def test_the_order_of_proposals_does_not_matter(attend: str) -> None:
    fusion = make_fusion(FusionSettings(attend=attend))
    regions, proposals = make_image(4, 2, seed=1)
    order = torch.randperm(len(proposals), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fuse(fusion, regions[order], proposals[order]), fuse(fusion, regions, proposals)[order])


@pytest.mark.parametrize("settings", MODES[::5], ids=lambda s: "-".join(str(v) for v in vars(s).values()))
@pytest.mark.parametrize("garbage", [0.0, 1e4])
def test_what_stands_in_padding_has_no_influence(settings: FusionSettings, garbage: float) -> None:
    fusion = make_fusion(settings)
    images = [make_image(truth, 1, seed) for seed, truth in enumerate((5, 0, 1))]
    most = max(len(regions) for regions, _ in images)
    regions = torch.full((3, most, DIM), garbage)
    class_scores, confidence = torch.full((3, most, NUM_CLASSES), garbage), torch.full((3, most), garbage)
    may = torch.zeros(3, most, most, dtype=torch.bool)
    for i, (own, proposals) in enumerate(images):
        m = len(own)
        regions[i, :m], class_scores[i, :m], confidence[i, :m] = own, proposals.class_scores, proposals.confidence
        may[i, :m, :m] = attendable(proposals, settings.attend)
    together = fusion(regions, class_scores, confidence, may)
    for i, (own, proposals) in enumerate(images):
        torch.testing.assert_close(together[i, : len(own)], fuse(fusion, own, proposals))


@pytest.mark.parametrize("attention", ["sff", "standard", "none"])
@pytest.mark.parametrize("cap", ["scale", "clamp", "none"])
def test_an_image_without_proposals_is_legal(attention: str, cap: str) -> None:
    empty = torch.zeros(2, 0, DIM)
    out = make_fusion(FusionSettings(attention, cap=cap))(
        empty, torch.zeros(2, 0, NUM_CLASSES), torch.zeros(2, 0), torch.zeros(2, 0, 0, dtype=torch.bool)
    )
    assert out.shape == (2, 0, DIM)


def test_a_confident_key_counts_more_in_the_feature_branch() -> None:
    """Two keys alike but for their confidence c, 1 and e^-2: with add_log their weights are as 1 to e^-2."""
    fusion = make_fusion(FusionSettings(attend="image", confidence="add_log", residual=False))
    for layer in (fusion.query, fusion.key, fusion.class_value):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    regions = torch.randn(1, 2, DIM)
    confidence = torch.tensor([[1.0, 2.718281828**-2]])
    out = fusion(regions, torch.zeros(1, 2, NUM_CLASSES), confidence, torch.ones(1, 2, 2, dtype=torch.bool))
    share = 1 / (1 + 2.718281828**-2)
    expected = fusion.norm(share * fusion.region_value(regions[0, 0]) + (1 - share) * fusion.region_value(regions[0, 1]))
    torch.testing.assert_close(out[0, 0], expected)


@pytest.mark.parametrize("settings", MODES[::5], ids=lambda s: "-".join(str(v) for v in vars(s).values()))
def test_gradients_are_finite_with_extreme_features_and_no_confidence(settings: FusionSettings) -> None:
    fusion = make_fusion(settings)
    images = [make_image(3, 1, 0)[1], make_image(0, 0, 1)[1]]  # the second has background boxes alone: rows without a key
    proposals = Proposals.joined(images)
    regions = (100 * torch.randn(len(proposals), DIM)).requires_grad_()
    loss = fuse(fusion, regions, proposals).square().sum()
    loss.backward()
    for tensor in [regions, *fusion.parameters()]:
        assert tensor.grad is None or torch.isfinite(tensor.grad).all()
    assert regions.grad is not None
    assert regions.grad.abs().sum() > 0


def test_mixed_precision_keeps_the_attention_exact() -> None:
    fusion = make_fusion()
    regions, proposals = make_image(4, 2, seed=0)
    exact = fuse(fusion, regions, proposals)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = fuse(fusion, regions, proposals)
    assert torch.isfinite(mixed).all()
    torch.testing.assert_close(mixed.float(), exact, rtol=0.05, atol=0.05)
    torch.testing.assert_close(fuse(fusion, regions.half().float(), proposals), exact, rtol=1e-2, atol=1e-2)


def test_a_setting_out_of_its_choices_is_named() -> None:
    with pytest.raises(InputError, match=r"^cap: is 'scaled'; choose one of scale, clamp, none"):
        FusionSettings(cap="scaled")
