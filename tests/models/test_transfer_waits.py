"""How often a batch makes the program wait for a device, held as numbers; see `waits`. No GPU is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scenes import JOINT, SIZE_HW
from test_label_transfer_model import HEAD, make_batch, make_image, make_model, randomise
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from waits import ELSEWHERE, counted_waits, there

from lat.core.copies import to_device
from lat.core.decoded_proposals import on_host
from lat.labelling.class_prior import ClassPrior
from lat.labelling.class_shares import equal_shares
from lat.labelling.conventions import BoxConventions
from lat.labelling.keep_and_fuse import TargetRules, labels_of_targets
from lat.labelling.labelling_settings import CombineSettings, DecodeSettings
from lat.models.backbones.dinov2 import Dinov2
from lat.models.backbones.frozen import FrozenBackbone
from lat.models.feature_cache import FeatureCache
from lat.models.label_transfer_model import LabelTransferModel
from lat.models.model_settings import BackboneSettings, FusionSettings
from lat.stages.shared.transfer_model import with_maps


def rules_of(source: str, target: str) -> TargetRules:
    own, other = (JOINT.spaces[JOINT.index(name)] for name in (source, target))
    shares = equal_shares(own, other)
    decoding = DecodeSettings(written_threshold=0.2)
    known = BoxConventions.unknown(len(own), len(other))
    known = replace(known, human_variance=torch.full_like(known.human_variance, 0.01))
    return TargetRules(other, decoding, CombineSettings(), known, ClassPrior(torch.ones_like(shares.shares), shares))


def test_a_batch_is_transferred_to_all_targets_with_three_waits() -> None:
    source, *targets = JOINT.names
    images = [make_image(0, truth, 3, seed)[0] for seed, truth in enumerate((4, 0, 6))]
    rules = {target: rules_of(source, target) for target in targets}
    decoded = make_model().eval().decode(images, targets)
    wanted = labels_of_targets([(decoded[target], rules[target]) for target in targets])
    assert sum(len(boxes) for boxes, _ in wanted) > 20

    model = there(make_model().eval())
    with counted_waits() as waits:
        rules = {target: each.to(ELSEWHERE) for target, each in rules.items()}
        before = len(waits)
        images = [replace(image, features=there(image.features)) for image in images]
        decoded = model.decode(images, targets)
        assert waits.found[before:] == []
        found = labels_of_targets([(decoded[target], rules[target]) for target in targets])
        assert len(waits.found[before:]) == 3, waits.found[before:]
        on_host(decoded)
        assert len(waits.found[before:]) == 4
    for (boxes, rows), (other, other_rows) in zip(found, wanted, strict=True):
        assert rows.tolist() == other_rows.tolist()
        torch.testing.assert_close(boxes.boxes_xyxy, other.boxes_xyxy)
        torch.testing.assert_close(boxes.scores, other.scores)


class Pixels:
    """Images of noise of one size, with a file that stands for each."""

    def __init__(self, folder: Path, count: int) -> None:
        self.images = torch.randint(256, (count, 3, *SIZE_HW), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        self.file = folder / "image.png"
        self.file.write_bytes(b"pixels")

    def __len__(self) -> int:
        return len(self.images)

    def size_hw(self, index: int) -> tuple[int, int]:
        return SIZE_HW

    def pixels(self, index: int) -> Tensor:
        return self.images[index]

    def image_path(self, index: int) -> Path:
        return self.file


def frozen_dinov2(channels: int) -> FrozenBackbone:
    """One block of a DINOv2 whose maps have as many channels."""
    torch.manual_seed(0)
    size = {"img_size": 28, "patch_size": 14, "embed_dim": channels, "depth": 1, "num_heads": 1}
    return FrozenBackbone(Dinov2(VisionTransformer(**size, dynamic_img_size=True, dynamic_img_pad=True)), image_size=28)


def features_of(folder: Path, cache: str, count: int = 3) -> FeatureCache:
    return FeatureCache(frozen_dinov2(3), {"city": Pixels(folder, count)}, BackboneSettings(cache=cache), folder)


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_features_of_a_shard_take_one_wait_for_each_of_both_sides(tmp_path: Path, cache: str) -> None:
    wanted = features_of(tmp_path, "none").get("city", 1, flip=True)
    features = features_of(tmp_path, cache)
    fingerprint = features.backbone.weights_fingerprint
    with counted_waits() as waits:
        there(features.backbone)
        assert features.backbone.weights_fingerprint == fingerprint  # of the weights as they were read
        features.fill(flips=(False, True))
        assert len(waits) == 2, waits.found
        assert torch.equal(features.get("city", 1, flip=True), wanted)


@pytest.mark.parametrize("loss", ["masked_softmax", "null_bce"])
def test_the_losses_of_a_batch_take_no_wait(loss: str) -> None:
    images, truth = make_batch()
    model = LabelTransferModel(JOINT, 3, replace(HEAD, classification_loss=loss), FusionSettings())
    randomise(model, 0, scale=0.5)
    wanted = {name: value.item() for name, value in model.losses(images, truth).items()}
    with counted_waits() as waits:
        model = there(model)
        images = [replace(one, features=there(one.features), proposals=there_too(one.proposals)) for one in images]
        truth = [there_too(one) for one in truth]
        before = len(waits)
        losses = model.losses(images, truth)
        assert waits.found[before:] == []
        found = {name: value.item() for name, value in losses.items()}
    assert found == {name: pytest.approx(value, rel=1e-5) for name, value in wanted.items()}
    assert min(wanted.values()) > 0


def there_too(boxes: Any) -> Any:
    """Boxes or proposals elsewhere."""
    return boxes._with({name: there(column) for name, column in boxes._columns().items()})


def test_a_batch_from_bytes_to_labels_of_all_targets_takes_three_waits(tmp_path: Path) -> None:
    source, *targets = JOINT.names
    model, features = make_model().eval(), features_of(tmp_path, "none")
    images = [
        replace(make_image(0, truth, 3, truth)[0], features=features.load("city", i), scale_yx=features.scales("city", i))
        for i, truth in enumerate((4, 0, 6))
    ]
    rules = {target: rules_of(source, target) for target in targets}
    decoded = model.decode(with_maps(features, images), targets)
    wanted = labels_of_targets([(decoded[target], rules[target]) for target in targets])
    assert sum(len(boxes) for boxes, _ in wanted) > 20

    with counted_waits() as waits:
        model, _ = there(model), there(features.backbone)
        rules = {target: each.to(ELSEWHERE) for target, each in rules.items()}
        before = len(waits)
        inputs = [replace(one, features=to_device(one.features, ELSEWHERE)) for one in with_maps(features, images)]
        decoded = model.decode(inputs, targets)
        found = labels_of_targets([(decoded[target], rules[target]) for target in targets])
        assert len(waits.found[before:]) == 3, waits.found[before:]
    for (boxes, rows), (other, other_rows) in zip(found, wanted, strict=True):
        assert rows.tolist() == other_rows.tolist()
        torch.testing.assert_close(boxes.boxes_xyxy, other.boxes_xyxy)
