"""The rate limit: a token bucket for each key, shared by server processes through reports.

A bucket holds `burst` requests and refills with `rate` a second. Processes report a few times a second how many requests they
admitted, so N processes together keep the rate on average; between reports each may admit what its own bucket holds, so at
most N bursts pass at once.

All times are of this process's monotonic clock. Times of different processes are never compared: a process counts as gone when
its report has not changed for FORGET_SECONDS.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from msgspec import Struct

from phimage.errors import RateLimited
from phimage.model.ids import PublicKey

MAX_KEYS = 100_000
# docs/decisions.md#rates-use-monotonic-clocks
FORGET_SECONDS = 60.0

Used = Mapping[PublicKey, int]
"""The number of requests that a process admitted since its start, by key."""


class _Bucket:
    __slots__ = ("filled", "tokens", "used")

    def __init__(self, tokens: float, filled: float) -> None:
        self.tokens = tokens
        self.filled = filled
        self.used = 0


class _Report(Struct):
    """The last report of another process, and since when it is unchanged."""

    used: Used
    since: float


# docs/decisions.md#rate-buckets-are-shared-through-the-database
class RateLimit:
    """The buckets of one process. Thread-safe."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._lock = threading.Lock()
        self._buckets: dict[PublicKey, _Bucket] = {}
        self._reports: dict[str, _Report] = {}

    def spend(self, key: PublicKey, now: float) -> None:
        """Admit one request. Raises RateLimited when the bucket of the key is empty."""
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = _Bucket(self._burst, now)
            self._fill(bucket, now)
            if bucket.tokens < 1:
                wait = (1 - bucket.tokens) / self._rate
                raise RateLimited(detail=f"{self._rate:g} requests a second; try again in {wait:.2f} seconds")
            bucket.tokens -= 1
            bucket.used += 1

    def used(self) -> dict[PublicKey, int]:
        """The number of requests that this process admitted since its start, by key."""
        with self._lock:
            return {key: bucket.used for key, bucket in self._buckets.items()}

    def learn(self, reports: Mapping[str, Used], now: float) -> None:
        """Take the requests that other processes admitted since the previous call out of the buckets. `reports` are by process.

        The first report of a process is a baseline and takes nothing. Not thread-safe together with `gone`.
        """
        spent: Counter[PublicKey] = Counter()
        known = {}
        for process, used in reports.items():
            last = self._reports.get(process)
            if last is not None and last.used != used:
                spent.update({key: max(0, count - last.used.get(key, 0)) for key, count in used.items()})
            known[process] = last if last is not None and last.used == used else _Report(used, now)
        self._reports = known
        with self._lock:
            for key, count in spent.items():
                bucket = self._buckets.get(key)
                if bucket is not None:
                    self._fill(bucket, now)
                    bucket.tokens = max(bucket.tokens - count, -float(self._burst))
            if len(self._buckets) > MAX_KEYS:
                self._forget_full(now)

    def gone(self, now: float) -> list[str]:
        """The processes whose reports can be removed. An idle process reports again, and nothing is lost."""
        return [process for process, last in self._reports.items() if now - last.since > FORGET_SECONDS]

    def _forget_full(self, now: float) -> None:
        """Remove full buckets: a new bucket is full."""
        for bucket in self._buckets.values():
            self._fill(bucket, now)
        full = [key for key, bucket in self._buckets.items() if bucket.tokens >= self._burst]
        for key in full:
            del self._buckets[key]

    def _fill(self, bucket: _Bucket, now: float) -> None:
        if now > bucket.filled:
            bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled) * self._rate)
            bucket.filled = now
