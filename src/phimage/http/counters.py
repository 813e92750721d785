"""Counters of one process, for its metrics. Written on the event loop alone, so they need no lock; read from any thread."""

from __future__ import annotations

from bisect import bisect_left

from msgspec import Struct, field

from phimage.http.asgi import Message, Receive, Send

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, in seconds. One more bucket holds what is slower."""

CONNECTION_LIMITS = ("header", "idle", "stalled", "full", "address")
"""Why a connection is ended: a slow header, no request, a client that does not read, too many of a process or of a client."""


class Latencies:
    """The latency histogram of one Action: a count for each bucket, and the sum in seconds."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0


class RequestCounters:
    """Requests by Action and RetCode, latencies by Action, and bytes. An unknown Action counts as "none"."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.latencies: dict[str, Latencies] = {}
        self.bytes_in = 0
        self.bytes_out = 0

    def count(self, action: str, ret_code: int, seconds: float, received: int, sent: int) -> None:
        """Count one answered request."""
        action = action or "none"
        key = (action, ret_code)
        self.requests[key] = self.requests.get(key, 0) + 1
        latencies = self.latencies.get(action)
        if latencies is None:
            latencies = self.latencies[action] = Latencies()
        latencies.buckets[bisect_left(BOUNDS, seconds)] += 1
        latencies.seconds += seconds
        self.bytes_in += received
        self.bytes_out += sent

    def counting_bytes(self, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """The same channels, with the bytes of bodies counted."""

        async def counted_receive() -> Message:
            message = await receive()
            self.bytes_in += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            await send(message)
            self.bytes_out += len(message.get("body", b""))

        return counted_receive, counted_send


class ConnectionCounters(Struct):
    """Connections of one process."""

    open: int = 0
    ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CONNECTION_LIMITS, 0))
    """Connections that the server ended, by the limit that they reached."""


class DownloadCounters(Struct):
    """Downloads of one process."""

    downloads: dict[str, int] = field(default_factory=dict)
    """Responses with bytes (200 and 206), by form."""
    bytes_sent: int = 0
    """Bytes of bodies that were handed to the server."""
    frame_lists_made: int = 0
    bad_chunks: int = 0
    """Bad chunks met by downloads and while a frame list was made."""
    refused: int = 0
    """Downloads above the limit of concurrent ones, or above the share of their project or URL."""
    stalled: int = 0
    """Downloads ended because their client read too slowly, or nothing."""
    left: int = 0
    """Downloads whose client closed the connection before the end."""
