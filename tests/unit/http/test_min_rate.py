"""How far a client is behind a minimum rate."""

from __future__ import annotations

import pytest

from phimage.http.min_rate import Lag, MinRate


def test_a_client_at_the_minimum_is_never_behind() -> None:
    lag = Lag(MinRate(100.0, 60.0))
    for _ in range(10_000):
        lag.add(1.0, 100)
    assert not lag.too_long
    assert lag.allowed(100) == pytest.approx(61.0)


def test_a_client_below_the_minimum_is_too_far_behind_after_a_while() -> None:
    lag = Lag(MinRate(100.0, 60.0))
    seconds = 0
    while not lag.too_long:
        assert lag.allowed(0) >= 0
        lag.add(1.0, 50)
        seconds += 1
    assert seconds == 121


def test_a_fast_start_buys_no_slow_end() -> None:
    lag = Lag(MinRate(100.0, 60.0))
    lag.add(1.0, 1_000_000)
    lag.add(61.0, 0)
    assert lag.too_long


def test_a_client_can_catch_up() -> None:
    lag = Lag(MinRate(100.0, 60.0))
    lag.add(50.0, 0)
    assert lag.allowed(0) == pytest.approx(10.0)
    lag.add(1.0, 5100)
    assert lag.allowed(0) == pytest.approx(60.0)


def test_without_a_minimum_nobody_is_too_slow() -> None:
    lag = Lag(MinRate(0))
    lag.add(1e9, 0)
    assert not lag.too_long
    assert lag.allowed(1) == float("inf")
