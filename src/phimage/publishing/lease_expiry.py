"""When a lease has expired: a worker saw no renewal of it for its length, on its own monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from phimage.model.job import JobLease


class LeaseExpiry:
    """Watches the leases of other workers. One thread at a time may use it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`seconds` is the length of a lease."""
        self._seconds = seconds
        self._clock = clock
        self._since: dict[JobLease, float] = {}

    def expired(self, leases: Iterable[JobLease]) -> list[JobLease]:
        """The expired ones of all current leases. A lease is measured from the first call that saw it."""
        now = self._clock()
        self._since = {lease: self._since.get(lease, now) for lease in leases}  # a renewed lease is another one
        return [lease for lease, since in self._since.items() if now - since > self._seconds]
