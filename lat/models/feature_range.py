"""Whether the frozen backbone's features are numbers that their format can hold."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from lat.core.errors import InputError


class FeatureRange:
    """Watches maps for NaN and infinity. Those on a GPU are judged when it has done them: nobody waits before `settle`.

    Args:
        dtype: the number format of the maps, as the settings name it.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self._unjudged: deque[tuple[torch.cuda.Event, Tensor]] = deque()

    def watch(self, maps: Tensor) -> None:
        """Judge these maps, if they are on a GPU later on, and those of before that it has done.

        Raises:
            InputError: if some have a number that is not finite.
        """
        extremes = torch.stack(torch.aminmax(maps))  # passes a NaN on
        if maps.device.type in ("cpu", "mps"):
            self._judge(extremes)
            return
        event = torch.cuda.Event()
        on_host = extremes.to("cpu", non_blocking=True)
        event.record()
        self._unjudged.append((event, on_host))
        while self._unjudged and self._unjudged[0][0].query():
            self._judge(self._unjudged.popleft()[1])

    def settle(self) -> None:
        """Wait for all maps and judge them; raises as `watch` does."""
        while self._unjudged:
            event, extremes = self._unjudged.popleft()
            event.synchronize()
            self._judge(extremes)

    def _judge(self, extremes: Tensor) -> None:
        if not torch.isfinite(extremes).all():
            what = f"is '{self.dtype}', but the backbone's features exceed its range or are not finite"
            raise InputError(
                "lat.backbone.cache_dtype", what, "set lat.backbone.cache_dtype=float32, or check the backbone's weights"
            )
