"""Server processes learn from each other what they let through."""

from __future__ import annotations

from phimage.catalog.rates import FORGET_SECONDS, exchange
from phimage.catalog.store import Catalog
from phimage.model.ids import PublicKey

KEY, OTHER = PublicKey("key"), PublicKey("other")


def test_a_process_learns_what_the_others_let_through_but_not_its_own(catalog: Catalog) -> None:
    exchange(catalog.database, "one", {KEY: 3, OTHER: 1}, now=1000.0)
    exchange(catalog.database, "two", {KEY: 4}, now=1000.0)
    assert exchange(catalog.database, "three", {}, now=1000.5) == {KEY: 7, OTHER: 1}
    assert exchange(catalog.database, "one", {KEY: 5}, now=1001.0) == {KEY: 4}


def test_a_process_that_fell_silent_is_forgotten(catalog: Catalog) -> None:
    exchange(catalog.database, "one", {KEY: 3}, now=1000.0)
    assert exchange(catalog.database, "two", {}, now=1001.0 + FORGET_SECONDS) == {}


def test_telling_writes_no_revision(catalog: Catalog) -> None:
    exchange(catalog.database, "one", {KEY: 3}, now=1000.0)
    assert catalog.refresh() == 0
