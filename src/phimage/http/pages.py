"""Pages: documents for programs, at fixed paths, for GET."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
from msgspec import Struct

JSON = "application/json"


class PageResponse(Struct, frozen=True):
    """The response of a page."""

    status: int
    body: bytes
    content_type: str = JSON


Page = Callable[[str], Coroutine[Any, Any, PageResponse]]
"""Makes the response to a client address; the address is empty when it is not known."""


def fixed(body: bytes) -> Page:
    """A constant document."""
    response = PageResponse(200, body)

    async def page(address: str) -> PageResponse:
        return response

    return page


def made_once(make: Callable[[], bytes]) -> Page:
    """A constant document that is slow to make: made in a thread, at the first request."""
    cached = cache(make)

    async def page(address: str) -> PageResponse:
        return PageResponse(200, await asyncio.get_running_loop().run_in_executor(None, cached))

    return page


def readiness(checks: Mapping[str, Callable[[], str]]) -> Page:
    """200 when no check returns a reason against it, else 503. A check must not block."""

    async def page(address: str) -> PageResponse:
        reasons = {name: check() for name, check in checks.items()}
        ready = not any(reasons.values())
        fields = {"ready": ready, "checks": {name: reason or "ok" for name, reason in reasons.items()}}
        return PageResponse(200 if ready else 503, msgspec.json.encode(fields))

    return page


def for_networks(networks: Iterable[str], content_type: str, make: Callable[[], bytes]) -> Page:
    """A document made in a thread at each request, for clients from the given networks; others get 403."""
    allowed = tuple(ip_network(network) for network in networks)

    async def page(address: str) -> PageResponse:
        if not is_allowed(address):
            return PageResponse(
                403, b'{"error":"this page is for the networks of the setting metrics_networks; add yours there"}'
            )
        return PageResponse(200, await asyncio.get_running_loop().run_in_executor(None, make), content_type)

    def is_allowed(address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in allowed)

    return page
