"""Where every world starts: the database and the objects of the template with the seeds, made once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from phimage import demo, demo_disk
from phimage.catalog import schema_text
from phimage.catalog.accounts import NewKey, new_key
from phimage.catalog.address import database_url
from phimage.catalog.engine import Database, open_database
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.template import TIME, write_rows
from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.ci.clock import Draws
from phimage.ci.seed import disks_beside, plant
from phimage.ci.seed_file import SeedHost, read_seed
from phimage.ci.transition import Transition
from phimage.errors import SetupError
from phimage.model.ids import ImageId
from phimage.model.image_bytes import ImageBytes


class Start(Struct):
    """The start of every world. `database` are the bytes of an SQLite file.

    The disk of the demonstration is written at the first use of a store: most tests read no bytes, and it takes as long as all
    the rest.
    """

    database: bytes
    key_encryption: KeyEncryption
    operator: NewKey
    random_seed: str
    transitions: Mapping[ImageId, Transition]
    hosts: tuple[SeedHost, ...]
    store: MemoryStore
    demo_bytes: ImageBytes
    lock: threading.Lock

    def fill(self, store: MemoryStore) -> None:
        """Give a new world's store the objects of the start. Called with the lock held."""
        demo_disk.store_again(self.store, self.demo_bytes)
        store.objects.update(self.store.objects)


def make_start(seeds: Sequence[Path], random_seed: str, folder: Path) -> Start:
    """Make the start in a folder for temporary files. Raises SetupError for a seed that cannot be read, and BadControl."""
    random = Draws(random_seed, "start")
    key_encryption = KeyEncryption(hashlib.sha256(f"phimage ci {random_seed}".encode()).digest(), Draws(random_seed, "keys"))
    operator = new_key(random)
    path = folder / "start.sqlite"
    database = open_database(database_url("", folder).set(database=str(path)), durable=False)
    store = MemoryStore()
    transitions: dict[ImageId, Transition] = {}
    hosts: tuple[SeedHost, ...] = ()
    try:
        _write_template(database, operator, key_encryption)
        if seeds:
            catalog = Catalog(database, key_encryption)
            for file in seeds:
                seed = read_seed(_text(file), str(file))
                hosts += seed.sections.hosts
                transitions |= plant(catalog, store, seed, str(file), TIME, random, disks_beside(file))
        with database.read() as connection:
            demo_bytes = IMAGE_BYTES.find(connection, demo.WITH_DISK)
        assert demo_bytes is not None
        with database.engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("BEGIN")
    finally:
        database.close()
    return Start(
        database=path.read_bytes(),
        key_encryption=key_encryption,
        operator=operator,
        random_seed=random_seed,
        transitions=transitions,
        hosts=hosts,
        store=store,
        demo_bytes=demo_bytes,
        lock=threading.Lock(),
    )


def _write_template(database: Database, operator: NewKey, key_encryption: KeyEncryption) -> None:
    with database.write() as connection:
        for statement in schema_text.statements("sqlite"):
            connection.exec_driver_sql(statement)
        write_rows(connection, demo.keys(operator), key_encryption, TIME)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise SetupError(f"the seed {file} cannot be read: {error.strerror}; check its path") from None
    except UnicodeDecodeError:
        raise SetupError(f"the seed {file} is not UTF-8: save it as UTF-8") from None
