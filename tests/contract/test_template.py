"""The template of the demonstration's database: it is up to date, and gives what filling one gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from phimage import demo
from phimage.catalog import tables, template
from phimage.catalog.engine import Database
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.chunks.factory import open_store
from phimage.chunks.layout import manifest_name
from phimage.installation import open_catalog, prepare
from phimage.settings import Settings

KEYS = {"key", "key_use", "nonce"}
"""Tables that differ in every installation."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(data_dir=str(tmp_path_factory.mktemp("template") / "data"), min_free_mb=1)
    assert demo.fill(settings) is not None
    return settings


def test_the_text_is_what_filling_an_empty_folder_gives(tmp_path: Path) -> None:
    text = demo.make_template(Settings(data_dir=str(tmp_path / "data"), min_free_mb=1))
    assert template.FILE.read_text("utf-8") == text, "run make template"


def test_a_demonstration_from_the_template_has_the_rows_of_one_that_was_filled(filled: Settings, tmp_path: Path) -> None:
    slow = Settings(data_dir=str(tmp_path / "data"), min_free_mb=1)
    prepare(slow)
    catalog = open_catalog(slow)
    demo.fill_catalog(slow, catalog)
    catalog.database.close()
    quick = open_catalog(filled)
    for name in sorted(set(tables.metadata.tables) - KEYS):
        assert shape(quick.database, name) == shape(catalog.database, name), name
    quick.database.close()


def shape(database: Database, name: str) -> list[tuple[Any, ...]]:
    """The rows of a table without times, keys, and the random ids of the operator's project and of the job."""
    table = tables.metadata.tables[name]
    skipped = {"created", "time", "published", "lease_until", "request_id"}
    columns = [column for column in table.columns if column.name not in skipped]
    database = Database(database.engine)
    with database.read() as connection:
        rows = connection.execute(select(*columns)).all()
    masked = [tuple("…" if str(value).startswith(("org-", "job-", "phimage")) else value for value in row) for row in rows]
    return sorted(masked, key=repr)


def test_the_keys_and_the_disk_of_the_template_work(filled: Settings) -> None:
    catalog = open_catalog(filled)
    view = catalog.now(wait=True)
    _, private = view.key(demo.PUBLIC_KEY) or (None, None)
    with catalog.database.read() as connection:
        image_bytes = IMAGE_BYTES.find(connection, demo.WITH_DISK)
    catalog.database.close()
    assert private is not None
    assert private.reveal() == demo.PRIVATE_KEY.reveal()
    assert image_bytes is not None
    assert open_store(filled.store_place).find(manifest_name(image_bytes.manifest)) is not None


def test_a_start_after_one_that_ended_before_the_disk_was_written_writes_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"), min_free_mb=1)
    prepare(settings, demo._write_template)
    store = open_store(settings.store_place)
    assert list(store.list("manifests")) == []
    assert demo.fill(settings) is None
    assert len(list(store.list("manifests"))) == 1
