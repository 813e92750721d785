"""A cache of values that were true at a revision, for as long as no later revision changes them.

A value depends on scopes, such as the images of one project (`catalog.revisions`). It is stale exactly when a later revision
touched one of them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

from msgspec import Struct

from phimage.errors import NotCached
from phimage.model.ids import Revision


class _Entry(Struct, frozen=True):
    value: Any
    read_at: Revision
    scopes: tuple[str, ...]
    weight: int


class ScopeVersions:
    """The last revision that touched each scope, as far as this process knows. Bounded: when full, it counts all scopes as
    touched by the newest revision and starts anew."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last: dict[str, Revision] = {}
        self._floor = Revision(0)

    def note(self, scopes: Mapping[str, Revision], newest: Revision) -> None:
        """Note which revisions touched scopes; `newest` is the newest of them."""
        for scope, revision in scopes.items():
            self._last[scope] = max(revision, self._last.get(scope, revision))
        if len(self._last) > self._limit:
            self.note_all(newest)

    def note_all(self, newest: Revision) -> None:
        """Note that revisions up to `newest` may have touched any scope."""
        self._last = {}
        self._floor = newest

    def last(self, scope: str) -> Revision:
        """The last revision that touched a scope, or a later one."""
        return self._last.get(scope, self._floor)


class RevisionCache:
    """The values used last, up to `max_weight` together. Thread-safe."""

    def __init__(self, max_weight: int, scope_versions: ScopeVersions) -> None:
        self._max_weight = max_weight
        self._scope_versions = scope_versions
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._weight = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable, revision: Revision) -> Any:
        """The value of a key, if it holds at a revision. Raises NotCached."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                raise NotCached
            for scope in entry.scopes:
                last = self._scope_versions.last(scope)
                if last > entry.read_at or last > revision:
                    raise NotCached
            self.hits += 1
            self._entries.move_to_end(key)
            return entry.value

    def put(self, key: Hashable, value: Any, read_at: Revision, scopes: tuple[str, ...], weight: int = 1) -> bool:
        """Cache a value that was true at a revision and depends on scopes; without scopes it never becomes stale.

        Returns False, and caches nothing, for a value of more than half of the maximum weight: it would evict all others.
        """
        with self._lock:
            self.misses += 1  # counted here: a request that must wait calls `get` more than once
            old = self._entries.pop(key, None)
            self._weight -= old.weight if old else 0
            if weight > self._max_weight // 2:
                return False
            self._entries[key] = _Entry(value, read_at, scopes, weight)
            self._weight += weight
            while self._weight > self._max_weight:
                self._weight -= self._entries.popitem(last=False)[1].weight
            return True
