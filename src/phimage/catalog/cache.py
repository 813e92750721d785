"""A cache of values read from the catalogue, and when they are stale.

A value was read at a revision and depends on scopes (`revisions`). It is stale exactly when a later revision touched one of
its scopes.
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
        self._last = {}
        self._floor = newest

    def last(self, scope: str) -> Revision:
        """The last revision that touched a scope."""
        return self._last.get(scope, self._floor)


class Cache:
    """An LRU cache whose values expire with their scopes, up to a total weight of `limit`. Safe to use from several threads."""

    def __init__(self, limit: int, scope_versions: ScopeVersions) -> None:
        self._limit = limit
        self._scope_versions = scope_versions
        self._lock = threading.Lock()
        self._entries: Lru[Hashable, _Entry] = Lru(limit)
        self.hits = 0
        self.misses = 0

    def get(self, name: Hashable, revision: Revision) -> Any:
        """The value of a name, if it is valid at a revision. Raises NotCached."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                raise NotCached
            for scope in entry.scopes:
                last = self._scope_versions.last(scope)
                if last > entry.read_at or last > revision:
                    raise NotCached
            self.hits += 1
            return entry.value

    def put(self, name: Hashable, value: Any, read_at: Revision, scopes: tuple[str, ...], weight: int = 1) -> bool:
        """Cache a value that was read at a revision. Without scopes it never becomes stale.

        Returns False, and caches nothing, if it weighs more than half of the limit: it would evict most other values.
        """
        with self._lock:
            self.misses += 1  # counted here, because a request that must wait calls `get` more than once
            if weight > self._limit // 2:
                self._entries.remove(name)
                return False
            self._entries.put(name, _Entry(value, read_at, scopes), weight)
            return True
