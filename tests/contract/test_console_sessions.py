"""Login codes and sessions of the console: used once, ended in time, and shared by all servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from phimage.catalog import console_sessions, tables
from phimage.catalog.console_sessions import CODE_SECONDS, IDLE_SECONDS, MAX_SESSION_SECONDS, MAX_SESSIONS, StoredSession
from phimage.catalog.views import Catalog
from phimage.console.catalog_sessions import CatalogSessions
from phimage.errors import WrongSignature
from phimage.model.ids import PublicKey
from tests.conftest import Reopen

KEY, OTHER = PublicKey("key"), PublicKey("other")
NOW = 1_000_000


def add_code(catalog: Catalog, code: str, now: float = NOW) -> int:
    with catalog.database.write() as connection:
        return console_sessions.add_code(connection, code, KEY, now)


def use_code(catalog: Catalog, code: str, now: float = NOW) -> PublicKey | None:
    with catalog.database.write() as connection:
        return console_sessions.use_code(connection, code, now)


def begin(catalog: Catalog, secret: str, now: float = NOW, key: PublicKey = KEY) -> None:
    with catalog.database.write() as connection:
        console_sessions.begin(connection, secret, key, now)


def find(catalog: Catalog, secret: str, now: float = NOW) -> StoredSession | None:
    with catalog.database.read() as connection:
        return console_sessions.find(connection, secret, now)


def record_use(catalog: Catalog, secret: str, now: float) -> None:
    with catalog.database.write() as connection:
        console_sessions.record_use(connection, secret, now)


def rows(catalog: Catalog, table: str) -> int:
    with catalog.database.read() as connection:
        return connection.execute(select(func.count()).select_from(tables.metadata.tables[table])).scalar_one()


def test_a_code_works_once_on_any_server_and_only_in_its_minute(catalog: Catalog, reopen: Reopen) -> None:
    other_server = reopen(catalog)
    assert add_code(catalog, "one") == NOW + CODE_SECONDS
    add_code(catalog, "late")
    assert use_code(other_server, "one", NOW + CODE_SECONDS - 1) == KEY
    assert use_code(catalog, "one", NOW + CODE_SECONDS - 1) is None
    assert use_code(catalog, "late", NOW + CODE_SECONDS) is None
    assert use_code(catalog, "never made") is None


def test_a_wrong_code_waits_for_no_writer(catalog: Catalog) -> None:
    sessions = CatalogSessions(catalog)
    with ThreadPoolExecutor(1) as thread, catalog.database.write():
        guess = thread.submit(sessions.begin_by_code, "wrong", "127.0.0.1")
        with pytest.raises(WrongSignature):
            guess.result(60)


def test_of_many_that_use_a_code_at_the_same_time_one_succeeds(catalog: Catalog) -> None:
    for number in range(5):
        add_code(catalog, f"code {number}")
        with ThreadPoolExecutor(4) as threads:
            used = list(threads.map(lambda code: use_code(catalog, code), [f"code {number}"] * 4))
        assert used.count(KEY) == 1
        assert used.count(None) == 3


def test_a_session_ends_when_it_is_idle_and_when_it_is_old(catalog: Catalog, reopen: Reopen) -> None:
    begin(catalog, "secret")
    assert find(reopen(catalog), "secret") == StoredSession(KEY, NOW, NOW)
    assert find(catalog, "another") is None
    assert find(catalog, "secret", NOW + IDLE_SECONDS - 1) is not None
    assert find(catalog, "secret", NOW + IDLE_SECONDS) is None
    for passed in range(0, MAX_SESSION_SECONDS, IDLE_SECONDS - 1):
        record_use(catalog, "secret", NOW + passed)
    assert find(catalog, "secret", NOW + MAX_SESSION_SECONDS - 1) is not None
    assert find(catalog, "secret", NOW + MAX_SESSION_SECONDS) is None


def test_a_clock_that_went_back_does_not_shorten_a_session(catalog: Catalog) -> None:
    begin(catalog, "secret")
    record_use(catalog, "secret", NOW - 5000)
    assert find(catalog, "secret", NOW + IDLE_SECONDS - 1) is not None


def test_a_session_that_is_signed_out_is_gone_on_every_server(catalog: Catalog, reopen: Reopen) -> None:
    begin(catalog, "secret")
    begin(catalog, "of another browser")
    with reopen(catalog).database.write() as connection:
        console_sessions.end(connection, "secret")
        console_sessions.end(connection, "secret")
        console_sessions.record_use(connection, "secret", NOW + 1)
    assert find(catalog, "secret") is None
    assert find(catalog, "of another browser") is not None


def test_rows_that_have_ended_are_removed_and_no_others(catalog: Catalog) -> None:
    add_code(catalog, "one", NOW)
    add_code(catalog, "two", NOW + CODE_SECONDS - 1)
    assert rows(catalog, "login_code") == 2
    add_code(catalog, "three", NOW + CODE_SECONDS)
    assert rows(catalog, "login_code") == 2
    assert use_code(catalog, "two", NOW + CODE_SECONDS) == KEY
    begin(catalog, "idle", NOW)
    begin(catalog, "used", NOW)
    record_use(catalog, "used", NOW + 10)
    begin(catalog, "new", NOW + IDLE_SECONDS)
    assert rows(catalog, "console_session") == 2
    assert find(catalog, "used", NOW + IDLE_SECONDS) is not None


def test_a_key_has_a_bounded_number_of_sessions_and_loses_the_one_idle_longest(catalog: Catalog) -> None:
    begin(catalog, "of another key", NOW - 5, OTHER)
    for number in range(MAX_SESSIONS):
        begin(catalog, f"secret {number}", NOW + number)
    record_use(catalog, "secret 0", NOW + 100)
    begin(catalog, "one more", NOW + 101)
    assert find(catalog, "secret 1", NOW + 101) is None
    assert all(find(catalog, secret, NOW + 101) for secret in ("secret 0", "secret 2", "one more", "of another key"))


@pytest.mark.parametrize("table", ["login_code", "console_session"])
def test_no_secret_is_in_the_database(catalog: Catalog, table: str) -> None:
    add_code(catalog, "a secret text")
    begin(catalog, "a secret text")
    with catalog.database.read() as connection:
        found = connection.execute(select(tables.metadata.tables[table])).all()
    assert found
    assert "secret" not in repr(found)


def test_signing_in_writes_no_revision(catalog: Catalog) -> None:
    add_code(catalog, "one")
    begin(catalog, "secret")
    assert catalog.refresh() == 0
