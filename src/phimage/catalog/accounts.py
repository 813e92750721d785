"""Accounts, users, keys, projects and memberships in SQL; the use of keys that server processes report, and nonces."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from hashlib import sha256

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from phimage.catalog import tables
from phimage.catalog.engine import Database
from phimage.catalog.hosts import encrypted_host_keys, replace_encrypted
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.revisions import Change, account_scope
from phimage.catalog.versioned_table import VersionedTable
from phimage.errors import ServiceUnavailable, SetupError, WrongSignature
from phimage.http_signature import MAX_AGE_SECONDS
from phimage.model.account import Account, Key, Membership, PrivateKey, Project, User
from phimage.model.ids import (
    AccountId,
    InstallationId,
    PublicKey,
    RandomBytes,
    UserId,
    new_private_key,
    new_project_id,
    new_public_key,
)

NONCE_SECONDS = 3 * MAX_AGE_SECONDS
"""A signature is valid for MAX_AGE_SECONDS before and after its time, so it is not admitted after twice that. The rest is for a
change that was admitted and waits for the database, and for servers whose clocks differ."""
FIRST_USER = UserId(50_000_001)
"""The lowest user id. Ids fit into the 32 bits of clients in Java."""

ACCOUNTS = VersionedTable(tables.account, Account, ("id",), lambda account: account_scope(account.id))
USERS = VersionedTable(tables.user, User, ("id",), lambda user: account_scope(user.account))
KEYS = VersionedTable(tables.key, Key, ("id",), lambda key: account_scope(key.account))
PROJECTS = VersionedTable(tables.project, Project, ("id",), lambda project: account_scope(project.account))
MEMBERSHIPS = VersionedTable(tables.membership, Membership, ("project", "user"), lambda member: account_scope(member.account))


def find_key(connection: Connection, public: PublicKey) -> Key | None:
    """A key that works now; None if there is none of that name."""
    return KEYS.find(connection, public)


def any_key(connection: Connection) -> Key | None:
    """Any key that works now; None if there is none."""
    row = connection.execute(select(tables.key.c.id).where(tables.key.c.until == tables.LIVING).limit(1)).first()
    return None if row is None else find_key(connection, PublicKey(row.id))


# docs/decisions.md#a-store-belongs-to-one-installation
def installation_id(connection: Connection) -> InstallationId | None:
    """The id of the installation; None before its first start has ended.

    Derived from the name of the first key, which is random and whose row stays when the key is revoked. So a copy of the
    database has the same id, and another master key does not change it.
    """
    key = tables.key.c
    first = connection.execute(select(key.id).order_by(key.since, key.id).limit(1)).scalar()
    return None if first is None else InstallationId(sha256(f"phimage installation {first}".encode()).hexdigest()[:32])


def keys_of(connection: Connection, account: AccountId) -> list[Key]:
    """The keys of an account that work now, oldest first."""
    return sorted(KEYS.live(connection, tables.key.c.account == account), key=lambda key: (key.created, key.id))


def all_accounts(connection: Connection) -> list[Account]:
    """All accounts, by id."""
    return sorted(ACCOUNTS.live(connection), key=lambda account: account.id)


def any_account(connection: Connection) -> bool:
    """Whether there is any account."""
    query = select(tables.account.c.id).where(tables.account.c.until == tables.LIVING).limit(1)
    return connection.execute(query).first() is not None


def memberships_of(connection: Connection, account: AccountId) -> list[Membership]:
    """The memberships of all projects of an account."""
    return MEMBERSHIPS.live(connection, tables.membership.c.account == account)


def next_user(connection: Connection) -> UserId:
    """A user id that was never used. Must be called inside a change, which excludes other writers."""
    highest = connection.execute(select(func.max(tables.user.c.id))).scalar_one()
    return FIRST_USER if highest is None else UserId(highest + 1)


class NewKey(Struct, frozen=True):
    """A new key. Its private key is shown to the user once; afterwards only the encrypted key exists."""

    public: PublicKey
    private: PrivateKey


def add_account(change: Change, account: Account, random: RandomBytes) -> tuple[User, Project]:
    """Create an account with its main user and its default project."""
    ACCOUNTS.put(change, account)
    user = add_user(change, account.id, "main", account.email, main=True)
    return user, add_project(change, account.id, "Default", random, default=True)


def add_user(change: Change, account: AccountId, name: str, email: str, *, main: bool = False) -> User:
    """Add a user to an account."""
    created = int(change.author.time)
    user = User(next_user(change.connection), account, name, email, main, created)
    USERS.put(change, user)
    return user


def add_project(change: Change, account: AccountId, name: str, random: RandomBytes, *, default: bool = False) -> Project:
    """Add a project to an account. Raises ServiceUnavailable for a random id that another project has or had."""
    id = new_project_id(random)
    if PROJECTS.had(change.connection, id):
        raise ServiceUnavailable(detail="the random id is already in use; try again")
    project = Project(id, account, name, default, int(change.author.time))
    PROJECTS.put(change, project)
    return project


def add_key(change: Change, user: User, key_encryption: KeyEncryption, random: RandomBytes, expires: int = 0) -> NewKey:
    """Create a key for a user, which stops working at the Unix time `expires`; 0 for never."""
    new = new_key(random)
    put_key(change, user, key_encryption, new, expires)
    return new


def new_key(random: RandomBytes) -> NewKey:
    """A key that nobody has yet."""
    return NewKey(new_public_key(random), PrivateKey(new_private_key(random)))


# docs/decisions.md#the-master-key-is-replaced-in-three-steps
def encrypt_anew(connection: Connection, known: Collection[KeyEncryption], new: KeyEncryption) -> int:
    """Encrypt every private key, also of past revisions and of hosts, under another master key. Returns the number of rows.

    `known` are the master keys under which they may be now. Raises SetupError for a row that none of them decrypts.
    """
    rows = tables.key
    found = connection.execute(select(rows.c.id, rows.c.since, rows.c.encrypted)).all()
    for row in found:
        private = _decrypted(PublicKey(row.id), row.encrypted, known)
        where = (rows.c.id == row.id) & (rows.c.since == row.since)
        connection.execute(update(rows).where(where).values(encrypted=new.encrypt(PublicKey(row.id), private)))
    of_hosts = encrypted_host_keys(connection)
    for id, encrypted in of_hosts:
        replace_encrypted(connection, id, new.encrypt(id, _decrypted(id, encrypted, known)))
    return len(found) + len(of_hosts)


def _decrypted(public: PublicKey, encrypted: bytes, known: Collection[KeyEncryption]) -> PrivateKey:
    *others, last = known
    for key_encryption in others:
        with suppress(SetupError):
            return key_encryption.decrypt(public, encrypted)
    return last.decrypt(public, encrypted)


def put_key(change: Change, user: User, key_encryption: KeyEncryption, new: NewKey, expires: int = 0) -> None:
    """Add an existing key to a user. Raises SetupError if the master key is not that of the other keys any more."""
    sample = any_key(change.connection)
    if sample is not None:
        key_encryption.decrypt(sample.id, sample.encrypted)
    encrypted, created = key_encryption.encrypt(new.public, new.private), int(change.author.time)
    KEYS.put(change, Key(new.public, user.account, user.id, encrypted, created, expires))


def remove_user(change: Change, user: User) -> None:
    """Withdraw a user with its keys and memberships."""
    for key in keys_of(change.connection, user.account):
        if key.user == user.id:
            KEYS.withdraw(change, key)
    for member in memberships_of(change.connection, user.account):
        if member.user == user.id:
            MEMBERSHIPS.withdraw(change, member)
    USERS.withdraw(change, user)


def remove_project(change: Change, project: Project) -> None:
    """Withdraw a project with its memberships. It must have no images."""
    for member in memberships_of(change.connection, project.account):
        if member.project == project.id:
            MEMBERSHIPS.withdraw(change, member)
    PROJECTS.withdraw(change, project)


# docs/decisions.md#nonces-belong-to-the-change
def use_nonce(connection: Connection, key: PublicKey, nonce: str, now: float) -> None:
    """Record that a key used a nonce, inside the transaction of the change that it signs; nothing for an empty one.

    Raises WrongSignature when it was used before; the transaction must then end. Forgets nonces after NONCE_SECONDS.
    """
    if not nonce:
        return
    rows = tables.nonce
    connection.execute(delete(rows).where(rows.c.time < int(now) - NONCE_SECONDS))
    try:
        connection.execute(insert(rows), {"key": key, "nonce": nonce, "time": int(now)})
    except IntegrityError:
        raise WrongSignature(detail="the nonce was used before: sign every request anew") from None


def report_use(database: Database, keys: Collection[PublicKey], day: str) -> None:
    """Record that keys were used on a day, such as 2026-02-28, unless a later day is recorded. Writes no revision."""
    with database.read() as connection:
        known = last_use(connection, keys)
    news = [{"key": key, "day": day} for key in keys if known.get(key, "") < day]
    if not news:
        return
    with database.write() as connection:
        connection.execute(delete(tables.key_use).where(tables.key_use.c.key.in_([row["key"] for row in news])))
        connection.execute(insert(tables.key_use), news)


def last_use(connection: Connection, keys: Collection[PublicKey]) -> dict[PublicKey, str]:
    """The last day on which each of some keys was used; a key that was never used is absent."""
    rows = connection.execute(select(tables.key_use).where(tables.key_use.c.key.in_(keys)))
    return {PublicKey(row.key): row.day for row in rows}


def exchange_rates(
    database: Database, process: str, used: Mapping[PublicKey, int], now: float, gone: Collection[str] = ()
) -> dict[str, dict[PublicKey, int]]:
    """Report how many requests this process has admitted in total, by key; return the reports of all other processes.

    Writes no revision. Removes the reports of processes that are `gone`. `now` only dates the rows.
    """
    rows = tables.rate_use
    with database.write() as connection:
        connection.execute(delete(rows).where(rows.c.process.in_([process, *gone])))
        if used:
            report = [{"key": key, "process": process, "used": count, "time": int(now)} for key, count in used.items()]
            connection.execute(insert(rows), report)
        others = select(rows.c.process, rows.c.key, rows.c.used).where(rows.c.process != process)
        reports: dict[str, dict[PublicKey, int]] = {}
        for other, key, count in connection.execute(others):
            reports.setdefault(other, {})[PublicKey(key)] = int(count)
        return reports
