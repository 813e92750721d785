"""The minimum rate of a client that reads or sends a body. A slower one is ended, and does not hold its place for hours."""

from __future__ import annotations

from msgspec import Struct

KIB_PER_SECOND = 8
"""The default: a modem of 64 kbit/s."""


class MinRate(Struct, frozen=True):
    """The minimum in bytes a second; 0 for none.

    A client may fall `seconds` behind it, so that a short pause ends no transfer.
    """

    bytes_per_second: float = KIB_PER_SECOND * 1024
    seconds: float = 60.0


# docs/decisions.md#places-have-shares
class Lag:
    """How far a client is behind a minimum rate. What it was ahead earlier does not count, so a fast start buys no slow end."""

    def __init__(self, min_rate: MinRate) -> None:
        self._min_rate = min_rate
        self._seconds = 0.0

    @property
    def too_long(self) -> bool:
        """Whether the client is too far behind."""
        return self._seconds > self._min_rate.seconds

    def allowed(self, size: int) -> float:
        """The seconds that the next bytes may take; infinite without a minimum."""
        if not self._min_rate.bytes_per_second:
            return float("inf")
        return self._min_rate.seconds - self._seconds + size / self._min_rate.bytes_per_second

    def add(self, seconds: float, size: int) -> None:
        """Count bytes, and the seconds that the client took for them."""
        if self._min_rate.bytes_per_second:
            self._seconds = max(0.0, self._seconds + seconds - size / self._min_rate.bytes_per_second)
