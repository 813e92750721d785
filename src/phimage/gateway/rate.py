"""How many requests a key may send: a token bucket per key, shared by server processes through what they report.

A bucket holds `burst` requests and fills with `rate` a second. Processes tell each other a few times a second what they
let through, so that N of them together keep the rate on average; until the next report each may let through what its own
bucket holds, so at most N bursts pass at once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from phimage.errors import RateLimited
from phimage.model.ids import PublicKey

MOST_KEYS = 100_000


class _Bucket:
    __slots__ = ("elsewhere", "filled", "tokens", "used")

    def __init__(self, tokens: float, filled: float) -> None:
        self.tokens = tokens
        self.filled = filled
        self.used = 0
        self.elsewhere = 0


class RateLimit:
    """The buckets of one process. Safe to use from several threads."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._lock = threading.Lock()
        self._buckets: dict[PublicKey, _Bucket] = {}

    def spend(self, key: PublicKey, now: float) -> None:
        """Let one request through. Raises RateLimited when the key has spent its rate; `now` is in seconds."""
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
        """How many requests of each key this process let through, ever."""
        with self._lock:
            return {key: bucket.used for key, bucket in self._buckets.items()}

    def learn(self, elsewhere: Mapping[PublicKey, int], now: float) -> None:
        """Take into account what other processes let through, ever, by key."""
        with self._lock:
            for key, bucket in self._buckets.items():
                self._fill(bucket, now)
                total = elsewhere.get(key, 0)
                bucket.tokens = max(bucket.tokens - max(0, total - bucket.elsewhere), -float(self._burst))
                bucket.elsewhere = total
            if len(self._buckets) > MOST_KEYS:
                full = [key for key, bucket in self._buckets.items() if bucket.tokens >= self._burst]
                for key in full:
                    del self._buckets[key]

    def _fill(self, bucket: _Bucket, now: float) -> None:
        if now > bucket.filled:
            bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled) * self._rate)
            bucket.filled = now
