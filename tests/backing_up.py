"""What the suites of backups share: an installation to back up, places, restores, and what must hold of each restore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from phimage.backup.create import Created, create
from phimage.backup.place import BackupPlace
from phimage.backup.record import BackupRecord
from phimage.backup.restore import Restored, restore
from phimage.backup.verify import verify
from phimage.catalog.image_bytes import IMAGE_BYTES, withdraw_image_bytes
from phimage.catalog.images import IMAGES
from phimage.chunks.decorators import Operation, StoreDecorator
from phimage.chunks.folder import FolderStore
from phimage.chunks.read import open_disk
from phimage.chunks.store import Store
from phimage.maintenance.copy import digests, opened
from phimage.model.ids import ImageId
from phimage.settings import Settings
from tests.conftest import MASTER_KEY
from tests.publishing.shop import AUTHOR, Shop, disk

Result = TypeVar("Result")


class Killed(BaseException):
    """The process ends here, as far as the code under test can see."""


def at_call(store: Store, wanted: Callable[[Operation, int], bool], act: Callable[[], object]) -> Store:
    """A store that acts before each call that is wanted, by its operation and its number from 1."""
    number = 0

    def around(operation: Operation, sent: int, call: Callable[[], Result]) -> Result:
        nonlocal number
        number += 1
        if wanted(operation, number):
            act()
        return call()

    return StoreDecorator(store, around)


PAST = replace(AUTHOR, time=1_700_000_000.0)
"""Dates revisions long ago, so that no grace of theirs has to pass."""


def publish(shop: Shop, folder: Path, number: int) -> ImageId:
    """Publish a disk of its own; disks of different numbers share the chunk of their partition table."""
    job = shop.begin(disk(folder, mebibytes=4, seed=number), number)
    assert shop.work_once().error == ""
    return job.image


def withdraw(shop: Shop, id: ImageId) -> None:
    """Take an image out of the catalogue."""
    with shop.catalog.change(shop.author) as change:
        withdraw_image_bytes(change, [id], "withdrawn")
        found = IMAGES.find(change.connection, id)
        assert found is not None
        IMAGES.withdraw(change, found)


def back_up(shop: Shop, place: BackupPlace, store: Store | None = None) -> Created:
    """A backup of a shop, perhaps with a store that behaves in some way."""
    return create(shop.catalog, store or shop.store, place, shop.work)


def restored_to(place: BackupPlace, record: BackupRecord, data: Path) -> tuple[Restored, Settings]:
    """Restore to SQLite and a folder."""
    settings = Settings(data_dir=str(data))
    return restore(place, record, settings, MASTER_KEY), settings


def check_whole(place: BackupPlace, record: BackupRecord, data: Path) -> set[ImageId]:
    """A backup verifies, restores, and has every byte of every image that its database lists. Returns these images."""
    assert verify(place, [record], now=0).problems == ()
    restored, settings = restored_to(place, record, data)
    assert restored.findings == ()
    store = FolderStore(data / "store")
    with opened(data / "catalog.sqlite") as database:
        assert digests(database).tables == record.tables
        with database.read() as connection:
            contents = [content for content in IMAGE_BYTES.live(connection) if content.stored]
    for content in contents:
        found = open_disk(store, content.manifest)
        assert sum(map(len, found.chunks())) == content.size
    assert not settings.restore_marker.exists()
    return {content.image for content in contents}
