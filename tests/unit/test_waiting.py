"""Waiting for what is away or locked: announced, bounded, and with a remedy at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import chain, repeat

import pytest

from phimage.errors import Locked, Unreachable
from phimage.waiting import NotNow, Patience


class Clock:
    """Time that passes only in `sleep`, and only for the thread of the test: whatever watches it sees no wait."""

    def __init__(self) -> None:
        self.now = 100.0
        self._thread = threading.get_ident()

    def __call__(self) -> float:
        return self.now if threading.get_ident() == self._thread else 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def patience(clock: Clock, told: list[str]) -> Patience:
    return Patience(told.append, limit=30, notice=2, clock=clock, sleep=clock.sleep)


def failing(times: float, *, locked: bool = False) -> Callable[[], str]:
    left = times

    def attempt() -> str:
        nonlocal left
        left -= 1
        if left >= 0:
            raise NotNow("it is away", locked=locked)
        return "here"

    return attempt


def test_what_is_there_at_once_is_not_announced(patience: Patience, told: list[str]) -> None:
    assert patience.persist("the store", failing(3)) == "here"
    assert told == []


def test_a_wait_is_announced_after_the_notice_and_every_ten_seconds(patience: Patience, clock: Clock, told: list[str]) -> None:
    assert patience.persist("the store", failing(27)) == "here"
    assert clock.now - 100 == pytest.approx(24.5)
    assert told == [f"waiting for the store: it is away; giving up in {left} s" for left in (28, 18, 8)]


@pytest.mark.parametrize(
    ("locked", "kind", "code", "remedy"),
    [(True, Locked, 75, "wait for the other process"), (False, Unreachable, 69, "check that it runs")],
)
def test_at_the_limit_it_gives_up_and_says_what_to_do(
    patience: Patience, clock: Clock, locked: bool, kind: type[Locked | Unreachable], code: int, remedy: str
) -> None:
    with pytest.raises(kind, match=f"gave up waiting for the store after 30 s: it is away; {remedy}") as raised:
        patience.persist("the store", failing(float("inf"), locked=locked))
    assert raised.value.exit_code == code
    assert clock.now == pytest.approx(130)


def test_another_failure_is_not_waited_for(patience: Patience, clock: Clock) -> None:
    def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        patience.persist("the store", broken)
    assert clock.now == 100


def test_an_attempt_that_does_not_return_is_announced_meanwhile() -> None:
    announced = threading.Event()
    told: list[str] = []

    def announce(text: str) -> None:
        told.append(text)
        announced.set()

    moments = chain([100.0], repeat(102.0))  # it begins, and is looked at two seconds later
    patience = Patience(announce, limit=30, notice=0.01, clock=lambda: next(moments))

    assert patience.persist("the store", lambda: announced.wait(60))
    assert told == ["waiting for the store: no answer yet; giving up in 28 s"]
