"""Everything of the program that the kept data is opened with. When a name changes there, it changes here alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from phimage.catalog import schema
from phimage.installation import open_existing, opened_store
from phimage.maintenance import verify
from phimage.maintenance.check import check
from phimage.model.ids import ImageId
from phimage.settings import Settings
from tests.api.gateway import running, settings_for

__all__ = ["Settings", "damage", "running", "settings_of", "upgrade"]


def settings_of(data: Path, database: str = "") -> Settings:
    """The settings of an installation: its data folder, and its PostgreSQL when it has one."""
    recorded = {"allow_legacy_operator_signatures": True}  # requests from before there was a second version
    return settings_for(data, database=database, max_original_gb=1, min_free_mb=0, **recorded)


def upgrade(settings: Settings) -> None:
    """Bring the database to the schema of this program."""
    database = open_existing(settings)
    try:
        schema.upgrade(database)
        assert schema.version(database) == schema.newest()
    finally:
        database.close()


def damage(settings: Settings, images: Iterable[str]) -> list[object]:
    """What `db check` finds, and what `image verify --whole-disk` finds of images; an image without bytes raises SetupError."""
    with opened_store(settings) as (catalog, store):
        found: list[object] = list(check(catalog.database, catalog.key_encryption))
        ids = [ImageId(image) for image in images]
        for told in verify.verify(catalog, store, ids, whole_disk=True, quarantine=False, now=0.0):
            if isinstance(told, verify.ImageFinding):
                found.append(told)
        return found
