"""The meaning of the label-transfer model's logits: the loss that trains them, and their class scores.

Shape letters: R regions, N label spaces, K classes of the joint label space, K_t of one space, U universal classes, L logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace
from lat.core.losses import class_relational_bce, masked_cross_entropy, masked_softmax, nll_plus, null_bce
from lat.models.model_settings import CLASSIFICATION_LOSSES, LOSSES_OF_RELATIONS


class Classification(nn.Module):
    """One of `CLASSIFICATION_LOSSES` over a joint label space.

    | loss | logits | scores of a target's classes |
    |---|---|---|
    | masked_softmax | K classes, background | softmax over the target's classes and background |
    | null_bce, class_relational_bce | K classes | sigmoids of the target's classes; background is the remainder to 1 |
    | nll_plus | U universal classes, and one for what no space labels | softmax, summed over the members of each class |

    Args:
        joint: the label spaces.
        loss: its name.
        relations: for `class_relational_bce` (K, K) bool, which class is a kind of which (see `lat.core.losses`); for
            `nll_plus` (K + N, U + 1) bool, the universal classes of each class and of each space's background, where the rows
            of a space form a partition. Part of the state dict.

    Raises:
        InputError: if the loss needs relations and there are none.
    """

    space_masks: Tensor
    relations: Tensor

    def __init__(self, joint: JointLabelSpace, loss: str, relations: Tensor | None = None) -> None:
        super().__init__()
        assert loss in CLASSIFICATION_LOSSES
        self.joint, self.loss = joint, loss
        masks = torch.stack([joint.mask(name) for name in joint.names])
        self.register_buffer("space_masks", masks, persistent=False)
        if loss in LOSSES_OF_RELATIONS:
            if relations is None:
                remedy = "run `lat relations`, or choose masked_softmax or null_bce"
                raise InputError("lat.head.classification_loss", f"is '{loss}', which needs class relations", remedy)
            self.register_buffer("relations", relations)

    @property
    def is_binary(self) -> bool:
        """True if every class has its own sigmoid."""
        return self.loss in ("null_bce", "class_relational_bce")

    @property
    def num_logits(self) -> int:
        """Number L of logits per region."""
        if self.loss == "masked_softmax":
            return len(self.joint) + 1
        return len(self.joint) if self.is_binary else self.relations.shape[1]

    def forward(self, logits: Tensor, labels: Tensor, spaces: Tensor, weights: Tensor) -> Tensor:
        """The scalar loss of regions; each is supervised only in its own label space.

        Args:
            logits: (R, L) float.
            labels: (R,) int64 in 0..K, K for background.
            spaces: (R,) int64, position of each region's label space.
            weights: (R,) float >= 0.
        """
        allowed = self.space_masks[spaces]
        match self.loss:
            case "masked_softmax":
                return masked_cross_entropy(logits, labels, allowed, weights)
            case "null_bce":
                return null_bce(logits, labels, allowed[:, :-1], weights)
            case "class_relational_bce":
                return class_relational_bce(logits, labels, allowed[:, :-1], self.relations, weights)
        rows = torch.where(labels == len(self.joint), len(self.joint) + spaces, labels)
        return nll_plus(logits, rows, self.relations, weights)

    def scores(self, logits: Tensor, target: str) -> Tensor:
        """Class scores (..., K_t + 1) float32 of logits (..., L) in a target space, background last; each row sums to 1."""
        classes, index = self.joint.slice(target), self.joint.index(target)
        if self.loss == "masked_softmax":
            scores = masked_softmax(logits, self.space_masks[index])
            return torch.cat([scores[..., classes], scores[..., -1:]], dim=-1)
        if self.is_binary:
            return _with_background(logits[..., classes].float().sigmoid())
        rows = torch.cat([self.relations[classes], self.relations[None, len(self.joint) + index]])
        with torch.autocast(logits.device.type, enabled=False):  # which would add up in 16 bits
            scores = torch.softmax(logits.float(), dim=-1) @ rows.float().T
        return scores.clamp(max=1.0)  # rounding may push sums above 1


def _with_background(scores: Tensor) -> Tensor:
    """Append background, the remainder to 1, to scores (..., K_t) of mutually exclusive classes.

    Scores that add up to more than 1 are divided by their sum, since classes of one space are disjoint.
    """
    total = scores.sum(dim=-1, keepdim=True)
    return torch.cat([scores / total.clamp(min=1.0), (1.0 - total).clamp(min=0.0)], dim=-1)
