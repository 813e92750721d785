"""Backups beside publishers, withdrawals and collections, and backups and restores that are killed at any point."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path
from tempfile import mkdtemp

import pytest
from sqlalchemy import text

from phimage.backup.create import create
from phimage.backup.place import BackupPlace
from phimage.backup.record import BackupFailed, BackupRecord
from phimage.catalog.accounts import add_account, add_key
from phimage.catalog.key_encryption import read_master_key
from phimage.catalog.tables import LIVE
from phimage.catalog.views import Catalog
from phimage.chunks.folder import FolderStore
from phimage.chunks.memory import MemoryStore
from phimage.chunks.store import Store
from phimage.errors import ServiceUnavailable
from phimage.installation import open_catalog, prepare
from phimage.settings import Settings
from tests.backing_up import PAST, at_call, check_whole, publish
from tests.e2e.process import Phimage
from tests.examples import account
from tests.publishing.shop import Shop
from tests.torture.test_collection import EARLY, World

TOO_LONG = ("the backup took too long", "the hold on garbage collection expired")
"""The fast clock leaves half a second between the last chunk and the record, and a hold expires after 16 seconds; on a loaded
machine a backup is made again."""


class BackedUpWorld(World):
    """The crowd, and backups beside it, each of which is restored and compared."""

    def __init__(self, catalog: Catalog, folder: Path, backups: int) -> None:
        super().__init__(catalog, folder)
        with catalog.change(EARLY) as change:
            user, _ = add_account(change, account(), os.urandom)
            add_key(change, user, catalog.key_encryption, os.urandom)
        self.target_state = backups
        self.place = BackupPlace(FolderStore(folder / "backups", now=self.clock))

    def has_done_enough(self) -> bool:
        return super().has_done_enough() and self.count["backups"] >= self.target_state and self.count["restored images"] > 0

    def back_up(self) -> None:
        while not self.over.is_set():
            record = self.backup_of(self.place, self.store)
            if record is not None:
                restored = Path(mkdtemp(dir=self.folder))
                self.count["restored images"] += len(check_whole(self.place, record, restored / "data"))
                shutil.rmtree(restored)
                self.count["backups"] += 1

    def backup_of(self, place: BackupPlace, store: Store) -> BackupRecord | None:
        try:
            return create(self.catalog, store, place, self.folder / "work", now=self.clock).record
        except ServiceUnavailable:
            return None
        except BackupFailed as error:
            if not str(error).startswith(TOO_LONG):
                raise
            return None

    def back_up_without_holds(self) -> None:
        """Each into a new place, so that it reads everything; slowly, so that others have the time to remove something."""

        def spoil() -> None:
            """Holds go on, and hold nothing but what is live."""
            try:
                with self.catalog.database.write() as connection:
                    connection.execute(text(f"UPDATE hold SET revision = {LIVE - 1}"))
            except ServiceUnavailable:
                pass
            time.sleep(0.05)

        store = at_call(self.store, lambda operation, _: operation == "get", spoil)
        while not self.over.is_set():
            self.backup_of(BackupPlace(MemoryStore(now=self.clock)), store)


@pytest.mark.torture
@pytest.mark.parametrize("backups", [int(os.environ.get("PHIMAGE_TORTURE_BACKUPS", "50"))])
def test_every_backup_beside_a_crowd_restores_whole(catalog: Catalog, tmp_path: Path, backups: int) -> None:
    world = BackedUpWorld(catalog, tmp_path, backups)
    world.run(240, world.back_up)
    assert world.has_done_enough(), world.count
    world.check()


@pytest.mark.torture
def test_without_holds_the_same_crowd_takes_bytes_from_a_backup(catalog: Catalog, tmp_path: Path) -> None:
    world = BackedUpWorld(catalog, tmp_path, 10_000)
    with pytest.raises(BackupFailed, match=r"is missing|is not in the store"):
        world.run(120, world.back_up_without_holds)


class Home:
    """An installation with three images, and the command line beside it."""

    def __init__(self, folder: Path) -> None:
        self.cli = Phimage(folder / "home")
        self.data = folder / "home/data"
        self.place = BackupPlace(FolderStore(folder / "home/backups"))
        settings = Settings(data_dir=str(self.data))
        prepare(settings)
        catalog = open_catalog(settings)
        shop = Shop(catalog, FolderStore(self.data / "store"), settings.work_folder, author=PAST)
        for number in (1, 2, 3):
            publish(shop, folder, number)
        catalog.database.close()
        self.key = read_master_key(settings.master_key_file)

    def seconds(self, *arguments: str) -> float:
        """How long a command takes, from the start of its process."""
        begun = time.monotonic()
        ended = self.cli.execute(*arguments)
        assert ended.code == 0, ended
        return time.monotonic() - begun

    def killed(self, after: float, *arguments: str) -> bool:
        """Start a command and kill it after a while. False if it had ended well before."""
        command = self.cli.start(*arguments)
        time.sleep(after)
        command.send_signal(signal.SIGKILL)
        printed = command.communicate()
        assert command.returncode in (0, -signal.SIGKILL), printed
        return command.returncode != 0


@pytest.mark.torture
@pytest.mark.parametrize("kills", [int(os.environ.get("PHIMAGE_TORTURE_KILLS", "100"))])
def test_backups_and_restores_killed_at_any_point_go_on(tmp_path: Path, kills: int) -> None:
    home, chance = Home(tmp_path), random.Random(kills)
    create_seconds = home.seconds("backup", "create", "backups", "--data-dir", "data")
    restore_seconds = home.seconds("backup", "restore", "backups", "--data-dir", "measured", "--key", "data/master.key")
    dead = restored = met = 0
    while dead < kills:
        if dead % 2:
            home.killed(chance.uniform(0.2, 1) * restore_seconds, *_restore(restored))
            new = home.data.parent / f"new{restored}"
            if (new / "catalog.sqlite").exists() and not (new / "restoring.json").exists():
                restored += 1  # it had ended
            met += (new / "restoring.json").exists()
        elif home.killed(chance.uniform(0.2, 1) * create_seconds, "backup", "create", "backups", "--data-dir", "data"):
            copies = list(home.data.glob("work/backup-*"))
            met += bool(copies)
            for copy in copies:
                copy.unlink()
            for record in home.place.records():
                assert len(record.manifests) == 3
        dead += 1
    assert met >= kills // 10, f"{met} of {kills} kills met their command at work"
    newest = home.cli.json("backup", "create", "backups", "--data-dir", "data")
    assert newest["SentChunks"] == 0
    assert home.cli.json("backup", "verify", "backups", "--all")["FindingSet"] == []
    assert home.cli.json(*_restore(restored))["Findings"] == []
    home.cli.well("db", "check", "--data-dir", f"new{restored}")
    home.cli.well("image", "verify", "--all", "--data-dir", f"new{restored}")


def _restore(number: int) -> tuple[str, ...]:
    return ("backup", "restore", "backups", "--data-dir", f"new{number}", "--key", "data/master.key")
