"""Prefetching: a small thread pool works ahead of the consumer, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(work: Callable[[Item], Result], items: Iterable[Item], limit: int) -> Iterator[Result]:
    """The results of `work` for all items, in order, with at most `limit` in progress or waiting for the consumer.

    An exception is raised in the place of its result and ends the iteration. With a `limit` of 0 no thread is started and every
    result is computed when it is consumed.
    """
    if limit < 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(limit, thread_name_prefix="phimage-prefetch")
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
