"""A key may send its burst at once and its rate after that, however many processes serve it."""

from __future__ import annotations

import pytest

from phimage.errors import RateLimited
from phimage.gateway.rate import FORGET_SECONDS, RateLimit
from phimage.model.ids import PublicKey

KEY, OTHER = PublicKey("key"), PublicKey("other")


def _let_through(limit: RateLimit, key: PublicKey, now: float, tries: int) -> int:
    passed = 0
    for _ in range(tries):
        try:
            limit.spend(key, now)
        except RateLimited:
            continue
        passed += 1
    return passed


def test_the_burst_passes_at_once_and_no_more() -> None:
    assert _let_through(RateLimit(rate=5, burst=10), KEY, now=100.0, tries=50) == 10


def test_the_rate_passes_after_the_burst() -> None:
    limit = RateLimit(rate=5, burst=10)
    _let_through(limit, KEY, now=100.0, tries=50)
    assert _let_through(limit, KEY, now=102.0, tries=50) == 10
    assert _let_through(limit, KEY, now=102.2, tries=50) == 1


def test_a_bucket_never_holds_more_than_the_burst() -> None:
    limit = RateLimit(rate=5, burst=10)
    limit.spend(KEY, 100.0)
    assert _let_through(limit, KEY, now=10_000.0, tries=50) == 10


def test_a_key_does_not_spend_another_keys_rate() -> None:
    limit = RateLimit(rate=5, burst=10)
    _let_through(limit, KEY, now=100.0, tries=50)
    assert _let_through(limit, OTHER, now=100.0, tries=50) == 10


def test_a_clock_that_goes_back_gives_nothing() -> None:
    limit = RateLimit(rate=5, burst=10)
    _let_through(limit, KEY, now=100.0, tries=50)
    assert _let_through(limit, KEY, now=50.0, tries=5) == 0


def test_the_refusal_says_when_to_try_again() -> None:
    limit = RateLimit(rate=2, burst=1)
    limit.spend(KEY, 100.0)
    with pytest.raises(RateLimited, match=r"2 requests a second; try again in 0\.50 seconds"):
        limit.spend(KEY, 100.0)


def test_processes_that_tell_each_other_keep_the_rate_together() -> None:
    processes = [RateLimit(rate=20, burst=10) for _ in range(4)]
    passed, seconds, step = 0, 60.0, 0.25
    now = 1000.0
    while now < 1000.0 + seconds:
        passed += sum(_let_through(process, KEY, now, tries=50) for process in processes)
        used = [process.used() for process in processes]
        now += step
        for position, process in enumerate(processes):
            process.learn({str(place): other for place, other in enumerate(used) if place != position}, now)
    # The documented tolerance: a burst for each process, and the rate on average.
    assert passed <= 20 * seconds * 1.25 + 4 * 10
    assert passed >= 20 * seconds * 0.5


def test_a_report_that_is_lost_for_a_while_locks_no_key_out() -> None:
    limit = RateLimit(rate=5, burst=10)
    limit.spend(KEY, 100.0)
    limit.learn({"other": {KEY: 1_000_000}}, 100.0)
    limit.learn({}, 101.0)
    limit.learn({"other": {KEY: 1_000_002}}, 102.0)
    limit.learn({"other": {KEY: 1_000_005}}, 102.0)
    assert _let_through(limit, KEY, now=102.0, tries=50) == 7


def test_a_key_that_is_new_here_is_not_charged_for_what_it_sent_elsewhere_before() -> None:
    limit = RateLimit(rate=5, burst=10)
    limit.learn({"other": {KEY: 1_000_000}}, 100.0)
    limit.spend(KEY, 101.0)
    limit.learn({"other": {KEY: 1_000_002}}, 101.0)
    assert _let_through(limit, KEY, now=101.0, tries=50) == 7


def test_a_process_is_gone_when_its_report_stays_the_same_for_a_minute() -> None:
    limit = RateLimit(rate=5, burst=10)
    for second in range(62):
        limit.learn({"silent": {KEY: 3}, "busy": {KEY: second}}, 100.0 + second)
        assert limit.gone(100.0 + second) == (["silent"] if second > FORGET_SECONDS else [])
