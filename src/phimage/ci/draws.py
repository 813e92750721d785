"""Random bytes that are the same in every run: ids of a world depend on its seed and on earlier draws alone."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from hashlib import shake_256

from phimage.http.asgi import uuid_of


# docs/decisions.md#ids-have-a-sequence-for-each-length
class Draws:
    """A source of random bytes, with a sequence for each length and purpose. Safe to use from several threads.

    The length of a draw is that of a kind of id: so a new key does not change the ids of the images after it.
    """

    def __init__(self, seed: str, purpose: str = "") -> None:
        self._seed = seed
        self._purpose = purpose
        self._counters: Counter[int] = Counter()
        self._lock = threading.Lock()

    def __call__(self, length: int) -> bytes:
        """The next bytes of the sequence of this length."""
        with self._lock:
            self._counters[length] += 1
            number = self._counters[length]
        return shake_256(f"phimage {self._seed} {self._purpose} {length} {number}".encode()).digest(length)

    def uuids(self) -> Iterator[str]:
        """UUIDs without end, for request ids."""
        while True:
            yield uuid_of(self(16).hex())
