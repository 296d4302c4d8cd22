"""Read ahead of who computes: items of the next batches, in threads.

OpenCV decodes and NumPy and PyTorch copy without the interpreter's lock, so threads read on as many cores as there are, and hand
images over without a copy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")

READERS = 2  # threads, unless there are more


def read_ahead(read: Callable[[Key], Item], batches: Iterable[Sequence[Key]], readers: int = READERS) -> Iterator[list[Item]]:
    """Yield the items of each batch, while the next ones are being read: one batch, or more where that leaves readers idle.

    Args:
        read: reads an item by its key; called in threads.
        batches: keys of items.
        readers: number of threads, at least 1.

    Raises:
        Exception: what `read` raises, when its batch is due.
    """
    rest = iter(batches)
    ahead: deque[list[Future[Item]]] = deque()
    pool = ThreadPoolExecutor(readers)

    def fill() -> None:
        while len(ahead) < 1 or sum(map(len, ahead)) < readers:
            batch = next(rest, None)
            if batch is None:
                return
            ahead.append([pool.submit(read, one) for one in batch])

    try:
        fill()
        while ahead:
            now = ahead.popleft()
            fill()
            yield [item.result() for item in now]
    finally:
        pool.shutdown(cancel_futures=True)
