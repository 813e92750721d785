"""The catalogue as one process sees it: what it knows of the newest revision, and views that remember what they read.

What is remembered belongs to a scope (`revisions`), and a scope is stale exactly when a later revision touched it. A view
looks at one revision from beginning to end, so that an answer never mixes two states.
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

from phimage.catalog.accounts import Caller, caller_of, tenant_of
from phimage.catalog.engine import Database
from phimage.catalog.image_bytes import awaited_at, image_bytes_at
from phimage.catalog.images import images_at, images_of
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.places import topology_at
from phimage.catalog.question import Inquiry
from phimage.catalog.revisions import (
    BASE,
    TOPOLOGY,
    Author,
    Change,
    Journal,
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
from phimage.model.ids import AccountId, ImageId, ProjectId, PublicKey, Revision
from phimage.model.image import NO_PROJECT, Image
from phimage.model.image_bytes import ImageBytes
from phimage.model.topology import Topology
from phimage.revision_cache import RevisionCache, ScopeVersions

Value = TypeVar("Value")

MAX_ENTRIES = 8_000
"""How many scopes a process remembers; one of many images counts once for every ten of them, which is about 6 kB."""
_LEARNED_SECONDS = 10.0
"""How long a process remembers when it learned of a revision. Of older ones it remembers only that they are older."""


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
        self._journal = Journal(database, self._committed)
        self._clock = clock
        with database.read() as connection:
            self.head = head(connection)
        self._learned = deque([(self.head, clock())])
        """Revisions that this process learned of, oldest first, and when; never empty."""

    def change(self, author: Author) -> AbstractContextManager[Change]:
        """Write one revision (see `Journal.change`). Views made after it see it."""
        return self._journal.change(author)

    def refresh(self) -> Revision:
        """Learn of revisions that other processes wrote. Returns the newest. It tries even when the database is away.

        Raises ServiceUnavailable. When the database asks for a newer program, this one does not use it again.
        """
        with self.database.read(probe=True) as connection:
            newest, oldest = head_and_oldest(connection)
            if reason := outdated(oldest):
                self.database.circuit.open(reason, for_good=True)
                raise ServiceUnavailable(detail=reason)
            if newest > self.head:
                scopes = touched(connection, self.head, newest)
                self._advance(newest, scopes)
        return self.head

    def now(self, *, wait: bool) -> View:
        """A view of the newest revision that this process knows. With `wait=False` it raises NotCached, never reads."""
        return View(self, self.head, pinned=False, wait=wait)

    def at(self, revision: Revision, *, wait: bool) -> View:
        """A view of a past revision."""
        return View(self, revision, pinned=True, wait=wait)

    def revision_at(self, time: int) -> Revision:
        """The newest revision at a time, in microseconds since 1970."""
        with self.database.read() as connection:
            return revision_at(connection, time)

    def known_for(self, revision: Revision) -> float:
        """For how many seconds this process has known of a revision, at least; negative when it does not know of it."""
        with self._lock:
            if revision > self.head:
                return -1.0
            return self._clock() - next(at for known, at in self._learned if known >= revision)

    def on_new_revision(self, listener: Callable[[], object]) -> None:
        """Call a listener, from any thread, whenever this process learns of a newer revision."""
        self._listeners.append(listener)

    def _committed(self, revision: Revision, scopes: frozenset[str]) -> None:
        if revision == self.head + 1:
            self._advance(revision, dict.fromkeys(scopes, revision))
        else:
            try:
                self.refresh()
            except ServiceUnavailable:  # it is committed, whatever happens now, and whoever made it must not see less
                self._advance(revision, None)

    def _advance(self, newest: Revision, scopes: dict[str, Revision] | None) -> None:
        with self._lock:
            if newest <= self.head:
                return
            if scopes is None:
                self.scope_versions.note_all(newest)
            else:
                self.scope_versions.note(scopes, newest)
            self.head = newest
            self._learned.append((newest, now := self._clock()))
            while self._learned[1][1] < now - _LEARNED_SECONDS:
                self._learned.popleft()
        for listener in self._listeners:
            listener()


class View:
    """The catalogue at one revision. Who may ask is always read from the present, whatever the revision."""

    def __init__(self, catalog: Catalog, revision: Revision, *, pinned: bool, wait: bool) -> None:
        self.revision = revision
        self.pinned = pinned
        self._catalog = catalog
        self._wait = wait

    def may_wait(self) -> None:
        """Raises NotCached if this view may not read: for callers that are about to read or write by themselves.

        Raises ServiceUnavailable instead when the database is known to be away, so that no thread is taken for nothing.
        """
        if not self._wait:
            self._catalog.database.circuit.check()
            raise NotCached

    def topology(self) -> Topology:
        """Places and machine types."""
        return self._past(TOPOLOGY, lambda connection: topology_at(connection, self.revision))

    def base_images(self) -> tuple[Image, ...]:
        """Base images, in the order of lists."""
        return self._past(BASE, lambda connection: images_at(connection, self.revision, NO_PROJECT))

    def awaited(self) -> frozenset[ImageId]:
        """The base images whose first bytes are not whole."""
        return self._past(BASE, lambda connection: awaited_at(connection, self.revision), "awaited")

    def images_of(self, project: ProjectId) -> tuple[Image, ...]:
        """Custom images of a project, in the order of lists."""
        scope = project_scope(project)
        name = self._name(scope)
        try:
            return cast("tuple[Image, ...]", self._catalog.facts.get(name, self.revision))
        except NotCached:
            inquiry = images_of(project, self.revision)
            return self._inquired(inquiry, lambda images: self._keep(name, scope, images))

    def image_bytes_of(self, project: ProjectId) -> dict[ImageId, ImageBytes]:
        """What is known of the bytes of a project's images; of the base images with NO_PROJECT."""
        scope = project_scope(project) if project else BASE
        name = f"content:{scope}"
        return self._past(scope, lambda connection: image_bytes_at(connection, self.revision, project), name)

    def tenant(self, account: AccountId) -> Tenant | None:
        """An account as it is now."""
        catalog, scope = self._catalog, account_scope(account)
        try:
            return cast("Tenant", catalog.facts.get(scope, catalog.head))
        except NotCached:
            found = self._inquired(tenant_of(account), partial(self._keep_tenant, scope))
            return None if found is None else found[1]

    def key(self, public: PublicKey) -> tuple[Key, PrivateKey] | None:
        """A key that works now, opened. None if there is no such key."""
        catalog, name = self._catalog, f"key:{public}"
        try:
            return cast("tuple[Key, PrivateKey]", catalog.facts.get(name, catalog.head))
        except NotCached:
            if "\0" in public:
                return None  # PostgreSQL has no such text and would call the question an error
            found = self._inquired(caller_of(public, catalog.key_encryption), partial(self._keep_caller, name))
            return None if found is None else found.key

    def account_scope(self, account: AccountId) -> str:
        """The scope of an account, its users, keys, projects and memberships."""
        return account_scope(account)

    def _past(self, scope: str, read: Callable[[Connection], Value], known_as: str = "") -> Value:
        """What is read in a scope, remembered by the scope's name or, where a scope has several, by another one."""
        name = self._name(known_as or scope)
        try:
            value: Value = self._catalog.facts.get(name, self.revision)
        except NotCached:
            self.may_wait()
            with self._catalog.database.read() as connection:
                value = read(connection)
            self._keep(name, scope, value)
        return value

    def _name(self, name: str) -> Hashable:
        return (name, self.revision) if self.pinned else name

    def _keep(self, name: Hashable, scope: str, value: object) -> bool:
        weight = 1 + len(value) // 10 if isinstance(value, tuple | dict) else 1
        return self._catalog.facts.put(name, value, self.revision, () if self.pinned else (scope,), weight)

    def _keep_tenant(self, scope: str, found: tuple[Revision, Tenant] | None) -> bool:
        if found is None:  # what does not exist is not remembered: anyone can ask for it, without end
            return False
        return self._catalog.facts.put(scope, found[1], found[0], (scope,))

    def _keep_caller(self, name: str, found: Caller | None) -> bool:
        if found is None:
            return False
        scope = account_scope(found.key[0].account)
        self._catalog.facts.put(scope, found.tenant, found.read_at, (scope,))  # who calls is asked for next
        return self._catalog.facts.put(name, found.key, found.read_at, (scope,))

    def _inquired(self, inquiry: Inquiry[Value], keep: Callable[[Value], bool]) -> Value:
        """What comes of an inquiry, kept. Raises NotCached with the way to fetch it if this view may not read by itself."""
        database = self._catalog.database
        database.circuit.check()
        if self._wait:
            with database.read() as connection:
                value = inquiry.of(connection)
        elif database.is_near:
            value = database.look(inquiry)
        else:

            async def fetch() -> bool:
                return keep(await database.ask(inquiry))

            raise NotCached(fetch)
        keep(value)
        return value
