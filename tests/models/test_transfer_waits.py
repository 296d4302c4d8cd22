"""How often a batch makes the program wait for a device, held as numbers; see `waits`. No GPU is needed."""

from __future__ import annotations

from dataclasses import replace

import torch
from scenes import JOINT
from test_label_transfer_model import make_image, make_model
from waits import ELSEWHERE, counted_waits, there

from lat.core.decoded_proposals import on_host
from lat.labelling.class_prior import ClassPrior
from lat.labelling.class_shares import equal_shares
from lat.labelling.conventions import BoxConventions
from lat.labelling.keep_and_fuse import TargetRules, labels_of_targets
from lat.labelling.labelling_settings import CombineSettings, DecodeSettings


def rules_of(source: str, target: str) -> TargetRules:
    own, other = (JOINT.spaces[JOINT.index(name)] for name in (source, target))
    shares = equal_shares(own, other)
    decoding = DecodeSettings(written_threshold=0.2, keep_supported=0.1)
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
