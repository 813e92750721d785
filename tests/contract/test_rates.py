"""Server processes learn from each other what they let through."""

from __future__ import annotations

from phimage.catalog.accounts import exchange_rates
from phimage.catalog.views import Catalog
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
