"""What a process answered, counted. It belongs to the event loop, so that counting needs no lock; reading copies."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, in seconds; what is slower is in one more bucket."""


class Latency:
    """How long the answers of one Action took: how many in each bucket, and the sum in seconds."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0


class Traffic:
    """Requests by Action and RetCode, latencies by Action, and bytes. What names no known Action counts under "none"."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.latencies: dict[str, Latency] = {}
        self.bytes_in = 0
        self.bytes_out = 0

    def count(self, action: str, ret_code: int, seconds: float, received: int, sent: int) -> None:
        """One request was answered."""
        action = action or "none"
        key = (action, ret_code)
        self.requests[key] = self.requests.get(key, 0) + 1
        latency = self.latencies.get(action)
        if latency is None:
            latency = self.latencies[action] = Latency()
        latency.buckets[bisect_left(BOUNDS, seconds)] += 1
        latency.seconds += seconds
        self.bytes_in += received
        self.bytes_out += sent
