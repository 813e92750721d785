"""The ownership of a store: it belongs to one installation, because garbage collection removes what its database does not need.

A store has the id of its installation (`chunks.owner`). A store without one, new or of an older phimage, is claimed if its
contents fit the database. A store of another installation is refused until `phimage store adopt`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from msgspec import Struct

from phimage.catalog.accounts import installation_id
from phimage.catalog.engine import Database
from phimage.catalog.image_bytes import known_manifests, live_manifests
from phimage.chunks import owner
from phimage.chunks.decorators import Operation, Result, StoreDecorator
from phimage.chunks.errors import StoreFailure
from phimage.chunks.layout import MANIFESTS
from phimage.chunks.store import Store
from phimage.errors import SetupError
from phimage.event_log import log
from phimage.model.ids import InstallationId

_SHOWN = 8
"""Characters of an id in messages."""


class Ownership(Struct, frozen=True):
    """The comparison of a database with a store."""

    id: InstallationId
    owners: tuple[InstallationId, ...]  # ids in the store
    live: int  # manifests that images need now
    present: int  # manifests of images at any revision that the store has
    has_bytes: bool  # whether the store has any manifest or chunk

    @property
    def ours(self) -> bool:
        """Whether the store has this installation's id and no other."""
        return self.owners == (self.id,)

    @property
    def claimable(self) -> bool:
        """Whether a store without an id fits this installation."""
        return not self.owners and bool(self.present or not (self.live or self.has_bytes))


def compare(database: Database, store: Store) -> Ownership:
    """Compare a database with a store. Lists the store's manifests. Raises SetupError before the first start."""
    id = _own_id(database)
    with database.read() as connection:
        known, live = known_manifests(connection), len(live_manifests(connection))
    present = sum(stored.name.rpartition("/")[2] in known for stored in store.list(MANIFESTS)) if known else 0
    return Ownership(id, tuple(owner.owners(store)), live, present, owner.has_bytes(store))


def require_owned(database: Database, store: Store) -> None:
    """Claim a store without an id. Raises SetupError if the store does not belong to the installation."""
    if owner.owners(store) == [_own_id(database)]:
        return
    found = compare(database, store)
    if found.ours:  # claimed meanwhile by another process of the installation
        return
    if not found.claimable:
        raise SetupError(_refusal(found, store.describe()))
    if not owner.claim(store, found.id):
        raise SetupError(f"the store, {store.describe()}, is being claimed by another installation: run the same command again")


def require_owned_unless_away(database: Database, store: Store) -> None:
    """Like `require_owned`, but only logs a store that does not answer: `owned` verifies it at its first call."""
    try:
        require_owned(database, store)
    except StoreFailure as failure:
        if not failure.passing:
            raise
        log.warning("store.unverified", reason=str(failure))


def adopt(database: Database, store: Store) -> None:
    """Make the store the installation's, whatever it contains."""
    owner.adopt(store, _own_id(database))


def refusal(database: Database, store: Store) -> str:
    """Why the store is not the installation's; empty if it is, or can be claimed. Changes nothing."""
    found = compare(database, store)
    return "" if found.ours or found.claimable else _refusal(found, store.describe())


def is_used(store: Store) -> bool:
    """Whether a store has image bytes or an owner, so that a new installation cannot use it."""
    return bool(owner.owners(store)) or owner.has_bytes(store)


def owned(database: Database, store: Store) -> Store:
    """Decorate a store to verify its owner at the first call, so that servers and publishers start while their store is away.

    The refusal is a passing StoreFailure: an operator can adopt the store meanwhile.
    """
    accepted = threading.Event()

    def around(operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        if not accepted.is_set():
            try:
                require_owned(database, store)
            except SetupError as error:
                raise StoreFailure(operation, "", "refused", str(error), passing=True) from error
            accepted.set()
        return call()

    return StoreDecorator(store, around)


def _own_id(database: Database) -> InstallationId:
    with database.read() as connection:
        id = installation_id(connection)
    if id is None:
        raise SetupError("the database has no account yet: create one with `phimage serve`")
    return id


def shown(ids: Iterable[InstallationId]) -> str:
    """Abbreviated ids, for messages."""
    return ", ".join(id[:_SHOWN] for id in ids)


def _refusal(found: Ownership, place: str) -> str:
    check = "check PHIMAGE_STORE and PHIMAGE_DATABASE"
    adopt = "`phimage store adopt --yes` makes the store this installation's"
    if found.owners:
        belongs = f"belongs to installation {shown(found.owners)}, and this database is of {shown([found.id])}"
        return f"the store, {place}, {belongs}: {check}, or restore the lost database; {adopt}"
    if found.has_bytes:
        return f"the store, {place}, has image bytes that this database does not refer to: {check}; {adopt}"
    lost = f"the database refers to {found.live} manifests, and the store, {place}, has none"
    return f"{lost}: {check}, or restore the store from a backup; {adopt}"
