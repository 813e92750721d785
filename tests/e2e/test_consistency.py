"""What three servers on one PostgreSQL promise while connections are cut, and processes stopped and killed."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.e2e.process import wait_until
from tests.e2e.replicas import Run
from tests.postgresql import PostgreSQL

pytestmark = pytest.mark.more

BOUND = 1.0
"""Seconds after which a change made at one server is in every answer of every other, if the answer tells no age."""
SECONDS = float(os.environ.get("PHIMAGE_TEST_SECONDS", "600"))
SEED = int(os.environ.get("PHIMAGE_TEST_SEED", "20261125"))


@pytest.fixture
def run(postgresql: PostgreSQL, tmp_path: Path) -> Iterator[Run]:
    found = Run(postgresql, tmp_path, SEED)
    yield found
    found.stop()


@pytest.mark.parametrize("seconds", [6.0, pytest.param(SECONDS, marks=pytest.mark.torture)])
def test_three_servers_keep_their_promises_while_things_break(run: Run, postgresql: PostgreSQL, seconds: float) -> None:
    run.for_seconds(seconds, changes=11, lists=101)

    for number in range(3):
        wait_until(lambda number=number: _is_well(run, number), 60)  # type: ignore[misc]
    assert run.mistakes == [], run.faults
    truth = _generations(run.database_url)
    numbers = sorted(truth)

    def generation_at(revision: int) -> int:
        return truth[numbers[bisect_right(numbers, revision) - 1]]

    changes = sorted(run.changes, key=lambda change: change.answered)
    times = [change.answered for change in changes]
    newest_until = [0]
    for change in changes:
        assert truth[change.revision] == change.generation, "what was said to be done is in the log"
        newest_until.append(max(newest_until[-1], change.revision))

    def newest_before(time: float) -> int:
        return newest_until[bisect_right(times, time)]

    for seen in run.seen:
        assert seen.generations == {generation_at(seen.revision)}, "one state of one apply, whole"
        old = BOUND if seen.age is None else BOUND + seen.age
        assert seen.revision >= newest_before(seen.asked - old), (seen, run.faults)

    assert {seen.server for seen in run.seen} == {0, 1, 2}
    assert len(changes) > 10
    assert len(run.seen) > 100


def _is_well(run: Run, number: int) -> bool:
    before = len(run.changes)
    run.change(number, 0)
    seen = run.list(number)
    return len(run.changes) > before and seen is not None and seen.age is None


def _generations(url: str) -> dict[int, int]:
    """Which generation each revision made, as the database has it."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT since, description FROM image WHERE id = 'pimg-cs-0000'").fetchall()
    return {since: int(description) for since, description in rows}
