"""What a database says about its installation: its id, and the image bytes that it has ever referred to."""

from __future__ import annotations

from hashlib import sha256

from sqlalchemy import Connection, select

from phimage.catalog import tables
from phimage.model.ids import InstallationId


def installation_id(connection: Connection) -> InstallationId | None:
    """The id of the installation, None before its first start has ended.

    It is derived from the first key that was made, the operator's: its name is random, and its row stays in the log when the
    key is revoked. So a copy of the database has the same id, and another master key does not change it.
    """
    key = tables.key.c
    first = connection.execute(select(key.id).order_by(key.since, key.id).limit(1)).scalar()
    return None if first is None else InstallationId(sha256(f"phimage installation {first}".encode()).hexdigest()[:32])


def known_manifests(connection: Connection) -> set[str]:
    """Every manifest that an image has now or had at any revision."""
    manifest = tables.image_bytes.c.manifest
    return set(connection.execute(select(manifest).where(manifest != "").distinct()).scalars())
