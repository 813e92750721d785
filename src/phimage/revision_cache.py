"""A cache of values that were true at a revision, for as long as no later revision changes them.

A value depends on scopes, such as the images of one project (`catalog.revisions`). It is stale exactly when a later revision
touched one of them.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from typing import Any

from msgspec import Struct

from phimage.errors import NotCached
from phimage.lru import Lru
from phimage.model.ids import Revision


class _Entry(Struct, frozen=True):
    value: Any
    # docs/decisions.md#cache-entries-carry-their-revision
    read_at: Revision
    scopes: tuple[str, ...]


class ScopeVersions:
    """The last known revision that touched each scope. Bounded: over its limit it treats all scopes as touched."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last: dict[str, Revision] = {}
        self._floor = Revision(0)

    def update(self, scopes: Mapping[str, Revision], newest: Revision) -> None:
        """Set the last revision of scopes that revisions up to `newest` touched."""
        for scope, revision in scopes.items():
            self._last[scope] = max(revision, self._last.get(scope, revision))
        if len(self._last) > self._limit:
            self.touch_all(newest)

    def touch_all(self, newest: Revision) -> None:
        """Treat every scope as touched by `newest`."""
        self._floor = newest  # first: readers take another lock, and must not see the old floor below an empty table
        self._last = {}

    def last(self, scope: str) -> Revision:
        """The last revision that touched a scope."""
        return self._last.get(scope, self._floor)


class RevisionCache:
    """The most recently used values, up to `max_weight` together. Thread-safe."""

    def __init__(self, max_weight: int, scope_versions: ScopeVersions) -> None:
        self._max_weight = max_weight
        self._scope_versions = scope_versions
        self._lock = threading.Lock()
        self._entries: Lru[Hashable, _Entry] = Lru(max_weight)
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable, revision: Revision) -> Any:
        """The value of a key, if it is valid at a revision. Raises NotCached."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                raise NotCached
            last_of = self._scope_versions.last
            for scope in entry.scopes:
                last = last_of(scope)
                if last > entry.read_at or last > revision:
                    raise NotCached
            self.hits += 1
            return entry.value

    def put(self, key: Hashable, value: Any, read_at: Revision, scopes: tuple[str, ...], weight: int = 1) -> bool:
        """Cache a value that was true at a revision and depends on scopes; without scopes it never becomes stale.

        Returns False, and caches nothing, for a value of more than half of the maximum weight: it would evict most others.
        """
        with self._lock:
            self.misses += 1  # counted here: a request that must wait calls `get` more than once
            if weight > self._max_weight // 2:
                self._entries.remove(key)
                return False
            self._entries.put(key, _Entry(value, read_at, scopes), weight)
            return True
