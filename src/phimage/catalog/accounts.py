"""Accounts, users, keys, projects and memberships in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection, bindparam, func, select

from phimage.catalog import tables
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.question import Inquiry, Row
from phimage.catalog.revisions import Change, account_scope
from phimage.catalog.union import Union
from phimage.catalog.versioned_table import VersionedTable
from phimage.model.account import Account, Key, Membership, PrivateKey, Project, Tenant, User
from phimage.model.ids import (
    AccountId,
    PublicKey,
    RandomBytes,
    Revision,
    UserId,
    new_private_key,
    new_project_id,
    new_public_key,
)

FIRST_USER = 50_000_001
"""User ids count up from here; they fit Java's 32 bits for a long time."""

ACCOUNTS = VersionedTable(tables.account, Account, ("id",), lambda account: account_scope(account.id))
USERS = VersionedTable(tables.user, User, ("id",), lambda user: account_scope(user.account))
KEYS = VersionedTable(tables.key, Key, ("id",), lambda key: account_scope(key.account))
PROJECTS = VersionedTable(tables.project, Project, ("id",), lambda project: account_scope(project.account))
MEMBERSHIPS = VersionedTable(tables.membership, Membership, ("project", "user"), lambda member: account_scope(member.account))


_OF_KEY = (
    select(tables.key.c.account)
    .where(tables.key.c.id == bindparam("key"), tables.key.c.until == tables.LIVING)
    .scalar_subquery()
)
_CALLER = Union(
    (KEYS, tables.key.c.id == bindparam("key")),
    (ACCOUNTS, tables.account.c.id == _OF_KEY),
    (USERS, tables.user.c.account == _OF_KEY),
    (PROJECTS, tables.project.c.account == _OF_KEY),
    (MEMBERSHIPS, tables.membership.c.account == _OF_KEY),
)
_HOUSEHOLD = Union(
    (ACCOUNTS, tables.account.c.id == bindparam("account")),
    (USERS, tables.user.c.account == bindparam("account")),
    (PROJECTS, tables.project.c.account == bindparam("account")),
    (MEMBERSHIPS, tables.membership.c.account == bindparam("account")),
)


def tenant(connection: Connection, account: AccountId) -> Tenant | None:
    """An account as it is now with everything that belongs to it but its keys. None if there is no such account."""
    found = tenant_of(account).of(connection)
    return None if found is None else found[1]


def tenant_of(account: AccountId) -> Inquiry[tuple[Revision, Tenant] | None]:
    """Asks for an account as `tenant` tells it, and the revision that it is of."""

    def make(rows: Sequence[Row]) -> tuple[Revision, Tenant] | None:
        newest, (accounts, *parts) = _HOUSEHOLD.records(rows)
        return (newest, _tenant(accounts[0], *parts)) if accounts else None

    return Inquiry(_HOUSEHOLD.question, {"account": account}, make)


class Caller(Struct, frozen=True):
    """A key that works, opened, and its account, as of a revision."""

    read_at: Revision
    key: tuple[Key, PrivateKey]
    tenant: Tenant


def caller_of(public: PublicKey, key_encryption: KeyEncryption) -> Inquiry[Caller | None]:
    """Asks for whom a key belongs to; None if no such key works now."""

    def make(rows: Sequence[Row]) -> Caller | None:
        newest, (keys, accounts, *parts) = _CALLER.records(rows)
        if not (keys and accounts):
            return None
        opened = keys[0], key_encryption.open(public, keys[0].sealed)
        return Caller(newest, opened, _tenant(accounts[0], *parts))

    return Inquiry(_CALLER.question, {"key": public}, make)


def _tenant(account: Account, users: list[User], projects: list[Project], members: list[Membership]) -> Tenant:
    return Tenant(
        account=account,
        users={user.id: user for user in sorted(users, key=lambda user: user.id)},
        projects={project.id: project for project in sorted(projects, key=lambda item: (not item.default, item.id))},
        roles={(member.project, member.user): member.role for member in members},
    )


def find_key(connection: Connection, public: PublicKey) -> Key | None:
    """A key that works now."""
    return KEYS.find(connection, public)


def any_key(connection: Connection) -> Key | None:
    """Some key that works now; None if there is none."""
    found = connection.execute(select(tables.key.c.id).where(tables.key.c.until == tables.LIVING).limit(1)).first()
    return None if found is None else find_key(connection, PublicKey(found.id))


def keys_of(connection: Connection, account: AccountId) -> list[Key]:
    """The keys of an account that work now, oldest first."""
    return sorted(KEYS.live(connection, tables.key.c.account == account), key=lambda key: (key.created, key.id))


def all_accounts(connection: Connection) -> list[Account]:
    """Every account, by id."""
    return sorted(ACCOUNTS.live(connection), key=lambda account: account.id)


def any_account(connection: Connection) -> bool:
    """Whether there is an account at all."""
    found = select(tables.account.c.id).where(tables.account.c.until == tables.LIVING).limit(1)
    return connection.execute(found).first() is not None


def memberships_of(connection: Connection, account: AccountId) -> list[Membership]:
    """Who is a member of which project of an account."""
    return MEMBERSHIPS.live(connection, tables.membership.c.account == account)


def next_user(connection: Connection) -> UserId:
    """A user id that was never used. Call it inside a change, where writers take turns."""
    highest = connection.execute(select(func.max(tables.user.c.id))).scalar_one()
    return UserId(FIRST_USER if highest is None else highest + 1)


class NewKey(Struct, frozen=True):
    """A key that was just made. The private key is shown to its user once and is only sealed after that."""

    public: PublicKey
    private: PrivateKey


def add_account(change: Change, account: Account, random: RandomBytes) -> tuple[User, Project]:
    """Open an account with its main user and its default project, both as every account has them."""
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
    """Add a project to an account."""
    project = Project(new_project_id(random), account, name, default, int(change.author.time))
    PROJECTS.put(change, project)
    return project


def add_key(change: Change, user: User, key_encryption: KeyEncryption, random: RandomBytes) -> NewKey:
    """Give a user one more key."""
    new = NewKey(new_public_key(random), PrivateKey(new_private_key(random)))
    put_key(change, user, key_encryption, new)
    return new


def put_key(change: Change, user: User, key_encryption: KeyEncryption, new: NewKey) -> None:
    """Give a user a key that was made elsewhere."""
    created = int(change.author.time)
    KEYS.put(change, Key(new.public, user.account, user.id, key_encryption.close(new.public, new.private), created))


def remove_user(change: Change, user: User) -> None:
    """Take a user out of its account, with its keys and memberships."""
    for key in keys_of(change.connection, user.account):
        if key.user == user.id:
            KEYS.withdraw(change, key)
    for member in memberships_of(change.connection, user.account):
        if member.user == user.id:
            MEMBERSHIPS.withdraw(change, member)
    USERS.withdraw(change, user)


def remove_project(change: Change, project: Project) -> None:
    """Take a project out of its account, with its memberships. It must have no images."""
    for member in memberships_of(change.connection, project.account):
        if member.project == project.id:
            MEMBERSHIPS.withdraw(change, member)
    PROJECTS.withdraw(change, project)
