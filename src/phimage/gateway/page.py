"""Pages beside the gateway: documents for programs, at fixed paths, for GET."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
from msgspec import Struct

JSON = "application/json"


class PageAnswer(Struct, frozen=True):
    """What a page says."""

    status: int
    body: bytes
    kind: str = JSON


Page = Callable[[str], Coroutine[Any, Any, PageAnswer]]
"""Answers a caller from an address; the address is empty when it is not known."""


def fixed(body: bytes) -> Page:
    """A document that never changes."""
    answer = PageAnswer(200, body)

    async def page(address: str) -> PageAnswer:
        return answer

    return page


def once(make: Callable[[], bytes]) -> Page:
    """A document that never changes and takes a while to make: it is made, in a thread, when it is asked for first."""
    kept = cache(make)

    async def page(address: str) -> PageAnswer:
        return PageAnswer(200, await asyncio.get_running_loop().run_in_executor(None, kept))

    return page


def readiness(checks: Mapping[str, Callable[[], str]]) -> Page:
    """Whether this process can serve, with what is in the way: 200 when nothing is, else 503. A check must not wait."""

    async def page(address: str) -> PageAnswer:
        reasons = {name: check() for name, check in checks.items()}
        ready = not any(reasons.values())
        told = {"ready": ready, "checks": {name: reason or "ok" for name, reason in reasons.items()}}
        return PageAnswer(200 if ready else 503, msgspec.json.encode(told))

    return page


def for_networks(networks: Iterable[str], kind: str, make: Callable[[], bytes]) -> Page:
    """A document made in a thread, for callers from some networks only; others get 403."""
    allowed = tuple(ip_network(network) for network in networks)

    async def page(address: str) -> PageAnswer:
        if not may(address):
            return PageAnswer(403, b'{"error":"this page is for the networks of the setting metrics_networks"}')
        return PageAnswer(200, await asyncio.get_running_loop().run_in_executor(None, make), kind)

    def may(address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in allowed)

    return page
