"""Work on a sequence, ahead of who takes the results: one thread reads, two work, and the results keep their order.

Polars, numpy and the system let go of the GIL while they work, so that threads use the cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS = 2
# So many items are read, worked on or waiting at most: each is some 15 MB, and a fourth made nothing faster.
DEPTH = 3


def ahead(items: Iterable[Item], work: Callable[[Item], Result]) -> Iterator[Result]:
    """`map(work, items)`, with up to DEPTH items under way. An error comes at its item's place.

    Who stops early waits for what is being worked on, and for no more.
    """
    source = iter(items)
    end = object()

    def result_of(item: Future[object]) -> object:
        one = item.result()
        return one if one is end else work(one)  # type: ignore[arg-type]  # what is no end is an item

    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(WORKERS, "work") as workers:

        def begin() -> Future[object]:
            return workers.submit(result_of, reader.submit(next, source, end))

        waiting = deque(begin() for _ in range(DEPTH))
        try:
            while (result := waiting.popleft().result()) is not end:
                waiting.append(begin())
                yield result  # type: ignore[misc]  # what is no end is a result
        finally:
            for one in waiting:
                one.cancel()
            reader.shutdown(cancel_futures=True)
