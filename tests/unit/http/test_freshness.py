"""Knowledge is at most a second old, or its age is stated (`http.freshness`)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from phimage.errors import ServiceUnavailable
from phimage.http.freshness import CUT_SECONDS, STALE_SECONDS, Freshness, WatchedSource


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Database:
    """Answers, fails, or is silent until it is released."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls = 0
        self.failing = False
        self.silent = False
        self.asked = threading.Event()
        self.released = threading.Event()
        self.lost: list[str] = []
        self.cut = 0
        self.source = WatchedSource("database", self._refresh, self.lost.append, lambda: bool(self.lost), self._cut)

    def _refresh(self) -> None:
        self.calls += 1
        self.asked.set()
        if self.silent:
            self.released.wait()
        if self.failing:
            raise ServiceUnavailable(detail="no connection")
        self.lost.clear()

    def _cut(self) -> None:
        self.cut += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(clock: Clock) -> Database:
    return Database(clock)


def run(database: Database, scenario: Callable[[Freshness], Coroutine[Any, Any, None]], patience: float = 60.0) -> None:
    async def whole() -> None:
        watch = Freshness(database.source, patience=patience, clock=database.clock)
        try:
            await scenario(watch)
        finally:
            database.released.set()
            watch.close()

    asyncio.run(whole())


def test_what_was_just_read_is_fresh(database: Database, clock: Clock) -> None:
    async def scenario(watch: Freshness) -> None:
        clock.now += STALE_SECONDS
        assert await watch.staleness() is None
        assert database.calls == 0

    run(database, scenario)


def test_what_is_older_than_the_bound_is_refreshed_before_a_response(database: Database, clock: Clock) -> None:
    """As after the process was stopped and continued."""

    async def scenario(watch: Freshness) -> None:
        clock.now += 100
        assert await watch.staleness() is None
        assert database.calls == 1
        assert watch.age() == 0

    run(database, scenario)


def test_concurrent_requests_share_one_refresh(database: Database, clock: Clock) -> None:
    async def scenario(watch: Freshness) -> None:
        clock.now += 100
        await asyncio.gather(*(watch.staleness() for _ in range(20)))
        assert database.calls == 1

    run(database, scenario)


def test_when_it_cannot_be_refreshed_the_age_is_stated(database: Database, clock: Clock) -> None:
    async def scenario(watch: Freshness) -> None:
        database.failing = True
        clock.now += 100
        assert await watch.staleness() == 100
        assert watch.reason == "no connection"

    run(database, scenario)


def test_while_the_database_is_lost_no_refresh_delays_a_response(database: Database, clock: Clock) -> None:
    async def scenario(watch: Freshness) -> None:
        database.lost.append("away")
        clock.now += 100
        assert await watch.staleness() == 100
        assert database.calls == 0

    run(database, scenario)


def test_a_silent_database_counts_as_away_after_the_patience(database: Database, clock: Clock) -> None:
    async def scenario(watch: Freshness) -> None:
        database.silent = True
        await watch.refresh()
        assert database.lost == ["the database has not answered for 0 s"]
        assert database.cut == 0

    run(database, scenario, patience=0.01)


def test_calls_to_a_database_that_stays_silent_are_ended(database: Database, clock: Clock) -> None:
    async def scenario(watch: Freshness) -> None:
        database.silent = True
        await watch.refresh()
        assert await asyncio.to_thread(database.asked.wait, 60)
        clock.now += CUT_SECONDS + 1
        await watch.refresh()
        assert database.calls == 1, "one refresh is under way, not two"
        assert database.cut == 1

    run(database, scenario, patience=0.01)


def test_calls_are_also_ended_when_only_new_ones_are_refused(database: Database, clock: Clock) -> None:
    async def scenario(watch: Freshness) -> None:
        database.failing = True
        await watch.refresh()
        assert database.cut == 0
        clock.now += CUT_SECONDS + 1
        await watch.refresh()
        assert database.cut == 1

    run(database, scenario)


def test_a_database_that_is_back_counts_as_present(database: Database, clock: Clock) -> None:
    async def scenario(watch: Freshness) -> None:
        database.failing = True
        await watch.refresh()
        assert watch.reason
        database.failing = False
        clock.now += 7
        await watch.refresh()
        assert (watch.reason, watch.age(), await watch.staleness()) == ("", 0, None)

    run(database, scenario)


def test_knowledge_is_as_old_as_the_beginning_of_its_refresh(database: Database, clock: Clock) -> None:
    async def scenario(watch: Freshness) -> None:
        database.silent = True
        waiting = asyncio.create_task(watch.refresh())
        await asyncio.sleep(0)
        clock.now += 0.5
        database.released.set()
        await waiting
        assert watch.age() == 0.5

    run(database, scenario)


def test_an_unexpected_error_of_a_refresh_makes_the_source_count_as_away(clock: Clock) -> None:
    def mistaken() -> None:
        raise ZeroDivisionError

    async def whole() -> None:
        watch = Freshness(WatchedSource("database", mistaken), clock=clock)
        await watch.refresh()
        assert watch.reason == "an error inside phimage; see its log"
        watch.close()

    asyncio.run(whole())
