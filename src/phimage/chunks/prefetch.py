"""Working a little ahead of the reader, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(work: Callable[[Item], Result], items: Iterable[Item], limit: int) -> Iterator[Result]:
    """The results for all items, in their order, with at most `most` being made or waiting at once.

    An error comes where its result would have come, and ends it. With `most` 0 nothing is done ahead and no thread started.
    """
    if limit < 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(limit, thread_name_prefix="phimage-ahead")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
