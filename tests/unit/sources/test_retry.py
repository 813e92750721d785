"""Retries with backoff."""

from __future__ import annotations

from itertools import count

import pytest

from phimage.sources.errors import ResponseRefused, SourceInterrupted
from phimage.sources.retry import PROGRESS_BYTES, Retry, with_retries


def broken(after: float = 0.0) -> SourceInterrupted:
    return SourceInterrupted("http://h/a", "the connection broke", reason="cut", after=after)


class Steps:
    """A call that fails a number of times before it succeeds, and its waits."""

    def __init__(self, failures: int, *, bytes_each: int = 0, after: float = 0.0) -> None:
        self.left = failures
        self.waits: list[float] = []
        self.stored = 0
        self.bytes_each = bytes_each
        self.after = after

    def __call__(self) -> str:
        self.stored += self.bytes_each
        if self.left == 0:
            return "done"
        self.left -= 1
        raise broken(self.after)


def test_waits_grow_up_to_a_minute() -> None:
    steps = Steps(9)
    assert with_retries(steps, Retry(tries=10), steps.waits.append) == "done"
    assert steps.waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_it_gives_up_after_so_many_tries_and_says_what_is_kept() -> None:
    steps = Steps(100, bytes_each=10)
    with pytest.raises(
        SourceInterrupted, match=r"the connection broke, 8 times in a row .*80 bytes are kept: run the same again"
    ) as text:
        with_retries(steps, Retry(), steps.waits.append, lambda: steps.stored)
    assert len(steps.waits) == 7
    assert text.value.offset == 80


def test_it_does_not_promise_what_it_has_not() -> None:
    steps = Steps(100)
    with pytest.raises(SourceInterrupted, match="try again later"):
        with_retries(steps, Retry(), steps.waits.append)


def test_progress_makes_earlier_failures_forgotten() -> None:
    steps = Steps(50, bytes_each=PROGRESS_BYTES)
    assert with_retries(steps, Retry(tries=2), steps.waits.append, lambda: steps.stored) == "done"
    assert steps.waits == [1.0] * 50


def test_little_progress_is_none() -> None:
    steps = Steps(50, bytes_each=PROGRESS_BYTES // 10)
    with pytest.raises(SourceInterrupted):
        with_retries(steps, Retry(tries=5), steps.waits.append, lambda: steps.stored)


def test_a_server_may_ask_for_a_longer_wait_but_not_for_any() -> None:
    for after, expected in ((30.0, 30.0), (1_000_000.0, 300.0), (0.1, 1.0)):
        steps = Steps(1, after=after)
        with_retries(steps, Retry(), steps.waits.append)
        assert steps.waits == [expected]


def test_what_trying_again_does_not_mend_is_not_tried_again() -> None:
    calls = count(1)

    def refused() -> None:
        next(calls)
        raise ResponseRefused("http://h/a", "there is no such file", reason="status", status=404)

    with pytest.raises(ResponseRefused):
        with_retries(refused, Retry(), lambda seconds: pytest.fail("it waited"))
    assert next(calls) == 2
