"""The list out of SQL against a naive one: random catalogues and changes, random queries at random revisions.

The naive list knows nothing of phimage's rules, rows or views. It keeps every revision as a dictionary of its own and filters
as wire-protocol 5 and B8, B9, B10, B13 and B26 say it.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phimage.actions.listing import count, page, sections_of
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.places import CLUSTERS, OFFERS
from phimage.catalog.revisions import Change
from phimage.catalog.views import Catalog, View
from phimage.gateway.cache import GatewayCache
from phimage.model.ids import ClusterId, ImageId, MachineTypeId, ManifestDigest, ProjectId, Revision, ZoneId
from phimage.model.image import ImageType, Query, select, supported_types
from phimage.model.image_bytes import ImageBytes
from tests.conftest import MASTER_KEY, NewCatalog, sqlite_first
from tests.examples import author, cluster, image, offer
from tests.torture.length import examples

dialect = sqlite_first

ZONES = ["cn-bj2-02", "cn-bj2-05", "hk-01"]
KINDS = ["DB-2", "SSD-1", "GPU-1"]
CLUSTER_NAMES = ["1G", "10G", "25G"]
OWNERS = ["", "org-a", "org-b"]
IDS = [f"pimg-{letter}" for letter in "abcdefg"]

Offer = tuple[str, str, str]


class Stored(NamedTuple):
    """An image, as the naive list keeps it."""

    owner: str
    zones: tuple[str, ...]
    support: dict[str, tuple[str, ...]]
    created: int
    deprecated: bool
    bytes: str
    """What is known of its bytes: nothing, "awaited" or "whole"."""


class State:
    """A catalogue, as the naive list keeps it."""

    def __init__(self) -> None:
        self.images: dict[str, Stored] = {}
        self.offers: set[Offer] = set()
        self.default = ""


class Asked(NamedTuple):
    """A query, as the naive list reads it."""

    project: str
    zones: tuple[str, ...]
    type: str | None
    ids: frozenset[str]
    kind: str | None
    cluster: str | None
    operator: bool


Listed = list[tuple[str, tuple[str, ...]]]
"""Ids in order, each with its Support."""


def naive_list(state: State, asked: Asked) -> Listed:
    """What a query lists."""
    found = []
    for id, stored in state.images.items():
        if stored.owner not in ("", asked.project):
            continue
        if asked.type is not None and asked.type != ("Custom" if stored.owner else "Base"):
            continue
        if asked.ids and id not in asked.ids:
            continue
        if stored.deprecated and id not in asked.ids:
            continue
        if stored.owner == "" and stored.bytes == "awaited" and not asked.operator and id not in asked.ids:
            continue
        there = [zone for zone in asked.zones if zone in stored.zones]
        if not there:
            continue
        if (asked.kind or asked.cluster) and not any(runs(state, stored, zone, asked) for zone in there):
            continue
        found.append(id)
    found.sort()
    found.sort(key=lambda name: state.images[name].created, reverse=True)
    found.sort(key=lambda name: state.images[name].owner != "")
    return [(id, naive_support(state, state.images[id], asked.zones)) for id in found]


def runs(state: State, stored: Stored, zone: str, asked: Asked) -> bool:
    """Whether the machines that are meant can run an image in a zone where it is."""
    able = pairs(state, stored, zone)
    if asked.kind is None:
        return any(on == asked.cluster for _, on in able)
    if asked.cluster is not None:
        return (asked.kind, asked.cluster) in able
    if (asked.kind, zone, state.default) in state.offers:
        return (asked.kind, state.default) in able
    return any(kind == asked.kind for kind, _ in able)


def pairs(state: State, stored: Stored, zone: str) -> set[tuple[str, str]]:
    """Machine types and clusters that a zone offers and an image supports."""
    return {(kind, on) for kind, at, on in state.offers if at == zone and on in stored.support.get(kind, ())}


def naive_support(state: State, stored: Stored, zones: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({kind for zone in zones if zone in stored.zones for kind, _ in pairs(state, stored, zone)}))


# steps: each changes both, and says nothing about what the other should hold


class PutImage(NamedTuple):
    id: str
    stored: Stored

    def apply(self, state: State, change: Change) -> None:
        state.images[self.id] = self.stored
        owner, zones, support, created, deprecated, known = self.stored
        record = image(self.id, project=owner, zones=zones, support=support, created=created, deprecated=deprecated)
        IMAGES.put(change, record)
        if known:
            manifest = ManifestDigest("a" * 64 if known == "whole" else "")
            IMAGE_BYTES.put(change, ImageBytes(record.id, record.project, manifest=manifest))
        else:
            _drop_bytes(change, self.id)


def _drop_bytes(change: Change, id: str) -> None:
    found = IMAGE_BYTES.find(change.connection, id)
    if found is not None:
        IMAGE_BYTES.withdraw(change, found)


class DropImage(NamedTuple):
    id: str

    def apply(self, state: State, change: Change) -> None:
        state.images.pop(self.id, None)
        found = IMAGES.find(change.connection, self.id)
        if found is not None:
            IMAGES.withdraw(change, found)
        _drop_bytes(change, self.id)


class PutOffer(NamedTuple):
    offer: Offer

    def apply(self, state: State, change: Change) -> None:
        state.offers.add(self.offer)
        OFFERS.put(change, offer(*self.offer))


class DropOffer(NamedTuple):
    offer: Offer

    def apply(self, state: State, change: Change) -> None:
        state.offers.discard(self.offer)
        found = OFFERS.find(change.connection, *self.offer)
        if found is not None:
            OFFERS.withdraw(change, found)


class ChooseDefault(NamedTuple):
    name: str

    def apply(self, state: State, change: Change) -> None:
        state.default = self.name
        for name in CLUSTER_NAMES:
            CLUSTERS.put(change, cluster(name, default=name == self.name))


Step = PutImage | DropImage | PutOffer | DropOffer | ChooseDefault


def some(names: list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), unique=True, max_size=len(names)).map(tuple)


STORED = st.builds(
    Stored,
    owner=st.sampled_from(OWNERS),
    zones=some(ZONES),
    support=st.dictionaries(st.sampled_from(KINDS), some(CLUSTER_NAMES)),
    created=st.integers(0, 3),
    deprecated=st.sampled_from([False, False, False, True]),
    bytes=st.sampled_from(["", "awaited", "whole"]),
)
ALL_OFFERS = st.tuples(st.sampled_from(KINDS), st.sampled_from(ZONES), st.sampled_from(CLUSTER_NAMES))
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(PutImage, st.sampled_from(IDS), STORED),
    st.builds(PutImage, st.sampled_from(IDS), STORED),
    st.builds(PutOffer, ALL_OFFERS),
    st.builds(DropImage, st.sampled_from(IDS)),
    st.builds(DropOffer, ALL_OFFERS),
    st.builds(ChooseDefault, st.sampled_from([*CLUSTER_NAMES, ""])),
)
FIRST = st.tuples(
    st.lists(st.builds(PutImage, st.sampled_from(IDS), STORED), min_size=4, max_size=8, unique_by=lambda step: step.id),
    st.lists(st.builds(PutOffer, ALL_OFFERS), min_size=6, max_size=18, unique=True),
).map(lambda parts: [ChooseDefault("25G"), *parts[0], *parts[1]])
HISTORIES = st.tuples(FIRST, st.lists(st.lists(STEPS, min_size=1, max_size=4), max_size=5)).map(
    lambda parts: [parts[0], *parts[1]]
)
QUERIES = st.builds(
    Asked,
    project=st.sampled_from(["org-a", "org-b", "org-none"]),
    zones=some(ZONES),
    type=st.sampled_from([None, None, "Base", "Custom"]),
    ids=st.one_of(st.just(frozenset[str]()), st.frozensets(st.sampled_from([*IDS, "pimg-unknown"]), max_size=4)),
    kind=st.sampled_from([None, None, *KINDS, "unknown"]),
    cluster=st.sampled_from([None, None, *CLUSTER_NAMES, "100G"]),
    operator=st.sampled_from([False, False, True]),
)


def query_of(asked: Asked, view: View) -> Query:
    """A query, as phimage reads it."""
    return Query(
        project=ProjectId(asked.project),
        zones=tuple(ZoneId(zone) for zone in asked.zones),
        type=None if asked.type is None else ImageType(asked.type),
        ids=frozenset(ImageId(id) for id in asked.ids),
        machine_type=None if asked.kind is None else MachineTypeId(asked.kind),
        cluster=None if asked.cluster is None else ClusterId(asked.cluster),
        awaited=view.awaited(),
        operator=asked.operator,
    )


def sql_list(view: View, asked: Asked) -> Listed:
    """What a query lists, by way of the catalogue."""
    query, topology = query_of(asked, view), view.topology()
    images = (*view.base_images(), *view.images_of(query.project))
    return [(found.id, supported_types(found, query.zones, topology)) for found in select(images, query, topology)]


def sql_page(view: View, cache: GatewayCache, asked: Asked, offset: int, limit: int, few: int) -> tuple[int, list[bytes]]:
    """A page of what a query lists, made of cached parts, and how many images there are."""
    query, topology = query_of(asked, view), view.topology()
    parts = sections_of(query, view, cache, few)
    return count(parts), page(
        parts, offset, limit, lambda image: encode((image.id, supported_types(image, query.zones, topology)))
    )


def encode(row: tuple[str, tuple[str, ...]]) -> bytes:
    return repr((str(row[0]), tuple(map(str, row[1])))).encode()


@settings(max_examples=examples(12, 45), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=HISTORIES, queries=st.lists(QUERIES, min_size=4, max_size=12), data=st.data())
def test_the_list_out_of_sql_is_the_naive_list_now_and_at_every_revision(
    new_catalog: NewCatalog, history: list[list[Step]], queries: list[Asked], data: st.DataObject
) -> None:
    with new_catalog() as catalog:
        beside = Catalog(catalog.database, KeyEncryption(MASTER_KEY, bytes))
        cache, cache_beside = (GatewayCache(each.scope_versions) for each in (catalog, beside))
        states, held = [State()], []
        for steps in history:
            state = copy.deepcopy(states[-1])
            with (catalog if data.draw(st.booleans()) else beside).change(author()) as change:
                for step in steps:
                    step.apply(state, change)
                if not change.records:
                    state = states[-1]
            if state is not states[-1]:
                states.append(state)
            catalog.refresh()
            assert catalog.head == beside.refresh() == len(states) - 1
            held.append((catalog.now(wait=True), state))
            asked = data.draw(st.sampled_from(queries))
            offset, limit, few = (data.draw(st.integers(0, limit)) for limit in (8, 8, 2))
            expected = naive_list(state, asked)
            for view, cached in ((catalog.now(wait=True), cache), (beside.now(wait=True), cache_beside)):
                assert sql_list(view, asked) == expected
                page_expected = [encode(row) for row in expected[offset : offset + limit]]
                assert sql_page(view, cached, asked, offset, limit, few) == (len(expected), page_expected)

        for asked in queries:
            number = data.draw(st.integers(0, len(states) - 1))
            view, of_then = data.draw(st.sampled_from(held))
            assert sql_list(catalog.at(Revision(number), wait=True), asked) == naive_list(states[number], asked)
            assert sql_list(view, asked) == naive_list(of_then, asked)
            assert sql_page(view, cache, asked, 1, 3, 0)[1] == [encode(row) for row in naive_list(of_then, asked)[1:4]]
            assert sql_list(beside.now(wait=True), asked) == naive_list(states[-1], asked)
