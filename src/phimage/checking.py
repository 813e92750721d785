"""`phimage db check`: a database, and whether the store has what it refers to."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from phimage import care, ownership
from phimage.bootstrap import open_existing
from phimage.catalog.engine import Database
from phimage.catalog.integrity import Finding, Progress, check
from phimage.catalog.key_encryption import KeyEncryption, read_master_key
from phimage.chunks.errors import StoreFailure
from phimage.chunks.factory import open_store
from phimage.chunks.store import Store
from phimage.settings import Settings
from phimage.waiting import Patience


def check_installation(settings: Settings, progress: Progress, patience: Patience | None = None) -> list[Finding]:
    """Check the database, then the store against it. Raises SetupError when there is no database or no master key.

    With `patience` both are waited for.

    Opens the database without looking into it first, so that whatever is wrong inside is a finding.
    """
    database = open_existing(settings, patience)
    try:
        found = check(database, KeyEncryption(read_master_key(settings.master_key_file), secrets.token_bytes), progress)
        return found or list(_check_store(database, open_store(settings.store_place, patience=patience)))
    finally:
        database.close()


def _check_store(database: Database, store: Store) -> Iterator[Finding]:
    try:
        if refusal := ownership.refusal(database, store):
            yield Finding("store", "", refusal)
        for missing in care.find_missing(database, store):
            images, found = ", ".join(missing.images), missing.finding
            yield Finding("store", "content", f"{images}: manifest {found.manifest}: {found.reason}")
    except StoreFailure as failure:
        yield Finding("store", "", f"it cannot be compared: {failure}")
