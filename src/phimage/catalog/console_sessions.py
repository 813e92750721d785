"""Login codes and sessions of the console in SQL, shared by all servers of an installation.

A row has the SHA-256 of a secret, never the secret. A code or a session belongs to a key, and is worth nothing without it: its
holder is looked up by the key each time, so both end when the key is revoked or expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, or_, select, update

from phimage.catalog import tables
from phimage.catalog.engine import Row
from phimage.catalog.lookup import Lookup, statement
from phimage.model.ids import PublicKey

CODE_SECONDS = 60
"""Seconds in which a login code can be used, once."""
IDLE_SECONDS = 3600
"""A session ends after this time without a request."""
MAX_SESSION_SECONDS = 12 * 3600
"""A session ends after this time in any case."""
# docs/decisions.md#sessions-of-the-console-are-rows
USE_SECONDS = 60
"""Seconds between two writes of the last use of a session, so that most requests only read."""
MAX_SESSIONS = 20
"""Sessions of one key at the same time; another one ends the session that was idle longest."""
_SESSION = statement("SELECT key, started, used FROM console_session WHERE digest = :digest LIMIT :max_rows")


class StoredSession(Struct, frozen=True):
    """A session that is valid: its key, its start and its last recorded use, in Unix seconds."""

    key: PublicKey
    started: int
    used: int

    def is_valid(self, now: float) -> bool:
        """Whether it is neither idle for too long nor too old."""
        return now < min(self.used + IDLE_SECONDS, self.started + MAX_SESSION_SECONDS)


def add_code(connection: Connection, code: str, key: PublicKey, now: float) -> int:
    """Record a login code of a key, and forget the expired ones. Returns when it expires."""
    rows, expires = tables.login_code, int(now) + CODE_SECONDS
    connection.execute(delete(rows).where(rows.c.expires <= int(now)))
    connection.execute(insert(rows), {"digest": digest(code), "key": key, "expires": expires})
    return expires


def is_code(connection: Connection, code: str, now: float) -> bool:
    """Whether a code can be used now."""
    rows = tables.login_code
    return connection.execute(select(rows.c.key).where(rows.c.digest == digest(code), rows.c.expires > now)).first() is not None


def use_code(connection: Connection, code: str, now: float) -> PublicKey | None:
    """The key of a code, which cannot be used again; None if it was used, has expired or never existed. Atomic."""
    rows, named = tables.login_code, digest(code)
    found = connection.execute(select(rows.c.key).where(rows.c.digest == named, rows.c.expires > now)).scalar()
    used = connection.execute(delete(rows).where(rows.c.digest == named)).rowcount  # 0 if another request was faster
    return PublicKey(found) if found is not None and used else None


def begin(connection: Connection, secret: str, key: PublicKey, now: float) -> None:
    """Begin a session of a key, and forget those that have ended. Ends the key's oldest ones beyond MAX_SESSIONS."""
    rows = tables.console_session
    ended = or_(rows.c.used <= int(now) - IDLE_SECONDS, rows.c.started <= int(now) - MAX_SESSION_SECONDS)
    connection.execute(delete(rows).where(ended))
    newest_first = select(rows.c.digest).where(rows.c.key == key).order_by(rows.c.used.desc(), rows.c.started.desc())
    surplus = connection.execute(newest_first.offset(MAX_SESSIONS - 1)).scalars().all()
    connection.execute(delete(rows).where(rows.c.digest.in_(surplus)))
    connection.execute(insert(rows), {"digest": digest(secret), "key": key, "started": int(now), "used": int(now)})


def session_lookup(secret: str, now: float) -> Lookup[StoredSession | None]:
    """The valid session of a secret; None if there is none, or no longer."""

    def decode(rows: Sequence[Row]) -> StoredSession | None:
        session = StoredSession(*rows[0]) if rows else None
        return session if session is not None and session.is_valid(now) else None

    return Lookup(_SESSION, {"digest": digest(secret)}, decode)


def find(connection: Connection, secret: str, now: float) -> StoredSession | None:
    """The result of `session_lookup` in a transaction."""
    return session_lookup(secret, now).run_in(connection)


def record_use(connection: Connection, secret: str, now: float) -> None:
    """Record that a session was used now. Does nothing for one that has ended meanwhile."""
    rows = tables.console_session
    connection.execute(update(rows).where(rows.c.digest == digest(secret), rows.c.used < int(now)).values(used=int(now)))


def end(connection: Connection, secret: str) -> None:
    """End a session. Idempotent."""
    rows = tables.console_session
    connection.execute(delete(rows).where(rows.c.digest == digest(secret)))


def digest(secret: str) -> str:
    """The name of a secret in the database. The secret has 256 random bits, so it needs no salt and no slow hash."""
    return sha256(secret.encode()).hexdigest()
