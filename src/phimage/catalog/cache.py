"""What a process remembers of the catalogue, and when that is stale.

What is remembered was true at a revision and depends on scopes (`revisions`). It is stale exactly when a later revision
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
    """Which revision touched each scope last, as far as this process knows. Bounded: it forgets by calling all touched."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last: dict[str, Revision] = {}
        self._floor = Revision(0)

    def note(self, scopes: Mapping[str, Revision], newest: Revision) -> None:
        """Scopes were touched by revisions up to `newest`."""
        for scope, revision in scopes.items():
            self._last[scope] = max(revision, self._last.get(scope, revision))
        if len(self._last) > self._limit:
            self.note_all(newest)

    def note_all(self, newest: Revision) -> None:
        """Revisions up to `newest` may have touched anything."""
        self._last = {}
        self._floor = newest

    def last(self, scope: str) -> Revision:
        """The last revision that touched a scope."""
        return self._last.get(scope, self._floor)


class Cache:
    """Remembers the values that were asked for last, up to a weight of `most` together. Safe to use from several threads."""

    def __init__(self, limit: int, scope_versions: ScopeVersions) -> None:
        self._limit = limit
        self._scope_versions = scope_versions
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._weight = 0
        self.hits = 0
        self.misses = 0

    def get(self, name: Hashable, revision: Revision) -> Any:
        """What is remembered under a name, if it holds at a revision. Raises NotCached."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                raise NotCached
            for scope in entry.scopes:
                last = self._scope_versions.last(scope)
                if last > entry.read_at or last > revision:
                    raise NotCached
            self.hits += 1
            self._entries.move_to_end(name)
            return entry.value

    def put(self, name: Hashable, value: Any, read_at: Revision, scopes: tuple[str, ...], weight: int = 1) -> bool:
        """Remember what was true at a revision and depends on scopes; none for what can never become stale.

        What weighs more than half of what may be remembered is not, and False is returned: it would cost everything else.
        """
        with self._lock:
            self.misses += 1  # here, because a request that must wait looks more than once
            old = self._entries.pop(name, None)
            self._weight -= old.weight if old else 0
            if weight > self._limit // 2:
                return False
            self._entries[name] = _Entry(value, read_at, scopes, weight)
            self._weight += weight
            while self._weight > self._limit:
                self._weight -= self._entries.popitem(last=False)[1].weight
            return True
