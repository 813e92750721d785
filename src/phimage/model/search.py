"""Searches: the listing rule with filters beside it, and the orders of what is found.

A search has every rule of the list but those that it leaves out on purpose, so it never disagrees with a list about the others.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from phimage.model.ids import natural
from phimage.model.image import RULES, Image, Query, Rule, State, order
from phimage.model.topology import Topology


class Deprecation(StrEnum):
    """Whether a search finds deprecated images."""

    EXCLUDE = "exclude"
    INCLUDE = "include"
    ONLY = "only"


class SortOrder(StrEnum):
    """Orders of found images. Those with a minus are descending; images that are equal in it are in the order of their ids."""

    CREATED = "created"
    NAME = "name"
    FAMILY = "family"
    SIZE = "size"
    VERSION = "version"
    CREATED_DESCENDING = "-created"
    NAME_DESCENDING = "-name"
    FAMILY_DESCENDING = "-family"
    SIZE_DESCENDING = "-size"
    VERSION_DESCENDING = "-version"


class LabelFilter(Struct, frozen=True):
    """A label that an image must have: the key, and this value unless it is None."""

    key: str
    value: str | None


class Search(Struct, frozen=True):
    """What is searched: a query, with filters that must all hold. None and empty filters always do.

    `text` occurs in the id, name, description, operating system or family, in any case. `anywhere`: images of all zones and of
    none are found. `any_owner`: the project of the query does not matter. Without `sort` the order is that of lists.
    """

    query: Query
    text: str = ""
    family: str | None = None
    os_type: str | None = None
    state: State | None = None
    has_bytes: bool | None = None
    labels: tuple[LabelFilter, ...] = ()
    deprecation: Deprecation = Deprecation.EXCLUDE
    anywhere: bool = False
    any_owner: bool = False
    sort: SortOrder | None = None


Condition = Callable[[Image], bool]


def label_filter(text: str) -> LabelFilter:
    """The filter of `key`, which any value satisfies, or of `key=value`."""
    key, equals, value = text.partition("=")
    return LabelFilter(key, value if equals else None)


def folded(text: str) -> str:
    """A text in which case, width and composition of characters make no difference."""
    if text.isascii():  # a tenth of the time
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


# docs/decisions.md#a-search-is-a-list-with-rules-left-out
def rules_of(search: Search) -> tuple[Rule, ...]:
    """The rules of the list that a search has."""
    left_out = set()
    if search.deprecation is not Deprecation.EXCLUDE:
        left_out.add("current")
    if search.anywhere:
        left_out.add("placed")
    if search.any_owner:
        left_out.add("visible")
    return tuple(rule for rule in RULES if rule.name not in left_out)


def conditions_of(search: Search, stored: Condition) -> list[Condition]:
    """The filters of a search, quick ones first. `stored` is whether the bytes of an image are stored."""
    conditions: list[Condition] = []
    if search.family is not None:
        conditions.append(lambda image: image.family == search.family)
    if search.state is not None:
        conditions.append(lambda image: image.state is search.state)
    if search.deprecation is Deprecation.ONLY:
        conditions.append(lambda image: image.deprecated)
    if search.os_type is not None:
        os_type = folded(search.os_type)
        conditions.append(lambda image: folded(image.os_type) == os_type)
    if search.labels:
        conditions.append(lambda image: all(_has_label(image, label) for label in search.labels))
    if search.has_bytes is not None:
        conditions.append(lambda image: stored(image) == search.has_bytes)
    if search.text:
        text = folded(search.text)
        conditions.append(lambda image: text in _text_of(image))
    return conditions


def find(images: Iterable[Image], search: Search, topology: Topology, stored: Condition) -> list[Image]:
    """The images that a search finds, in its order: one pass over all, then a sort of what is left."""
    rules, conditions = rules_of(search), conditions_of(search, stored)

    def matches(image: Image) -> bool:
        for condition in conditions:  # no generators, which take twice as long
            if not condition(image):
                return False
        for rule in rules:  # noqa: SIM110
            if not rule.holds(image, search.query, topology):
                return False
        return True

    return in_order([image for image in images if matches(image)], search.sort)


def in_order(images: Sequence[Image], sort: SortOrder | None) -> list[Image]:
    """Images in an order that is total, so that pages never overlap."""
    if sort is None:
        return sorted(images, key=order)
    name = sort.value.removeprefix("-")
    # Stable, also when reversed: equal images stay in the order of their ids.
    return sorted(sorted(images, key=lambda image: image.id), key=_SORT_KEYS[name], reverse=name != sort.value)


def _has_label(image: Image, label: LabelFilter) -> bool:
    value = image.labels.get(label.key)
    return value is not None and label.value in (None, value)


def _text_of(image: Image) -> str:
    """All texts that a search looks into. What it looks for has no line feed, so it never spans two of them."""
    return folded("\n".join(image.texts))


_SORT_KEYS: dict[str, Callable[[Image], Any]] = {
    "created": lambda image: image.created,
    "name": lambda image: natural(folded(image.name)),
    "family": lambda image: natural(image.family),
    "size": lambda image: image.size,
    "version": lambda image: natural(folded(image.version)),
}
