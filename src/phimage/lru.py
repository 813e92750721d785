"""A cache of bounded weight that evicts the least recently used values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Lru(Generic[Key, Value]):
    """Values with weights, up to `max_weight` in total; the last one stays whatever it weighs. Not safe between threads."""

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._weight = 0
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """The value of a key, which becomes the most recently used; None if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: Key, value: Value, weight: int = 1) -> None:
        """Set the value of a key, and evict others until the rest is light enough."""
        self.remove(key)
        self._entries[key] = value, weight
        self._weight += weight
        while self._weight > self._max_weight and len(self._entries) > 1:
            self._weight -= self._entries.popitem(last=False)[1][1]

    def remove(self, key: Key) -> None:
        """Remove a key if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._weight -= entry[1]
