"""Searches against a naive one: random images, random filters, every order, and pages that together are the whole.

The naive search filters one image after the other, with the naive list's rules, and sorts by comparing two images at a time.
"""

from __future__ import annotations

import unicodedata
from functools import cmp_to_key
from itertools import groupby

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from phimage.model.ids import ClusterId, ImageId, MachineTypeId, ProjectId, ZoneId
from phimage.model.image import Image, ImageType, Query
from phimage.model.image import State as ImageState
from phimage.model.search import Deprecation, Search, SortOrder, find, label_filter
from phimage.model.topology import Topology
from tests.examples import image, offer, offering
from tests.property.test_listing_property import ALL_OFFERS, QUERIES, ZONES, Asked, State, Stored, naive_list, some
from tests.torture.length import examples

TEXTS = ["", "centos", "CENTOS 7", "Straße", "STRASSE", "64位", "ＣｅｎｔＯＳ", "İstanbul", "e\u0301", "É", "7.10", "7.9", "v2"]
LABELS = ["team", "team=storage", "team=", "tier=gold", "tier"]


@st.composite
def found(draw: st.DrawFn, number: int) -> Image:
    owner = draw(st.sampled_from(["", "org-a", "org-b"]))
    support = draw(st.dictionaries(st.sampled_from(["DB-2", "SSD-1"]), some(["1G", "10G", "25G"]), max_size=2))
    made = image(
        f"pimg-{number}",
        project=owner,
        zones=draw(some(ZONES)),
        support=support,
        created=draw(st.integers(0, 2)),
        deprecated=draw(st.booleans()),
        state=draw(st.sampled_from(ImageState)),
        name=draw(st.sampled_from(TEXTS)),
    )
    return replace(
        made,
        family=draw(st.sampled_from(["", "centos-7", "centos-10"])),
        description=draw(st.sampled_from(TEXTS)),
        os_type=draw(st.sampled_from(["CentOS", "centos", "Ubuntu"])),
        version=draw(st.sampled_from(["", "8.9", "8.10", "8.09", "v1", "V1"])),
        size=draw(st.integers(20, 22)),
        labels=draw(st.dictionaries(st.sampled_from(["team", "tier"]), st.sampled_from(["", "storage", "gold"]))),
    )


IMAGES = st.integers(4, 12).flatmap(lambda size: st.tuples(*(found(number) for number in range(size))))
OFFERS = st.lists(ALL_OFFERS, unique=True, max_size=8)
FILTERS: dict[str, st.SearchStrategy[object]] = {
    "text": st.sampled_from(TEXTS),
    "family": st.just("centos-7"),
    "os_type": st.just("CENTOS"),
    "state": st.sampled_from(ImageState),
    "has_bytes": st.booleans(),
    "labels": st.sampled_from([*((label_filter(text),) for text in LABELS), (label_filter("team"), label_filter("tier"))]),
}
"""A search has few of them: all together find nothing."""


@st.composite
def searches(draw: st.DrawFn) -> Search:
    names = draw(st.lists(st.sampled_from([*FILTERS]), unique=True, max_size=2))
    return Search(
        query=None,  # type: ignore[arg-type]  # it depends on the images
        deprecation=draw(st.sampled_from(Deprecation)),
        anywhere=draw(st.booleans()),
        any_owner=draw(st.booleans()),
        sort=draw(st.none() | st.sampled_from(SortOrder)),
        **{name: draw(FILTERS[name]) for name in names},  # type: ignore[arg-type]
    )


PLAIN = st.builds(
    Asked,
    project=st.just("org-a"),
    zones=st.just(tuple(ZONES)),
    type=st.none(),
    ids=st.just(frozenset[str]()),
    kind=st.sampled_from([None, None, "DB-2"]),
    cluster=st.none(),
    operator=st.booleans(),
)


def naive_find(images: tuple[Image, ...], search: Search, asked: Asked, offers: list[tuple[str, str, str]]) -> list[str]:
    """The ids that a search finds, in order."""
    state = State()
    state.default, state.offers = "25G", set(offers)
    for one in images:
        matches = (
            (not search.text or any(alike(search.text, text) for text in texts(one)))
            and (search.family is None or one.family == search.family)
            and (search.os_type is None or one.os_type.upper() == search.os_type)
            and (search.state is None or one.state == search.state)
            and (search.has_bytes is None or has_bytes(one) == search.has_bytes)
            and all(wanted.key in one.labels and wanted.value in (None, one.labels[wanted.key]) for wanted in search.labels)
            and (one.deprecated or search.deprecation != "only")
        )
        if not matches:
            continue
        everywhere = search.anywhere and not (asked.kind or asked.cluster)
        state.images[one.id] = Stored(
            owner=asked.project if one.project and search.any_owner else one.project,
            zones=asked.zones if everywhere else one.zones,
            support={str(kind): tuple(map(str, clusters)) for kind, clusters in one.support.items()},
            created=one.created,
            deprecated=one.deprecated and search.deprecation == "exclude",
            bytes="awaited" if is_awaited(one) else "whole",
        )
    ids = [id for id, _ in naive_list(state, asked)]
    if search.sort is None:
        return ids
    by_id = {one.id: one for one in images}
    name, sign = search.sort.removeprefix("-"), -1 if search.sort.startswith("-") else 1

    def compare(left: str, right: str) -> int:
        first, second = (value(by_id[ImageId(id)], name) for id in (left, right))
        return sign * ((first > second) - (first < second)) or (left > right) - (left < right)

    return sorted(ids, key=cmp_to_key(compare))


def texts(one: Image) -> tuple[str, ...]:
    return one.id, one.name, one.description, one.os_name, one.family


def alike(part: str, text: str) -> bool:
    return plain(part) in plain(text)


def plain(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def has_bytes(one: Image) -> bool:
    return one.created == 1


def is_awaited(one: Image) -> bool:
    return one.size == 21 and not one.project


def value(one: Image, name: str) -> list[tuple[int, int, str]]:
    """What an image is sorted by, its digits as numbers: numbers come before letters."""
    if name in ("created", "size"):
        return [(0, getattr(one, name), "")]
    text = plain(getattr(one, name))
    parts = ["".join(run) for _, run in groupby(text, key=str.isdecimal)]
    numbered = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
    return [*numbered, (-1, 0, text)]


@settings(max_examples=examples(40, 400))
@given(images=IMAGES, search=searches(), asked=PLAIN | PLAIN | QUERIES, offers=OFFERS, page=st.integers(1, 4))
@example(  # as in a catalogue with a fullwidth name
    images=(image("pimg-0", name="ＣｅｎｔＯＳ"),),
    search=Search(query=None, text="centos", anywhere=True),  # type: ignore[arg-type]
    asked=Asked("org-a", tuple(ZONES), None, frozenset(), None, None, False),
    offers=[],
    page=1,
)
def test_a_search_is_the_naive_search_and_its_pages_are_the_whole(
    images: tuple[Image, ...], search: Search, asked: Asked, offers: list[tuple[str, str, str]], page: int
) -> None:
    if search.anywhere:
        asked = asked._replace(zones=tuple(ZONES))
    topology = offering(*(offer(*each) for each in offers))
    whole = [one.id for one in find(images, replace(search, query=query(asked, images)), topology, has_bytes)]

    assert whole == naive_find(images, search, asked, offers)
    pages = [_page(images, search, asked, topology, start, page) for start in range(0, len(whole), page)]
    assert [id for ids in pages for id in ids] == whole


def _page(images: tuple[Image, ...], search: Search, asked: Asked, topology: Topology, start: int, limit: int) -> list[str]:
    """A page, of the images in another order: it is that of no search."""
    again = find(reversed(images), replace(search, query=query(asked, images)), topology, has_bytes)
    return [one.id for one in again[start : start + limit]]


def query(asked: Asked, images: tuple[Image, ...]) -> Query:
    return Query(
        project=ProjectId(asked.project),
        zones=tuple(map(ZoneId, asked.zones)),
        type=None if asked.type is None else ImageType(asked.type),
        ids=frozenset(map(ImageId, asked.ids)),
        machine_type=None if asked.kind is None else MachineTypeId(asked.kind),
        cluster=None if asked.cluster is None else ClusterId(asked.cluster),
        awaited=frozenset(one.id for one in images if is_awaited(one)),
        operator=asked.operator,
    )
