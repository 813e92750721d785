"""An installation: its data folder, master key, database and store; how the first start makes them, and how to open them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from phimage import ownership
from phimage.catalog import schema
from phimage.catalog.accounts import NewKey, add_account, add_key, any_account, any_key, encrypt_anew
from phimage.catalog.address import check_sqlite_file, database_url
from phimage.catalog.engine import Database, open_database
from phimage.catalog.key_encryption import KeyEncryption, make_master_key, read_master_key
from phimage.catalog.lookup import find_tenant
from phimage.catalog.revisions import Author
from phimage.catalog.views import Catalog
from phimage.chunks.factory import open_store
from phimage.chunks.store import Store
from phimage.errors import SetupError
from phimage.files import sync_folder
from phimage.model.account import Account
from phimage.model.ids import AccountId, RandomBytes, Revision
from phimage.settings import Settings
from phimage.waiting import Patience

OPERATOR = AccountId("operator")
"""The account that a new installation starts with."""
FIRST_REVISION = Revision(1)
"""The revision of the first start."""


class Prepared(Struct, frozen=True):
    """The result of `prepare`."""

    database: str
    new_key: NewKey | None  # the operator's first key, on the first start only
    unchanged: bool = False  # a later start, without a revision since the first


FirstRevisions = Callable[[Catalog, Store], NewKey | None]
"""Writes the first revisions of an installation, the operator account among them. Returns the operator's key; None if another
process has written them."""


def prepare(settings: Settings, first: FirstRevisions | None = None) -> Prepared:
    """Create what an installation lacks: folder, schema, master key, operator account. Can be repeated after a crash.

    `first` writes more than the operator account. Raises SetupError if something that exists does not fit, and StoreFailure if
    the store is away at a first start.
    """
    _refuse_unfinished_restore(settings)
    data = settings.data_folder
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        next(data.iterdir(), None)  # an existing folder may be unreadable
    except FileExistsError:
        raise SetupError(f"the data folder {data} is a file: choose another with --data-dir") from None
    except OSError as error:
        raise SetupError(f"the data folder {data} cannot be used: {error.strerror}; choose another with --data-dir") from None
    url = database_url(settings.database, data)
    if url.get_backend_name() == "sqlite":
        check_sqlite_file(Path(url.database or ""), must_exist=False)
    database = open_database(url)
    store = open_store(settings.store_place)
    try:
        is_first_start = not _has_account(database)
        if is_first_start:
            _prepare_first_start(settings, database, store)
        schema.check(database)
        catalog = _open(settings, database)
        new_key = None
        if is_first_start:
            new_key = open_operator_account(catalog) if first is None else first(catalog, store)
        ownership.require_owned_unless_away(database, store)  # does not raise: the caller must show the new key
        return Prepared(_shown(database), new_key, unchanged=not is_first_start and catalog.head == FIRST_REVISION)
    finally:
        store.close()
        database.close()


def _refuse_unfinished_restore(settings: Settings) -> None:
    try:
        is_unfinished = settings.restore_marker.exists()
    except OSError:  # an unreadable data folder: the next step reports it
        return
    if is_unfinished:
        raise SetupError(
            f"{settings.data_folder} is an unfinished restore of a backup: run the same `phimage backup restore` again"
        )


def _has_account(database: Database) -> bool:
    if database.is_missing or schema.version(database) is None:
        return False
    with database.read() as connection:
        return any_account(connection)


# docs/decisions.md#the-schema-is-made-before-the-master-key
def _prepare_first_start(settings: Settings, database: Database, store: Store) -> None:
    """Create the schema, then the master key. Raises SetupError if an existing key or store shows that the database was lost.

    Reads key and store before the database, because another process may be making its first start: it writes the key after
    the schema, and claims the store after the account.
    """
    had_key, store_is_used = settings.master_key_file.exists(), ownership.is_used(store)
    lost = f"{_shown(database)} is empty: restore the database from a backup"
    if had_key and (database.is_missing or schema.version(database) is None):
        key = settings.master_key_file
        raise SetupError(f"the master key {key} exists, but {lost}; for a new installation move the key away")
    if store_is_used and not _has_account(database):
        raise SetupError(f"the store, {store.describe()}, is in use, but {lost}; for a new installation choose another store")
    schema.create_or_check(database)
    with database.read() as connection:
        needs_key = not any_account(connection)
    if needs_key:
        _make_master_key(settings.master_key_file)


def _make_master_key(path: Path) -> None:
    try:
        make_master_key(path, secrets.token_bytes)
    except FileExistsError:
        pass  # by an interrupted start, or by another process at the same time: either key works
    except OSError as error:
        raise SetupError(f"the master key {path} cannot be written: {error.strerror}") from None


def _shown(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=True)


def _open(settings: Settings, database: Database) -> Catalog:
    catalog = Catalog(database, KeyEncryption(read_master_key(settings.master_key_file), secrets.token_bytes))
    with database.read() as connection:
        sample = any_key(connection)
    if sample is not None:
        try:
            catalog.key_encryption.decrypt(sample.id, sample.encrypted)
        except SetupError:  # the master key of another installation, or of before an interrupted rotation
            if _coming_key(settings.master_key_file).exists():
                raise SetupError(
                    "the rotation of the master key was interrupted: run `phimage key rotate-master` again"
                ) from None
            raise
    return catalog


def open_catalog(settings: Settings, patience: Patience | None = None) -> Catalog:
    """The catalogue of a prepared installation. Raises SetupError if there is none, or if the master key is not its own."""
    database = open_existing(settings, patience)
    try:
        schema.check(database)
        return _open(settings, database)
    except BaseException:
        database.close()
        raise


def open_existing(settings: Settings, patience: Patience | None = None) -> Database:
    """The database of an installation. Raises SetupError if there is none."""
    _refuse_unfinished_restore(settings)
    folder = settings.data_folder
    url = database_url(settings.database, folder)
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        try:
            exists = file.exists()
        except OSError as error:
            raise SetupError(f"{file} cannot be read: {error.strerror}") from None
        if not exists:
            place = file if settings.database else folder
            raise SetupError(
                f"there is no installation in {place}: name its folder with --data-dir, or create one with `phimage serve`"
            )
        check_sqlite_file(file, must_exist=True)
    return open_database(url, patience)


def command_author(action: str, now: float | None = None) -> Author:
    """The author of a revision that a command writes without the gateway."""
    return Author("command line", "local", "", action, time.time() if now is None else now)


def open_operator_account(
    catalog: Catalog, random: RandomBytes = secrets.token_bytes, now: float | None = None
) -> NewKey | None:
    """Create the operator account with its first key. None if another process has created it."""
    author = command_author("FirstStart", now)
    account = Account(id=OPERATOR, operator=True, company="", email="", zones=(), networks=(), created=int(author.time))
    with catalog.change(author) as change:
        if any_account(change.connection):
            return None
        user, _ = add_account(change, account, random)
        return add_key(change, user, catalog.key_encryption, random)


def recover_operator_key(settings: Settings, patience: Patience | None = None) -> NewKey:
    """Add a key to the operator account, in place of a lost one. Read access to the master key is the authorization."""
    catalog = open_catalog(settings, patience)
    try:
        with catalog.change(command_author("RecoverOperatorKey")) as change:
            tenant = find_tenant(change.connection, OPERATOR)
            if tenant is None:
                raise SetupError("there is no operator account yet: run `phimage serve` once")
            main = next(user for user in tenant.users.values() if user.main)
            return add_key(change, main, catalog.key_encryption, secrets.token_bytes)
    finally:
        catalog.database.close()


# docs/decisions.md#the-master-key-is-replaced-in-three-steps
def rotate_master_key(settings: Settings, patience: Patience | None = None) -> tuple[int, Path]:
    """Replace the master key and encrypt every private key anew. Can be repeated after a crash.

    Returns the number of encrypted rows, and the file that keeps the old key for older backups. Raises SetupError.
    """
    path = settings.master_key_file
    old, coming = KeyEncryption(read_master_key(path), secrets.token_bytes), _coming_key(path)
    database = open_existing(settings, patience)
    try:
        schema.check(database)
        _make_master_key(coming)
        new = KeyEncryption(read_master_key(coming), secrets.token_bytes)
        with database.write() as connection:
            count = encrypt_anew(connection, (old, new), new)
    finally:
        database.close()
    kept = path.with_name(f"{path.name}.{old.fingerprint()[:8]}")
    try:
        with suppress(FileExistsError):
            os.link(path, kept)
        coming.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise SetupError(f"{coming} cannot take the place of {path}: {error.strerror}; run the command again") from None
    return count, kept


def _coming_key(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


@contextmanager
def opened_store(settings: Settings, patience: Patience | None = None) -> Iterator[tuple[Catalog, Store]]:
    """The catalogue and the store of a prepared installation, for commands that run beside the server.

    Raises SetupError, also for a store of another installation. `patience` waits for both; then raises Unreachable or Locked.
    """
    with opened_unverified(settings, patience) as (catalog, store):
        ownership.require_owned(catalog.database, store)
        yield catalog, store


@contextmanager
def opened_unverified(settings: Settings, patience: Patience | None = None) -> Iterator[tuple[Catalog, Store]]:
    """Like `opened_store`, without checking that the store belongs to the installation."""
    catalog = open_catalog(settings, patience)
    try:
        store = open_store(settings.store_place, patience=patience)
        if patience is not None:
            store.find("health")  # wait here: an interrupted listing cannot be resumed
        yield catalog, store
    finally:
        catalog.database.close()
