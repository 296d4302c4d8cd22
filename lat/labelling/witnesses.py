"""How far a detector errs, and how far a person: told by other detectors that have seen the same objects.

Two measurements of a box show only how much both err together. A third one, the witness, parts them: where person and detector
differ, it lies on the side of whoever is right. The person must have annotated by a protocol that neither detector has learnt, or
what that protocol has of its own would be taken for the other's error. Shape letters: P boxes, D sides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from lat.labelling.box_pairs import ROBUST, BoxPairs

ALIKE = 0.5  # share of the variance of a detector's errors that other detectors have too: what is hard to see in an image
EQUAL_SIDES = 50  # weight, in sides, of the expectation that person and detector err alike
FAR = 4.0  # sides this many standard deviations apart are of different objects, or follow no convention


@dataclass(frozen=True, eq=False)
class Witnessed:
    """How a detector, a person and witnesses differ on the same objects.

    Attributes:
        human: (P, 4) float32 offsets from the detector's box to the human box, less the difference of their conventions; NaN
            where unknown.
        witness: (P, 4) float32, the same from the detector's box to the witness's.
    """

    human: Tensor
    witness: Tensor

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[BoxPairs, BoxPairs]]) -> Self:
        """From pairs of the detector's boxes with human boxes, and with those of one witness (`BoxPairs.of_three`)."""
        every = list(pairs)
        return cls(*(BoxPairs.joined(one[i] for one in every).without_medians() for i in (0, 1)))

    @classmethod
    def joined(cls, parts: Iterable[Witnessed]) -> Self:
        """Those of several witnesses together."""
        every = [Witnessed(torch.zeros(0, 4), torch.zeros(0, 4)), *parts]
        return cls(torch.cat([one.human for one in every]), torch.cat([one.witness for one in every]))

    @property
    def detector_share(self) -> Tensor:
        """() in [0, 1]: the detector's share of the variance between it and the person.

        If the three err independently, the witness's offset grows with the person's by just this share (least squares). What
        two detectors have in common makes the detector seem better than it is, by a factor of 1 - `ALIKE`.
        """
        human, witness = self._usual
        variance = human.square().mean() if len(human) else torch.ones(())
        equal = EQUAL_SIDES * (1 - ALIKE) / 2 * variance
        grows_by = ((human * witness).sum() + equal) / ((len(human) + EQUAL_SIDES) * variance).clamp(min=1e-12)
        return (grows_by / (1 - ALIKE)).clamp(0.0, 1.0)

    @property
    def _usual(self) -> tuple[Tensor, Tensor]:
        """Two (D,): offsets of the sides that both know, without those that are far apart."""
        is_known = ~(self.human.isnan() | self.witness.isnan())
        human, witness = self.human[is_known], self.witness[is_known]
        is_usual = _is_near(human) & _is_near(witness)
        return human[is_usual], witness[is_usual]


NOBODY = Witnessed.joined([])
"""No witness: person and detector are taken to err alike."""


def _is_near(offsets: Tensor) -> Tensor:
    """(D,) bool: offsets (D,) from 0 that are usual among them."""
    return offsets.abs() < FAR * ROBUST * offsets.abs().median() if len(offsets) else offsets > 0
