"""The limit of wrong signatures: a token bucket for each client address, in each process.

Only failed requests are counted, after they were verified. A right signature is always accepted, so nobody can lock out a key,
or the other clients of an address. An address over the limit no longer learns whether a key exists.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address

from phimage.errors import RateLimited, UnknownUser, WrongSignature
from phimage.http.asgi import Message
from phimage.http.proxies import TrustedProxies
from phimage.lru import Lru

LIMITED_CODES = (WrongSignature.ret_code, UnknownUser.ret_code)
"""RetCodes that count."""
BURST = 20
RATE = 1.0
"""Failures a second, after the burst."""
MAX_ADDRESSES = 65_536
"""Above it, the address that failed longest ago is forgotten."""
_NETWORK_BITS = 64  # a customer of a provider has at least this many IPv6 addresses


# docs/decisions.md#wrong-signatures-are-limited-by-address
class SignatureLimit:
    """The buckets of one process. Not thread-safe: used on the event loop."""

    def __init__(
        self,
        proxies: TrustedProxies,
        burst: int = BURST,
        rate: float = RATE,
        max_addresses: int = MAX_ADDRESSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proxies = proxies
        self._seconds = 1 / rate
        self._burst = burst
        self._clock = clock
        self._full_at: Lru[str, float] = Lru(max_addresses)  # when the bucket of an address is full again

    def refusal(self, ret_code: int, scope: Message) -> RateLimited | None:
        """The error that replaces one of LIMITED_CODES when its address has sent too many; otherwise counts it."""
        if ret_code not in LIMITED_CODES or not (address := self._proxies.countable_address(scope)):
            return None
        group, now = _group(address), self._clock()
        full_at = max(now, self._full_at.get(group) or now) + self._seconds
        wait = full_at - now - self._burst * self._seconds
        if wait <= 0:
            self._full_at.put(group, full_at)
            return None
        return RateLimited(detail=f"too many wrong signatures from {address}; try again in {wait:.1f} seconds")


def _group(address: str) -> str:
    """The address, or in IPv6 its network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Network((int(parsed), _NETWORK_BITS), strict=False)) if isinstance(parsed, IPv6Address) else address
