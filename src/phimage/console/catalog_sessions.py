"""Sessions of the console: how they begin, by a login code or a proof of a key, and whose they are.

A session is worth what its key is worth at the moment. Calls may block, but for `find` and `nonce`: they run in threads.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from phimage.catalog import console_sessions
from phimage.catalog.accounts import use_nonce
from phimage.catalog.console_sessions import USE_SECONDS, StoredSession
from phimage.catalog.views import Catalog
from phimage.console.browser_origin import BrowserOrigin, form_token
from phimage.console.nonces import KeyProof, Nonces
from phimage.console.session import ConsoleSession
from phimage.errors import NotCached, ServiceUnavailable, UnknownUser, WrongSignature
from phimage.event_log import log
from phimage.gateway.access import check_each_time, find_caller
from phimage.gateway.rate import RateLimit
from phimage.gateway.registry import Caller, Credential
from phimage.lru import Lru
from phimage.model.account import PrivateKey, Right, Tenant, User
from phimage.model.ids import ProjectId, PublicKey, RandomBytes, new_secret
from phimage.model.image import NO_PROJECT

NONCE_SECONDS = 60
"""Seconds in which a nonce can be used: the page gets one when its form is sent."""
MAX_REMEMBERED = 1000
"""Sessions that one process remembers, for the time that the database is away."""


class NewSession(Struct, frozen=True):
    """A session that has begun: its secret, for the cookie alone, and whose it is."""

    secret: str
    caller: Caller


class CatalogSessions:
    """The sessions of an installation. Safe to use from several threads and processes."""

    def __init__(
        self,
        catalog: Catalog,
        rate_limit: RateLimit | None = None,
        *,
        random: RandomBytes = secrets.token_bytes,
        now: Callable[[], float] = time.time,
        signed_now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now` dates codes and sessions, and `signed_now` the nonces of proofs."""
        self._catalog = catalog
        self._rate_limit = rate_limit
        self._random = random
        self._now = now
        self._signed_now = signed_now
        self._monotonic = monotonic
        self._nonces = Nonces(catalog.key_encryption.derive("console sign-in"), NONCE_SECONDS, random, signed_now)
        self._remembered: Lru[str, StoredSession] = Lru(MAX_REMEMBERED)
        self._lock = threading.Lock()

    def nonce(self) -> str:
        """A nonce for one proof of a key. Does not block."""
        return self._nonces.make()

    def begin_by_code(self, code: str, address: str) -> NewSession:
        """Begin a session with a login code. Raises WrongSignature for one that cannot be used, and what `_admit` raises."""
        now, key = self._now(), None
        with self._catalog.database.read() as connection:
            is_code = console_sessions.is_code(connection, code, now)
        if is_code:  # who guesses codes must not keep others from writing
            with self._catalog.database.write() as connection:
                key = console_sessions.use_code(connection, code, now)
        if key is None:
            raise WrongSignature(detail="the link was used before or is older than a minute; `phimage console` makes another")
        return self._begin(self._admit(key, address), address)

    def begin_by_proof(self, proof: KeyProof, address: str) -> NewSession:
        """Begin a session with a proof of a private key. Raises WrongSignature, and what `_admit` raises."""
        used = self._nonces.read(proof.nonce)
        _, private = self._person(proof.public_key)
        if not proof.is_by(private):
            raise WrongSignature
        caller = self._admit(proof.public_key, address)
        with self._catalog.database.write() as connection:
            use_nonce(connection, caller.key, used, self._signed_now())
        return self._begin(caller, address)

    async def find(self, cookies: Mapping[str, str], origin: BrowserOrigin) -> ConsoleSession | None:
        """See `Sessions`."""
        secret = origin.secret(cookies)
        if not secret:
            return None
        try:
            return await self._find_at_once(secret)
        except (NotCached, ServiceUnavailable):
            return await asyncio.to_thread(self._find_in_thread, secret)

    # docs/decisions.md#pages-are-rendered-on-the-event-loop
    async def _find_at_once(self, secret: str) -> ConsoleSession | None:
        """The session, by one statement on the event loop. Raises ServiceUnavailable; NotCached when a thread must find it."""
        database, now = self._catalog.database, self._now()
        database.circuit.check()
        lookup = console_sessions.session_lookup(secret, now)
        stored = lookup.run(database) if database.is_local else await lookup.run_async(database)
        if stored is None:
            self._forget(secret)
            return None
        if now - stored.used >= USE_SECONDS:  # its use is to be recorded
            raise NotCached
        self._remember(secret, stored)
        return self._session(secret, stored.key, wait=False)

    def _find_in_thread(self, secret: str) -> ConsoleSession | None:
        key = self.key_of(secret)
        return None if key is None else self._session(secret, key)

    def _session(self, secret: str, key: PublicKey, *, wait: bool = True) -> ConsoleSession | None:
        """The session of a key. With `wait=False` it raises NotCached instead of blocking."""
        try:
            caller, _ = self._person(key, wait=wait)
        except UnknownUser:  # the session ended with its key
            return None
        if caller.expires and self._now() >= caller.expires:
            return None
        tenant, user = caller.tenant, caller.user
        operator = tenant.account.operator
        return ConsoleSession(
            key=key,
            account=tenant.account.id,
            user=user.name,
            is_operator=operator,
            token=form_token(secret),
            may_change=operator or any(tenant.right(user, id) >= Right.CHANGE for id in tenant.projects),
            project=NO_PROJECT if operator or user.main else _first_project(tenant, user),
        )

    def key_of(self, secret: str) -> PublicKey | None:
        """The key of a session; None for one that has ended or never was. Records its use, once a minute.

        While the database is away, a session that this process has seen before continues. Raises ServiceUnavailable for others.
        """
        now = self._now()
        try:
            with self._catalog.database.read() as connection:
                session = console_sessions.find(connection, secret, now)
        except ServiceUnavailable:
            session = self._recall(secret)
            if session is None or not session.is_valid(now):
                raise
            return session.key
        if session is None:
            self._forget(secret)
            return None
        if now - session.used >= USE_SECONDS:
            session = self._record_use(secret, session, now)
        self._remember(secret, session)
        return session.key

    def end(self, secret: str) -> None:
        """End a session on all servers. Idempotent. Raises ServiceUnavailable."""
        self._forget(secret)
        with self._catalog.database.write() as connection:
            console_sessions.end(connection, secret)

    def _person(self, key: PublicKey, *, wait: bool = True) -> tuple[Caller, PrivateKey]:
        """Whose key it is, and the private key. Raises UnknownUser, also for the credentials of hosts.

        With `wait=False` it raises NotCached instead of blocking.
        """
        caller, private = find_caller(key, self._catalog.now(wait=wait))
        if caller.credential is not Credential.KEY:
            raise UnknownUser(detail="the key is that of a host's agent: sign in with the key of a user")
        return caller, private

    def _admit(self, key: PublicKey, address: str) -> Caller:
        """The caller, after the checks of a request. Raises UnknownUser, AddressRefused and RateLimited."""
        try:
            caller, _ = self._person(key)
        except UnknownUser:
            raise UnknownUser(detail="the key was revoked or has expired") from None
        check_each_time(caller, address, self._now())
        if self._rate_limit is not None:
            self._rate_limit.spend(key, self._monotonic())
        return caller

    def _begin(self, caller: Caller, address: str) -> NewSession:
        secret = new_secret(self._random)
        with self._catalog.database.write() as connection:
            console_sessions.begin(connection, secret, caller.key, self._now())
        log.info("console.signed_in", actor=caller.actor, address=address)
        return NewSession(secret, caller)

    def _record_use(self, secret: str, session: StoredSession, now: float) -> StoredSession:
        try:
            with self._catalog.database.write() as connection:
                console_sessions.record_use(connection, secret, now)
        except ServiceUnavailable:  # a busy database; the next request tries again
            return session
        return replace(session, used=int(now))

    def _recall(self, secret: str) -> StoredSession | None:
        with self._lock:
            return self._remembered.get(secret)

    def _remember(self, secret: str, session: StoredSession) -> None:
        with self._lock:
            self._remembered.put(secret, session)

    def _forget(self, secret: str) -> None:
        with self._lock:
            self._remembered.remove(secret)


def _first_project(tenant: Tenant, user: User) -> ProjectId:
    """The default project if the user sees it, or the first one by id that it sees; NO_PROJECT without any."""
    seen = [project for project in tenant.projects.values() if tenant.right(user, project.id) >= Right.READ]
    return min(seen, key=lambda project: (not project.default, project.id)).id if seen else NO_PROJECT
