"""The open connections of a worker: their limits, and what ends those that wait too long.

A connection waits in a queue: for the header of a request, idle between two requests, or for a client that does not read.
All entries of a queue have the same time to live and are in the order of their beginning, so a sweep looks at its first ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Protocol

from msgspec import Struct

from phimage.http.counters import ConnectionCounters
from phimage.processes.request_parser import ParsedRequests

SWEEP_SECONDS = 0.25
LINGER_SECONDS = 2.0


class ConnectionLimits(Struct, frozen=True):
    """The limits of connections. Times are in seconds."""

    header: float = 10.0  # from the connection or the first byte of a request to the end of its header
    idle: float = 75.0  # between two requests
    stall: float = 60.0  # without a byte that the client reads
    connections: int = 8192  # of a worker
    per_address: int = 256  # of a client in a worker; 0 for any number


class Waiting(Enum):
    """What a connection waits for."""

    HEADER = "header"
    IDLE = "idle"
    READER = "stalled"
    LINGER = "linger"

    __hash__ = object.__hash__  # that of an Enum is a function in Python, and each request enters a queue


class Waiter(Protocol):
    """A connection, as its queues know it."""

    def expire(self, waiting: Waiting) -> bool:
        """End it because its time is over. Returns False when it made progress and may wait once more."""

    def close(self) -> object:
        """End it while it is idle."""

    def abort(self) -> object:
        """End it at once."""


# docs/decisions.md#connections-wait-in-queues
class Connections:
    """The connections of a worker. Used on its event loop alone."""

    def __init__(self, limits: ConnectionLimits, counters: ConnectionCounters, is_exempt: Callable[[str], bool]) -> None:
        """`is_exempt` returns whether an address may have any number of connections."""
        self.limits = limits
        self.draining = False
        self.now = 0.0
        self.date = b""
        self.parsed = ParsedRequests()
        self._counters = counters
        self._is_exempt = is_exempt
        self._all: set[Waiter] = set()
        self._by_address: dict[str, int] = {}
        self._queues: dict[Waiting, dict[Waiter, float]] = {waiting: {} for waiting in Waiting}
        self._seconds = {
            Waiting.HEADER: limits.header,
            Waiting.IDLE: limits.idle,
            Waiting.READER: limits.stall,
            Waiting.LINGER: LINGER_SECONDS,
        }

    @property
    def open(self) -> int:
        """The number of open connections."""
        return self._counters.open

    def admit(self, address: str) -> bool:
        """Count a new connection, unless its client has too many. When there are too many in all, ends the oldest idle one."""
        client = _network(address)
        used = self._by_address.get(client, 0)
        if 0 < self.limits.per_address <= used and not self._is_exempt(address):
            self._count("address")
            return False
        if self.open >= self.limits.connections and not self._end_oldest():
            return False
        self._by_address[client] = used + 1
        self._counters.open += 1
        return True

    def release(self, address: str) -> None:
        """Forget an admitted connection that has ended."""
        self._counters.open -= 1
        client = _network(address)
        used = self._by_address.pop(client) - 1
        if used:
            self._by_address[client] = used

    def opened(self, connection: Waiter) -> None:
        """An admitted connection is ready for requests."""
        self._all.add(connection)
        self.wait(connection, Waiting.HEADER)

    def wait(self, connection: Waiter, waiting: Waiting) -> None:
        """Enter a connection into a queue, at its end."""
        queue = self._queues[waiting]
        queue.pop(connection, None)
        queue[connection] = self.now

    def is_waiting(self, connection: Waiter, waiting: Waiting) -> bool:
        """Whether a connection is in a queue."""
        return connection in self._queues[waiting]

    def end_wait(self, connection: Waiter, waiting: Waiting) -> None:
        """Take a connection from a queue, if it is there."""
        self._queues[waiting].pop(connection, None)

    def forget(self, connection: Waiter) -> None:
        """Take a connection from all queues."""
        for queue in self._queues.values():
            queue.pop(connection, None)

    def ended(self, connection: Waiter, address: str) -> None:
        """A connection that was ready has ended."""
        self._all.discard(connection)
        self.forget(connection)
        self.release(address)

    def abort_all(self) -> None:
        """End all connections at once."""
        for connection in list(self._all):
            connection.abort()

    def sweep(self, now: float) -> None:
        """End the connections that waited too long. Call it every SWEEP_SECONDS with the event loop's time."""
        self.now = now
        self.date = b"date: %b\r\n" % formatdate(time.time(), usegmt=True).encode("ascii")
        for waiting, queue in self._queues.items():
            self._sweep(waiting, queue, now - self._seconds[waiting])

    def close_idle(self, idle_for: float) -> None:
        """End the connections that have been idle for so many seconds, and those that have sent no request."""
        for waiting in (Waiting.IDLE, Waiting.HEADER):
            for connection, since in list(self._queues[waiting].items()):
                if since <= self.now - idle_for:
                    connection.close()

    def _sweep(self, waiting: Waiting, queue: dict[Waiter, float], before: float) -> None:
        expired = []
        for connection, since in queue.items():
            if since > before:
                break
            expired.append(connection)
        for connection in expired:
            if connection.expire(waiting):
                queue.pop(connection, None)
                self._count(waiting.value)
            else:
                self.wait(connection, waiting)

    def _end_oldest(self) -> bool:
        self._count("full")
        for waiting in (Waiting.IDLE, Waiting.HEADER):
            for connection in self._queues[waiting]:
                # Not `close`: a client that does not end its TLS, or does not read, would keep its place for seconds.
                self.forget(connection)
                connection.abort()
                return True
        return False

    def _count(self, reason: str) -> None:
        if reason in self._counters.ended:
            self._counters.ended[reason] += 1


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    """The addresses that are one client: of IPv6 a network of 64 bits, because a host has all of them."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv4Address):
        return address
    return str(parsed.ipv4_mapped or ip_network((int(parsed), 64), strict=False))
