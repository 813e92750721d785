"""A page of images, assembled from cached sections.

A list is the base images that match a query, then the custom images of the project that do (wire-protocol B8). The first
section is shared by all projects and cached until a place or a base image changes; the second until a place or an image of the
project changes. So a cold project costs its own images only, and every page of a long list costs the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from phimage.catalog.revisions import BASE, TOPOLOGY, project_scope
from phimage.catalog.views import View
from phimage.gateway.cache import GatewayCache
from phimage.model.ids import ImageId
from phimage.model.image import NO_PROJECT, Image, ImageType, Query, listed

FEW = 50
"""Up to this many images of a project, filtering again is cheaper than caching the result."""
ROW_BYTES = 500
"""Approximate size of an encoded image."""
_REFERENCE_BYTES = 8
ID_BYTES = 200
"""Approximate size of an id, or another text, that a request names and the key of what it gets keeps."""

Encode = Callable[[Image], bytes]


class ListSection(Struct, frozen=True):
    """The listed images of one owner, in order, and the encoded form of those that a page needed before."""

    images: Sequence[Image]
    encoded: dict[ImageId, bytes]


# docs/decisions.md#a-list-has-two-sections
def sections_of(query: Query, view: View, cache: GatewayCache, few: int = FEW) -> list[ListSection]:
    """The sections of a list, in order."""
    sections = []
    if query.type is not ImageType.CUSTOM:
        sections.append(_base(query, view, cache))
    if query.type is not ImageType.BASE:
        sections.append(_own(query, view, cache, few))
    return sections


def count(sections: Sequence[ListSection]) -> int:
    """The number of images in all sections."""
    return sum(len(section.images) for section in sections)


def page(sections: Sequence[ListSection], offset: int, limit: int, encode: Encode) -> list[bytes]:
    """At most `limit` encoded images, from `offset` on."""
    rows: list[bytes] = []
    for section in sections:
        for image in section.images[offset : offset + limit - len(rows)]:
            row = section.encoded.get(image.id)
            if row is None:
                row = section.encoded[image.id] = encode(image)
            rows.append(row)
        offset = max(0, offset - len(section.images))
    return rows


def _base(query: Query, view: View, cache: GatewayCache) -> ListSection:
    shared = replace(query, project=NO_PROJECT, type=ImageType.BASE)  # the same for every project
    scopes = (TOPOLOGY, BASE)
    images = view.base_images()
    key = ("encoded", query.zones)
    encoded: dict[ImageId, bytes] = cache.get_or_make(key, view, scopes, dict, lambda _: ROW_BYTES * len(images))
    return cache.get_or_make(
        shared,
        view,
        scopes,
        lambda: ListSection(_listed(images, shared, view), encoded),
        lambda section: _REFERENCE_BYTES * len(section.images) + ID_BYTES * len(shared.ids),
    )


def _own(query: Query, view: View, cache: GatewayCache, few: int) -> ListSection:
    images = view.images_of(query.project)
    own = replace(query, type=ImageType.CUSTOM, awaited=frozenset())  # base images do not matter
    if len(images) <= few:
        return ListSection(_listed(images, own, view), {})
    scopes = (TOPOLOGY, project_scope(query.project))
    return cache.get_or_make(
        own,
        view,
        scopes,
        lambda: ListSection(_listed(images, own, view), {}),
        lambda section: ROW_BYTES * len(section.images) + ID_BYTES * len(own.ids),
    )


def _listed(images: Sequence[Image], query: Query, view: View) -> tuple[Image, ...]:
    """The images that a query lists, in the given order."""
    topology = view.topology()
    return tuple(image for image in images if listed(image, query, topology))
