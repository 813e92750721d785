"""The gateway's cache: what was true at a revision, until one touches a scope that it depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from msgspec import Struct

from phimage.actions.listing import sections_of
from phimage.catalog.views import View
from phimage.gateway.cache import MAX_REQUEST_BYTES, GatewayCache
from phimage.model.ids import ImageId, ProjectId, Revision
from phimage.model.image import Image, ImageType, Query
from phimage.model.topology import Topology, topology
from phimage.revision_cache import RevisionCache, ScopeVersions

ACME = "account:acme"


class At(Struct, frozen=True):
    """A view at a revision."""

    revision: Revision
    pinned: bool = False


@pytest.fixture
def versions() -> ScopeVersions:
    return ScopeVersions(100)


@pytest.fixture
def cache(versions: ScopeVersions) -> GatewayCache:
    return GatewayCache(versions)


def touch(versions: ScopeVersions, scope: str, revision: int) -> None:
    versions.update({scope: Revision(revision)}, Revision(revision))


def making(made: list[int]) -> Callable[[], int]:
    def make() -> int:
        made.append(len(made))
        return made[-1]

    return make


def test_a_request_is_admitted_until_its_account_changes(cache: GatewayCache, versions: ScopeVersions) -> None:
    assert cache.get_request("list", Revision(1)) is None
    cache.put_request("list", "admitted", Revision(1), ACME, 100)
    touch(versions, "account:other", 2)
    assert cache.get_request("list", Revision(2)) == "admitted"
    touch(versions, ACME, 3)
    assert cache.get_request("list", Revision(3)) is None


def test_requests_are_bounded_by_their_size(cache: GatewayCache) -> None:
    for number in range(5):
        cache.put_request(number, "admitted", Revision(1), ACME, MAX_REQUEST_BYTES // 4)
    assert [cache.get_request(number, Revision(1)) for number in range(5)] == [None, None, *["admitted"] * 3]


def test_a_response_is_made_once_until_a_scope_is_touched(cache: GatewayCache, versions: ScopeVersions) -> None:
    made: list[int] = []

    def get(revision: int) -> int:
        return cache.get_or_make("page", At(Revision(revision)), ("base", "project:a"), making(made), lambda _: 10)

    assert [get(1), get(1), get(2)] == [0, 0, 0]
    touch(versions, "project:a", 3)
    assert [get(3), get(3)] == [1, 1]


def test_a_view_of_before_a_change_does_not_get_the_response_of_after_it(cache: GatewayCache, versions: ScopeVersions) -> None:
    made: list[int] = []
    touch(versions, "base", 2)
    for revision in (2, 1):
        cache.get_or_make("page", At(Revision(revision)), ("base",), making(made), lambda _: 10)
    assert made == [0, 1]


def test_a_pinned_response_never_becomes_stale(cache: GatewayCache, versions: ScopeVersions) -> None:
    made: list[int] = []
    for change in (5, 6):
        touch(versions, "base", change)
        cache.get_or_make("page", At(Revision(1), pinned=True), ("base",), making(made), lambda _: 10)
    cache.get_or_make("page", At(Revision(2), pinned=True), ("base",), making(made), lambda _: 10)
    assert made == [0, 1]


class Empty(At, frozen=True):
    """A view of a catalogue without anything."""

    def base_images(self) -> tuple[Image, ...]:
        return ()

    def topology(self) -> Topology:
        return topology((), (), (), (), ())


def test_the_ids_that_a_list_names_count_against_the_memory(cache: GatewayCache, versions: ScopeVersions) -> None:
    """The key of a cached list has them, whatever little the list finds."""
    cache.responses = RevisionCache(200_000, versions)
    view = cast("View", Empty(Revision(1)))

    def find(number: int) -> None:
        ids = frozenset(ImageId(f"pimg-{number}-{index}") for index in range(100))
        sections_of(Query(project=ProjectId("org-a"), zones=(), type=ImageType.BASE, ids=ids), view, cache)

    for number in range(20):
        find(number)
    made = cache.responses.misses
    find(0)
    assert cache.responses.misses == made + 1, "it was not forgotten"
