"""What server processes tell each other about keys: how often each was used, on which day, and with which nonces."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from phimage.catalog import tables
from phimage.catalog.accounts import NONCE_SECONDS, exchange_rates, last_use, report_use, use_nonce
from phimage.catalog.engine import BUSY_SECONDS
from phimage.catalog.views import Catalog
from phimage.errors import WrongSignature
from phimage.http_signature import MAX_AGE_SECONDS
from phimage.model.ids import PublicKey

KEY, OTHER = PublicKey("key"), PublicKey("other")


def test_a_process_learns_what_each_other_one_let_through_but_not_its_own(catalog: Catalog) -> None:
    exchange_rates(catalog.database, "one", {KEY: 3, OTHER: 1}, now=1000.0)
    exchange_rates(catalog.database, "two", {KEY: 4}, now=1000.0)
    assert exchange_rates(catalog.database, "three", {}, now=1000.5) == {"one": {KEY: 3, OTHER: 1}, "two": {KEY: 4}}
    assert exchange_rates(catalog.database, "one", {KEY: 5}, now=1001.0) == {"two": {KEY: 4}}


def test_the_report_of_a_process_that_is_gone_is_removed_and_no_other(catalog: Catalog) -> None:
    exchange_rates(catalog.database, "one", {KEY: 3}, now=1000.0)
    exchange_rates(catalog.database, "two", {KEY: 4}, now=1000.0)
    assert exchange_rates(catalog.database, "three", {}, now=1000.0, gone=["one"]) == {"two": {KEY: 4}}


def test_processes_whose_clocks_are_an_hour_apart_learn_from_each_other(catalog: Catalog) -> None:
    exchange_rates(catalog.database, "one", {KEY: 3}, now=1000.0)
    assert set(exchange_rates(catalog.database, "ahead", {KEY: 4}, now=1000.0 + 3600)) == {"one"}
    assert set(exchange_rates(catalog.database, "one", {KEY: 3}, now=1000.0)) == {"ahead"}


def test_telling_writes_no_revision(catalog: Catalog) -> None:
    exchange_rates(catalog.database, "one", {KEY: 3}, now=1000.0)
    assert catalog.refresh() == 0


def test_the_last_day_on_which_a_key_was_used_is_known_and_never_goes_back(catalog: Catalog) -> None:
    report_use(catalog.database, [KEY, OTHER], "2026-02-28")
    report_use(catalog.database, [KEY], "2026-03-01")
    report_use(catalog.database, [KEY, OTHER], "2026-02-28")
    with catalog.database.read() as connection:
        assert last_use(connection, [KEY, OTHER, PublicKey("unused")]) == {KEY: "2026-03-01", OTHER: "2026-02-28"}
    assert catalog.refresh() == 0


def test_nonces_are_forgotten_when_no_signature_can_have_them_any_more(catalog: Catalog) -> None:
    def use(now: float) -> None:
        with catalog.database.write() as connection:
            use_nonce(connection, KEY, "one", now)

    use(1000.0)
    for now in (1000.0, 1000.0 + NONCE_SECONDS):
        with pytest.raises(WrongSignature):
            use(now)
    use(1002.0 + NONCE_SECONDS)
    with catalog.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.nonce)).scalar_one() == 1


def test_a_nonce_of_a_client_whose_clock_is_ahead_is_not_forgotten_while_its_change_waits_for_the_database(
    catalog: Catalog,
) -> None:
    created = 10_000.0
    with catalog.database.write() as connection:
        use_nonce(connection, KEY, "one", created - MAX_AGE_SECONDS)
    admitted = created + MAX_AGE_SECONDS
    with pytest.raises(WrongSignature), catalog.database.write() as connection:
        use_nonce(connection, KEY, "one", admitted + BUSY_SECONDS)
