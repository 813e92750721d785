"""Makes the data that this release leaves for the tests of later ones: `python -m tests.upgrade.make RELEASE`.

Run it by hand, once per release, in a checkout of that release. Disks, names and requests are the same in each run. Keys, ids
and times are not: the program draws them itself, and signed Actions take none of them from the caller.

Writes nothing unless the SQLite installation and its copy in PostgreSQL give the same responses.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from pathlib import Path
from shutil import copytree, rmtree
from typing import Literal

from phimage import __version__
from phimage.catalog import schema
from phimage.catalog.engine import database_url, open_database
from phimage.delivery.ticket import make_ticket
from phimage.installation import open_existing, prepare
from phimage.maintenance.copy import copy
from phimage.model.ids import ProjectId, PublicKey
from tests.api.publishing import Shop, shop_on
from tests.api.signer import Pair
from tests.postgresql import own_server
from tests.upgrade.installation import Builder, Installation
from tests.upgrade.kept import FOLDER, About, Exchange, write
from tests.upgrade.program import Settings, running, settings_of
from tests.upgrade.recording import RecordedRequest, differences, send
from tests.upgrade.workload import History, Workload

STORED = ("linux", "converted", "custom")
FAR = 4_102_444_800
"""Expiry of the recorded URLs: the year 2100."""


def make(folder: Path) -> None:
    """Write the folder of a release."""
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        data = temporary / "data"
        made, requests = _build(settings_of(data), temporary)
        exchanges = _record(settings_of(copytree(data, temporary / "sqlite")), requests)
        with own_server("32MB") as server:
            database = server.create()
            _copy(settings_of(data), server.url(database))
            dump = server.dump(database)
            _compare(exchanges, _record(settings_of(copytree(data, temporary / "postgresql"), server.url(database)), requests))
        newest = int(exchanges[0].response["Revision"])
        about = About(folder.name, __version__, schema.newest(), newest, tuple(made.images[name] for name in STORED))
        write(folder, about, data, dump, exchanges)


def _build(settings: Settings, temporary: Path) -> tuple[Installation, list[RecordedRequest]]:
    prepare(settings)
    with shop_on(settings) as shop:
        originals = temporary / "originals"
        originals.mkdir()
        made = Builder(shop, originals).build()
        requests = _workload(shop, made).requests()
    _checkpoint(settings.data_folder)
    return made, requests


def _checkpoint(data: Path) -> None:
    """Write the write-ahead log into the database file, and remove the working folders."""
    with sqlite3.connect(data / "catalog.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")
    connection.close()
    assert not list(data.glob("catalog.sqlite-*"))
    for name in ("work", "packs"):
        rmtree(data / name, ignore_errors=True)


def _workload(shop: Shop, made: Installation) -> Workload:
    def ticket(purpose: Literal["download", "upload"], subject: str, key: Pair) -> str:
        project = ProjectId(made.projects["acme"] if purpose == "download" else "")
        return make_ticket(shop.catalog.key_encryption.derive("tickets"), purpose, subject, PublicKey(key.public), project, FAR)

    log = shop.well("ListRevisions", {"After": 0, "Limit": 1000})
    times = {found["Revision"]: found["Time"] for found in log["RevisionSet"] if found["Revision"] not in made.awaited}
    history = History(log["Newest"], times)
    waiting = shop.well("GetPHostImageJob", {"ImageId": made.images["waiting"]})["JobId"]
    return Workload(made, history, ticket, waiting, shop.well("ExportCatalog")["Catalog"])


def _record(settings: Settings, requests: list[RecordedRequest]) -> list[Exchange]:
    with running(settings) as gateway:
        return [Exchange(request, send(gateway, request)) for request in requests]


def _copy(settings: Settings, to: str) -> None:
    source, target = open_existing(settings), open_database(database_url(to, settings.data_folder))
    try:
        copy(source, target)
    finally:
        source.close()
        target.close()


def _compare(one: list[Exchange], other: list[Exchange]) -> None:
    for here, there in zip(one, other, strict=True):
        found = list(differences(here.response, there.response))
        assert not found, (here.request.name, found)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.upgrade.make RELEASE")
    make(FOLDER / sys.argv[1])
