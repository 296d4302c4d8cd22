"""How far a detector errs, and how far a person: told by other detectors that have seen the same objects.

Two measurements of a box show only how much both err together. A third one, the witness, parts them: where person and detector
differ, it lies on the side of whoever is right. Best, the person has annotated by a protocol that neither detector has learnt: a
detector that has learnt it shares habits with the person that the witness does not, and seems better than it is. Shape letters:
P boxes, D sides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import torch
from torch import Tensor

from lat.labelling.box_pairs import FAR_OFF, ROBUST, BoxPairs

ALIKE = 0.5  # share of the variance of a detector's errors that other detectors have too: what is hard to see in an image
EQUAL_SIDES = 50  # weight, in sides, of the expectation that person and detector err alike


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
    def is_enough(self) -> bool:
        """Whether they count for more than the expectation that person and detector err alike."""
        return len(self._usual[0]) > EQUAL_SIDES

    @cached_property
    def _usual(self) -> tuple[Tensor, Tensor]:
        """Two (D,): offsets of the sides that both know, without those that are far apart."""
        is_known = ~(self.human.isnan() | self.witness.isnan())
        human, witness = self.human[is_known], self.witness[is_known]
        is_usual = _is_near(human) & _is_near(witness)
        return human[is_usual], witness[is_usual]


class Witnesses(NamedTuple):
    """What other detectors tell of the target's detector and people.

    Attributes:
        abroad: on images of the source, with its human boxes; the witnesses are detectors of third datasets.
        at_home: on held-out images of the target, with its human boxes; the witnesses are detectors of all other datasets.
    """

    abroad: Witnessed
    at_home: Witnessed

    def detector_share(self, usual: Tensor) -> Tensor:
        """() the variance of the target's detector on images of the source, as a share of that of pairs at home.

        Without third datasets it errs on the source's images as it does at home. The target's detector has learnt the protocol of
        its annotators there, so witnesses count only as much as the expectation that both err alike.

        Args:
            usual: () how many times as much as at home pairs scatter on the source's images.
        """
        if self.abroad.is_enough:
            return self.abroad.detector_share * usual
        return (self.at_home.detector_share + 0.5) / 2


NOBODY = Witnesses(Witnessed.joined([]), Witnessed.joined([]))
"""No witness: person and detector are taken to err alike."""


def _is_near(offsets: Tensor) -> Tensor:
    """(D,) bool: offsets (D,) from 0 that are usual among them."""
    return offsets.abs() < FAR_OFF * ROBUST * offsets.abs().median() if len(offsets) else offsets > 0
