"""A change is one revision: whole or not at all, in turn, and written down (promises of `catalog.revisions`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, func, select, text

from phimage.catalog import engine, tables
from phimage.catalog.accounts import USERS
from phimage.catalog.engine import Database
from phimage.catalog.images import IMAGES
from phimage.catalog.places import CLUSTERS, REGIONS
from phimage.catalog.revisions import (
    BASE,
    TOPOLOGY,
    ChangeRecord,
    RevisionRecord,
    account_scope,
    head,
    log,
    project_scope,
    revision_at,
    touched,
)
from phimage.catalog.views import Catalog
from phimage.errors import ServiceUnavailable
from phimage.model.ids import Revision
from tests.conftest import NewCatalog, Reopen
from tests.contract.conftest import Statements
from tests.examples import author, cluster, image, region, user

SECOND = 1_000_000
"""In microseconds, as revisions tell time."""


def write(
    catalog: Catalog, id: str = "pimg-a", *, project: str = "", name: str = "", time: float = 1_700_000_000.0
) -> Revision:
    with catalog.change(author(time)) as change:
        IMAGES.put(change, image(id, project=project, name=name or f"revision {change.number}"))
        return change.number


def write_and_fail(catalog: Catalog, error: BaseException) -> None:
    with catalog.change(author()) as change:
        IMAGES.put(change, image("pimg-a", name="after"))
        IMAGES.put(change, image("pimg-b"))
        raise error


def newest(catalog: Catalog) -> Revision:
    with catalog.database.read() as connection:
        return head(connection)


def whole_log(catalog: Catalog, **options: int) -> list[RevisionRecord]:
    with catalog.database.read() as connection:
        after = Revision(options.get("after", 0))
        before = Revision(options["before"]) if "before" in options else None
        return log(connection, after=after, before=before, limit=options.get("limit", 1000), newest_first=False)


def rows(catalog: Catalog) -> list[int]:
    """How many rows there are of images, of revisions and of changes."""
    counts = (select(func.count()).select_from(table) for table in (tables.image, tables.revision, tables.change))
    with catalog.database.read() as connection:
        return [connection.execute(count).scalar_one() for count in counts]


# one change, one revision


def test_an_empty_catalogue_is_at_revision_0_and_has_no_log(catalog: Catalog) -> None:
    assert newest(catalog) == 0
    assert whole_log(catalog) == []


def test_a_change_is_one_revision_however_much_it_touches(catalog: Catalog) -> None:
    with catalog.change(author(1_700_000_000.25, actor="acme/main 镜像", action="Apply")) as change:
        REGIONS.put(change, region())
        IMAGES.put(change, image("pimg-b"))
        IMAGES.put(change, image("pimg-a", project="org-a"))

    assert newest(catalog) == 1
    assert whole_log(catalog) == [
        RevisionRecord(
            number=Revision(1),
            time=1_700_000_000_250_000,
            actor="acme/main 镜像",
            address="192.0.2.1",
            request_id="a-request",
            action="Apply",
            changes=(
                ChangeRecord("region", "cn-bj2", TOPOLOGY, "added"),
                ChangeRecord("image", "pimg-b", BASE, "added"),
                ChangeRecord("image", "pimg-a", project_scope("org-a"), "added"),
            ),
        )
    ]


def test_a_change_knows_its_number_and_what_it_touched_so_far(catalog: Catalog) -> None:
    write(catalog)
    with catalog.change(author()) as change:
        assert change.number == 2
        assert not change.records
        CLUSTERS.put(change, cluster())
        assert change.records == (ChangeRecord("cluster", "25G", TOPOLOGY, "added"),)


def test_a_change_that_records_nothing_is_no_revision(catalog: Catalog) -> None:
    write(catalog, name="same")
    before = rows(catalog)

    with catalog.change(author()):
        pass
    with catalog.change(author()) as change:
        IMAGES.put(change, image("pimg-a", name="same"))

    assert rows(catalog) == before
    assert newest(catalog) == catalog.head == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_block_that_fails_leaves_nothing(catalog: Catalog, error: type[BaseException]) -> None:
    write(catalog, name="before")
    before = rows(catalog)

    with pytest.raises(error):
        write_and_fail(catalog, error())

    assert rows(catalog) == before
    assert newest(catalog) == catalog.head == 1
    with catalog.database.read() as connection:
        assert [found.name for found in IMAGES.live(connection)] == ["before"]


def test_a_statement_that_the_database_refuses_leaves_nothing(catalog: Catalog) -> None:
    def ask_nonsense() -> None:
        with catalog.change(author()) as change:
            IMAGES.put(change, image())
            change.connection.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(ServiceUnavailable):
        ask_nonsense()

    assert rows(catalog) == [0, 0, 0]


def test_the_number_of_a_change_that_failed_is_the_number_of_the_next_one(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="no"):
        write_and_fail(catalog, ValueError("no"))

    assert write(catalog) == 1


def test_nobody_sees_a_change_before_it_is_committed(catalog: Catalog, reopen: Reopen) -> None:
    other = reopen(catalog)
    with catalog.change(author()) as change:
        IMAGES.put(change, image())
        assert newest(other) == newest(catalog) == catalog.head == 0
        assert rows(other) == rows(catalog) == [0, 0, 0]

    assert newest(other) == newest(catalog) == catalog.head == 1


# writers take turns


def in_threads(count: int, work: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(work, number) for number in range(count)]:
            done.result(60)


@pytest.mark.parametrize("processes", [1, 2])
def test_concurrent_writers_take_turns_and_none_loses_what_another_wrote(
    catalog: Catalog, reopen: Reopen, processes: int
) -> None:
    catalogs = [catalog, *(reopen(catalog) for _ in range(processes - 1))]
    write(catalog, name="0")
    made: list[int] = []

    def add_one(number: int) -> None:
        for _ in range(8):
            with catalogs[number % processes].change(author()) as change:
                counter = IMAGES.find(change.connection, "pimg-a")
                assert counter is not None
                IMAGES.put(change, image("pimg-a", name=str(int(counter.name) + 1)))
                made.append(change.number)

    in_threads(6, add_one)

    assert sorted(made) == list(range(2, 50))
    assert made == sorted(made)  # a number is given when its writer's turn comes
    assert [found.number for found in whole_log(catalog)] == list(range(1, 50))
    with catalog.database.read() as connection:
        assert [found.name for found in IMAGES.live(connection)] == ["48"]
        for number in range(1, 50):
            assert [found.name for found in IMAGES.at(connection, Revision(number))] == [str(number - 1)]
    assert all(found.refresh() == 49 for found in catalogs)


def test_numbers_are_gapless_in_the_order_of_commits_even_when_some_fail(catalog: Catalog) -> None:
    over = threading.Event()
    seen: list[tuple[int, int]] = []

    def watch(_: int) -> None:
        while not over.is_set():
            with catalog.database.read() as connection:
                found = connection.execute(select(func.coalesce(func.max(tables.revision.c.number), 0), func.count())).one()
                seen.append((found[0], found[1]))

    def change(number: int) -> None:
        for turn in range(6):
            with suppress(ValueError), catalog.change(author()) as change:
                IMAGES.put(change, image(f"pimg-{number}", name=f"turn {turn}"))
                if turn % 3 == number % 3:
                    raise ValueError

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch, 0)
        try:
            in_threads(4, change)
        finally:
            over.set()
        watching.result(60)

    assert [found.number for found in whole_log(catalog)] == list(range(1, 17))
    assert all(highest == count for highest, count in seen)
    assert seen == sorted(seen)


def test_a_writer_that_waits_too_long_for_its_turn_is_told_and_changes_nothing(
    catalog: Catalog, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 1)
    other = reopen(catalog)

    with catalog.change(author()) as change:
        IMAGES.put(change, image())
        with pytest.raises(ServiceUnavailable) as caught:
            write(other, "pimg-b")
    assert caught.value.ret_code == 150

    assert rows(catalog)[0] == 1
    assert write(other, "pimg-b") == 2


def test_a_reader_or_writer_that_gets_no_connection_is_told(catalog: Catalog) -> None:
    small = Database(create_engine(catalog.database.engine.url, pool_size=1, max_overflow=0, pool_timeout=0.01))

    with small.read():
        for transaction in (small.read(), small.write()):
            with pytest.raises(ServiceUnavailable, match="no connection became free"):
                transaction.__enter__()
    small.close()


# time


def test_times_never_go_back(catalog: Catalog) -> None:
    for time in (1_700_000_010.0, 1_700_000_005.0, 0.0, 1_700_000_010.5, 1_700_000_010.25):
        write(catalog, time=time)

    assert [found.time for found in whole_log(catalog)] == [
        1_700_000_010 * SECOND,
        1_700_000_010 * SECOND,
        1_700_000_010 * SECOND,
        1_700_000_010_500_000,
        1_700_000_010_500_000,
    ]


def test_the_revision_at_a_time_is_the_newest_that_was_written_by_then(catalog: Catalog) -> None:
    for time in (10.0, 20.0, 20.0, 5.0, 30.0):
        write(catalog, time=time)

    expected = {0: 0, 10 * SECOND - 1: 0, 10 * SECOND: 1, 20 * SECOND - 1: 1, 20 * SECOND: 4, 30 * SECOND: 5, 2**62: 5, -1: 0}
    assert {time: catalog.revision_at(time) for time in expected} == expected
    with catalog.database.read() as connection:
        assert {time: revision_at(connection, time) for time in expected} == expected


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(times=st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_at_any_time_the_catalogue_is_that_of_the_revision_at_that_time(new_catalog: NewCatalog, times: list[int]) -> None:
    with new_catalog() as catalog:
        for time in times:
            write(catalog, time=float(time))
        written = [max(times[: n + 1]) for n in range(len(times))]
        for time in range(-1, 22):
            expected = sum(moment <= time for moment in written)
            assert catalog.revision_at(time * SECOND) == expected


# touched


def test_touched_names_each_scope_with_the_last_revision_that_touched_it(catalog: Catalog) -> None:
    write(catalog, "pimg-1")  # 1: base
    write(catalog, "pimg-2", project="org-a")  # 2
    with catalog.change(author()) as change:  # 3: several at once
        USERS.put(change, user())
        IMAGES.put(change, image("pimg-3", project="org-a"))
        REGIONS.put(change, region())
    write(catalog, "pimg-1")  # 4: base

    def between(after: int, until: int) -> dict[str, int]:
        with catalog.database.read() as connection:
            return dict(touched(connection, Revision(after), Revision(until)))

    everything = {BASE: 4, project_scope("org-a"): 3, account_scope("acme"): 3, TOPOLOGY: 3}
    assert between(0, 4) == everything
    assert between(0, 100) == everything
    assert between(0, 2) == {BASE: 1, project_scope("org-a"): 2}
    assert between(1, 2) == {project_scope("org-a"): 2}
    assert between(3, 4) == {BASE: 4}
    assert between(4, 4) == between(4, 3) == {}


# the log


def test_the_log_can_be_read_in_pages_from_either_end(catalog: Catalog) -> None:
    for _ in range(5):
        write(catalog)

    def numbers(*, newest_first: bool, limit: int, after: int = 0, before: int | None = None) -> list[int]:
        with catalog.database.read() as connection:
            last = None if before is None else Revision(before)
            found = log(connection, after=Revision(after), before=last, limit=limit, newest_first=newest_first)
        assert all(len(record.changes) == 1 for record in found)
        return [record.number for record in found]

    assert numbers(newest_first=True, limit=2) == [5, 4]
    assert numbers(newest_first=True, limit=2, before=4) == [3, 2]
    assert numbers(newest_first=True, limit=9, before=2) == [1]
    assert numbers(newest_first=False, limit=2) == [1, 2]
    assert numbers(newest_first=False, limit=2, after=2) == [3, 4]
    assert numbers(newest_first=False, limit=9, after=1, before=4) == [2, 3]
    assert numbers(newest_first=False, limit=9, after=5) == []
    assert numbers(newest_first=True, limit=0) == []


def test_the_log_keeps_what_a_revision_touched_in_the_order_it_was_touched(catalog: Catalog) -> None:
    with catalog.change(author()) as change:
        for number in range(30):
            IMAGES.put(change, image(f"pimg-{29 - number}"))

    assert [record.id for record in whole_log(catalog)[0].changes] == [f"pimg-{29 - number}" for number in range(30)]


def test_reading_the_log_costs_two_statements_however_long_it_is(catalog: Catalog, statements: Statements) -> None:
    for _ in range(20):
        write(catalog)

    with statements.counted() as sent, catalog.database.read() as connection:
        assert len(log(connection, after=Revision(0), limit=1000, newest_first=True)) == 20
    assert len([statement for statement in sent if statement.startswith("SELECT")]) == 2


def test_the_log_finds_an_actor_by_the_text_as_it_is_written(catalog: Catalog) -> None:
    for number, actor in enumerate(("acme/Müller", "acme/müller", "ACME/100%_")):
        with catalog.change(author(actor=actor)) as change:
            IMAGES.put(change, image("pimg-a", name=f"name {number}"))
    with catalog.database.read() as connection:
        found = {
            text: [one.number for one in log(connection, after=Revision(0), limit=9, newest_first=False, actor=text)]
            for text in ("acme/", "Müll", "/mü", "0%_", "0_%", "acme/Müller")
        }
    assert found == {"acme/": [1, 2], "Müll": [1], "/mü": [2], "0%_": [3], "0_%": [], "acme/Müller": [1]}
