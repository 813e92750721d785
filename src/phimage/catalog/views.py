"""The catalogue of one process: the newest revision that it knows, and views of one revision that cache what they read.

A cached value belongs to a scope (`revisions`), and is stale exactly when a later revision touched its scope. A view never
changes its revision, so that an answer never mixes two states.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar, cast

from sqlalchemy import Connection

from phimage.catalog.engine import Database
from phimage.catalog.hosts import find_host_key, host_keys, host_stock_at, hosts_with_orders_at
from phimage.catalog.image_bytes import awaited_at, custom_image_bytes_at, image_bytes_at
from phimage.catalog.images import custom_images_at, find_image, images_at
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.lookup import KeyOwner, Lookup, images_lookup, key_owner_lookup, tenant_lookup
from phimage.catalog.places import topology_at
from phimage.catalog.revisions import (
    BASE,
    HOSTS,
    TOPOLOGY,
    Author,
    Change,
    RevisionWriter,
    account_scope,
    head,
    head_and_oldest,
    outdated,
    project_scope,
    revision_at,
    touched,
)
from phimage.errors import NotCached, ServiceUnavailable
from phimage.model.account import Key, PrivateKey, Tenant
from phimage.model.host import HostKey
from phimage.model.ids import AccountId, HostId, ImageId, ProjectId, PublicKey, Revision
from phimage.model.image import NO_PROJECT, Image
from phimage.model.image_bytes import ImageBytes
from phimage.model.topology import HostStock, Topology
from phimage.revision_cache import RevisionCache, ScopeVersions

Value = TypeVar("Value")

MAX_ENTRIES = 8_000
"""The maximum weight of cached records: 1 for a record, and 1 for every ten images of a list or parts of a topology, about
6 kB."""
_LEARNED_SECONDS = 10.0
"""Seconds for which a process keeps the time at which it learned of a revision."""


class Catalog:
    """The open catalogue. Safe to use from several threads."""

    def __init__(
        self,
        database: Database,
        key_encryption: KeyEncryption,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = database
        self.key_encryption = key_encryption
        self._lock = threading.Lock()
        self.scope_versions = ScopeVersions(10 * max_entries)
        self.facts = RevisionCache(max_entries, self.scope_versions)
        self._listeners: list[Callable[[], object]] = []
        self._writer = RevisionWriter(database, self._committed)
        self._clock = clock
        with database.read() as connection:
            self.head = head(connection)
        self._learned = deque([(self.head, clock())])
        """The revisions that this process learned of lately, oldest first, with the time; never empty."""

    def change(self, author: Author) -> AbstractContextManager[Change]:
        """Write one revision (see `RevisionWriter.change`). Later views of this process see it."""
        return self._writer.change(author)

    def refresh(self, *, probe: bool = True) -> Revision:
        """Read the revisions of other processes. A probe connects while the circuit breaker is open.

        Returns the newest revision. Raises ServiceUnavailable. If the database needs a newer program, opens the breaker for
        good.
        """
        with self.database.read(probe=probe) as connection:
            newest, oldest = head_and_oldest(connection)
            if reason := outdated(oldest):
                self.database.circuit.open(reason, for_good=True)
                raise ServiceUnavailable(detail=reason)
            if newest > self.head:
                scopes = touched(connection, self.head, newest)
                self._advance(newest, scopes)
        return self.head

    def now(self, *, wait: bool) -> View:
        """A view of the newest revision that this process knows. With `wait=False` it raises NotCached instead of blocking."""
        return View(self, self.head, pinned=False, wait=wait)

    def newest(self) -> View:
        """A view of the newest revision of all processes. Raises ServiceUnavailable."""
        self.refresh(probe=False)
        return self.now(wait=True)

    def at(self, revision: Revision, *, wait: bool) -> View:
        """A view of a past revision."""
        return View(self, revision, pinned=True, wait=wait)

    def revision_at(self, time: int) -> Revision:
        """The newest revision at a time, in microseconds since 1970."""
        with self.database.read() as connection:
            return revision_at(connection, time)

    def known_for(self, revision: Revision) -> float:
        """The seconds for which this process has known a revision, at least; negative if it does not know it."""
        with self._lock:
            if revision > self.head:
                return -1.0
            return self._clock() - next(at for known, at in self._learned if known >= revision)

    def on_new_revision(self, listener: Callable[[], object]) -> None:
        """Call a listener, from any thread, each time this process learns of a newer revision."""
        self._listeners.append(listener)

    def _committed(self, revision: Revision, scopes: frozenset[str]) -> None:
        if revision == self.head + 1:
            self._advance(revision, dict.fromkeys(scopes, revision))
        else:
            try:
                self.refresh()
            except ServiceUnavailable:  # it is committed, and its author must see it
                self._advance(revision, None)

    def _advance(self, newest: Revision, scopes: dict[str, Revision] | None) -> None:
        with self._lock:
            if newest <= self.head:
                return
            if scopes is None:
                self.scope_versions.touch_all(newest)
            else:
                self.scope_versions.update(scopes, newest)
            self.head = newest
            self._learned.append((newest, now := self._clock()))
            while self._learned[1][1] < now - _LEARNED_SECONDS:
                self._learned.popleft()
        for listener in self._listeners:
            listener()


class View:
    """The catalogue at one revision. Tenants and keys are always read from the present, whatever the revision."""

    def __init__(self, catalog: Catalog, revision: Revision, *, pinned: bool, wait: bool) -> None:
        self.revision = revision
        self.pinned = pinned
        self._catalog = catalog
        self._wait = wait

    def may_wait(self) -> None:
        """Raises NotCached if this view must not block: for callers that are about to use the database themselves.

        Raises ServiceUnavailable instead while the database is known to be away, so that no thread is taken in vain.
        """
        if not self._wait:
            self._catalog.database.circuit.check()
            raise NotCached

    def may_take_time(self) -> None:
        """Raises NotCached if this view must not block: for callers that are about to compute for milliseconds."""
        if not self._wait:
            raise NotCached

    def topology(self) -> Topology:
        """Places and machine types."""
        return self._past(TOPOLOGY, lambda connection: topology_at(connection, self.revision))

    def base_images(self) -> tuple[Image, ...]:
        """Base images, in the order of lists."""
        return self._past(BASE, lambda connection: images_at(connection, self.revision, NO_PROJECT))

    def awaited(self) -> frozenset[ImageId]:
        """The base images without bytes, because their publication is unfinished or failed."""
        return self._past(BASE, lambda connection: awaited_at(connection, self.revision), "awaited")

    def images_of(self, project: ProjectId) -> tuple[Image, ...]:
        """Custom images of a project, in the order of lists."""
        scope = project_scope(project)
        name = self._name(scope)
        try:
            return cast("tuple[Image, ...]", self._catalog.facts.get(name, self.revision))
        except NotCached:
            return self._run(images_lookup(project, self.revision), lambda images: self._cache(name, scope, images))

    def image(self, image: ImageId) -> Image | None:
        """A base or custom image, whatever its project; for operators. Not cached."""
        self.may_wait()
        with self._catalog.database.read() as connection:
            return find_image(connection, self.revision, image)

    def image_bytes_of(self, project: ProjectId) -> dict[ImageId, ImageBytes]:
        """The bytes of a project's images; of the base images for NO_PROJECT."""
        scope = project_scope(project) if project else BASE
        name = f"bytes:{scope}"
        return self._past(scope, lambda connection: image_bytes_at(connection, self.revision, project), name)

    def custom_images(self) -> tuple[Image, ...]:
        """Custom images of all projects, in no order."""
        return self._at_revision("custom", custom_images_at)

    def custom_image_bytes(self) -> dict[ImageId, ImageBytes]:
        """The bytes of the custom images of all projects."""
        return self._at_revision("custom bytes", custom_image_bytes_at)

    def tenant(self, account: AccountId) -> Tenant | None:
        """An account as it is now."""
        catalog, scope = self._catalog, account_scope(account)
        try:
            return cast("Tenant", catalog.facts.get(scope, catalog.head))
        except NotCached:
            found = self._run(tenant_lookup(account), partial(self._cache_tenant, scope))
            return None if found is None else found[1]

    def key(self, public: PublicKey) -> tuple[Key, PrivateKey] | None:
        """A key that works now, decrypted. None if there is no such key."""
        catalog, name = self._catalog, f"key:{public}"
        try:
            return cast("tuple[Key, PrivateKey]", catalog.facts.get(name, catalog.head))
        except NotCached:
            if "\0" in public:
                return None  # an error in PostgreSQL, whose texts have no NUL
            found = self._run(key_owner_lookup(public, catalog.key_encryption), partial(self._cache_key_owner, name))
            return None if found is None else found.key

    def host_key(self, id: PublicKey) -> HostKey | None:
        """A credential of a host that works now, decrypted. None if there is no such credential."""
        keys = self._past(HOSTS, lambda connection: host_keys(connection, self._catalog.key_encryption), "host keys")
        if id in keys:
            return keys[id]
        self.may_wait()  # another process may have made it a moment ago
        with self._catalog.database.read() as connection:
            return find_host_key(connection, self._catalog.key_encryption, id)

    def hosts_with_orders(self) -> frozenset[HostId]:
        """The hosts that have an open order."""
        return self._past(HOSTS, lambda connection: hosts_with_orders_at(connection, self.revision), "hosts with orders")

    def host_stock(self) -> HostStock:
        """The number of free hosts by machine type, zone and cluster, for those with a host."""
        return self._past(HOSTS, lambda connection: host_stock_at(connection, self.revision), "host stock")

    def account_scope(self, account: AccountId) -> str:
        """The scope of an account, its users, keys, projects and memberships."""
        return account_scope(account)

    def _past(self, scope: str, read: Callable[[Connection], Value], known_as: str = "") -> Value:
        """A value that belongs to a scope, cached by the scope's name, or by `known_as` where a scope has several values."""
        name = self._name(known_as or scope)
        try:
            value: Value = self._catalog.facts.get(name, self.revision)
        except NotCached:
            self.may_wait()
            with self._catalog.database.read() as connection:
                value = read(connection)
            self._cache(name, scope, value)
        return value

    def _at_revision(self, known_as: str, read: Callable[[Connection, Revision], Value]) -> Value:
        """A value that every change of an image makes stale: cached for this revision alone."""
        name = (known_as, self.revision)
        try:
            return cast("Value", self._catalog.facts.get(name, self.revision))
        except NotCached:
            self.may_wait()
            with self._catalog.database.read() as connection:
                value = read(connection, self.revision)
        self._catalog.facts.put(name, value, self.revision, (), _weight(value))
        return value

    def _name(self, name: str) -> Hashable:
        return (name, self.revision) if self.pinned else name

    def _cache(self, name: Hashable, scope: str, value: object) -> bool:
        return self._catalog.facts.put(name, value, self.revision, () if self.pinned else (scope,), _weight(value))

    def _cache_tenant(self, scope: str, found: tuple[Revision, Tenant] | None) -> bool:
        if found is None:  # not cached: callers could invent ids without end
            return False
        return self._catalog.facts.put(scope, found[1], found[0], (scope,))

    def _cache_key_owner(self, name: str, found: KeyOwner | None) -> bool:
        if found is None:
            return False
        scope = account_scope(found.key[0].account)
        self._catalog.facts.put(scope, found.tenant, found.read_at, (scope,))  # authentication reads the tenant next
        return self._catalog.facts.put(name, found.key, found.read_at, (scope,))

    def _run(self, lookup: Lookup[Value], cache: Callable[[Value], bool]) -> Value:
        """The result of a lookup, cached. Raises NotCached, with a coroutine to await, if this view must not block."""
        database = self._catalog.database
        database.circuit.check()
        if self._wait:
            with database.read() as connection:
                value = lookup.run_in(connection)
        elif database.is_local:
            value = lookup.run(database)
        else:

            async def fetch() -> bool:
                return cache(await lookup.run_async(database))

            raise NotCached(fetch)
        cache(value)
        return value


def _weight(value: object) -> int:
    if isinstance(value, Topology):  # one of every revision that somebody names may be cached
        return 1 + (len(value.zones) + len(value.machine_types) + len(value.offers)) // 10
    return 1 + len(value) // 10 if isinstance(value, tuple | dict | frozenset) else 1
