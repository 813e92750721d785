"""A page of images, put together from what is remembered.

A list is the base images that meet a query, then the project's own that do (wire-protocol B8). The first part is the same for
every project that asks the same, and is remembered until a place or a base image changes; the second until a place or an
image of the project does. So a project that asks for the first time costs its own images alone, and every page of a long
list costs the same.
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
"""Up to so many images of a project it is cheaper to look at them again than to remember which of them were listed."""
ROW_BYTES = 500
"""About what an encoded image takes."""
_REFERENCE_BYTES = 8

Encode = Callable[[Image], bytes]


class Part(Struct, frozen=True):
    """The images of one owner that a query lists, in order, and those of them that were encoded so far, for these zones."""

    images: Sequence[Image]
    encoded: dict[ImageId, bytes]


def parts_of(query: Query, view: View, cache: GatewayCache, few: int = FEW) -> list[Part]:
    """What a query lists, part after part."""
    parts = []
    if query.type is not ImageType.CUSTOM:
        parts.append(_base(query, view, cache))
    if query.type is not ImageType.BASE:
        parts.append(_own(query, view, cache, few))
    return parts


def count(parts: Sequence[Part]) -> int:
    """How many images the parts have together."""
    return sum(len(part.images) for part in parts)


def page(parts: Sequence[Part], offset: int, limit: int, encode: Encode) -> list[bytes]:
    """The images from `offset` on, at most `limit`, encoded."""
    rows: list[bytes] = []
    for part in parts:
        for image in part.images[offset : offset + limit - len(rows)]:
            row = part.encoded.get(image.id)
            if row is None:
                row = part.encoded[image.id] = encode(image)
            rows.append(row)
        offset = max(0, offset - len(part.images))
    return rows


def _base(query: Query, view: View, cache: GatewayCache) -> Part:
    asked = replace(query, project=NO_PROJECT, type=ImageType.BASE)  # whose project it is makes no difference
    scopes = (TOPOLOGY, BASE)
    images = view.base_images()
    key = ("encoded", query.zones)
    encoded: dict[ImageId, bytes] = cache.get_or_make(key, view, scopes, dict, lambda _: ROW_BYTES * len(images))
    return cache.get_or_make(
        asked,
        view,
        scopes,
        lambda: Part(_listed(images, asked, view), encoded),
        lambda part: _REFERENCE_BYTES * len(part.images),
    )


def _own(query: Query, view: View, cache: GatewayCache, few: int) -> Part:
    images = view.images_of(query.project)
    asked = replace(query, type=ImageType.CUSTOM, awaited=frozenset())  # a base image makes no difference
    if len(images) <= few:
        return Part(_listed(images, asked, view), {})
    scopes = (TOPOLOGY, project_scope(query.project))
    return cache.get_or_make(
        asked, view, scopes, lambda: Part(_listed(images, asked, view), {}), lambda part: ROW_BYTES * len(part.images)
    )


def _listed(images: Sequence[Image], query: Query, view: View) -> tuple[Image, ...]:
    """Those that a query lists. They come in the order of lists and stay in it."""
    topology = view.topology()
    return tuple(image for image in images if listed(image, query, topology))
