"""A backup restored to the other kind of database and store answers as the installation did."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phimage.backup.create import create
from phimage.backup.place import BackupPlace
from phimage.backup.restore import restore
from phimage.catalog.key_encryption import read_master_key
from phimage.chunks.factory import open_store
from phimage.chunks.memory import MemoryStore
from phimage.installation import open_catalog
from phimage.maintenance.copy import digests
from phimage.settings import Settings
from tests.api import small
from tests.api.gateway import LOOPBACK, running
from tests.api.signer import Encoding, Pair
from tests.contract.stores import KEYS
from tests.publishing.shop import Shop, disk, image
from tests.sites import LargeSite, Site
from tests.torture.length import lengths

NOBODY = Pair("key-nobody", "secret")
PAIRS = (small.ACME, small.VIEWER, small.WORKER, small.RIVAL, small.FENCED, small.OPERATOR, NOBODY)
LISTS = ("DescribePHostImage", "ExplainPHostImage", "ListPHostImageChanges")
OTHERS = ("GetRegion", "GetProjectList", "GetUserInfo", "ListZones", "ExportCatalog", "ListAccounts")


@pytest.fixture
def elsewhere(small_site: Site, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """An empty place of the other kind."""
    new = tmp_path / "restored"
    if isinstance(small_site, LargeSite):
        return Settings(data_dir=str(new))
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    site = LargeSite(new, request.getfixturevalue("postgresql"), request.getfixturevalue("s3"))
    return site.settings()


def signed_queries(number: int) -> Iterator[tuple[str, dict[str, Any], Encoding, Pair, str]]:
    """Signed requests of every kind of caller; many are refused, in the same words."""
    chance = random.Random(number)
    for _ in range(number):
        action = chance.choice((*LISTS, *LISTS, *OTHERS))
        params: dict[str, Any] = {}
        if action in LISTS:
            params["Region"] = chance.choice(("north", "north", "south", "west"))
            params["Zone"] = chance.choice(("north-a", "north-b", "south-a"))
            optional = {
                "MachineType": chance.choice(("Both", "Slow", "Far", "None")),
                "Cluster": chance.choice(("1G", "10G", "25G")),
                "ImageType": chance.choice(("Base", "Custom")),
                "ProjectId": chance.choice(("org-a", "org-b", "org-r")),
                "Limit": chance.choice((1, 3, 100)),
            }
            params |= {name: value for name, value in optional.items() if chance.random() < 0.4}
        if action == "ExplainPHostImage":
            params["ImageId"] = chance.choice(("b-new", "b-slow", "c-a-old", "c-r", "nothing"))
        path = chance.choice(("/", "/", "/rev/2/", "/limit/2/"))
        yield action, params, chance.choice(list(Encoding)), chance.choice(PAIRS), path


def answers(settings: Settings, number: int) -> list[tuple[bytes, str | None]]:
    """The answers to them all, and the bytes of the image that was published, with the revision of each answer."""
    with running(settings) as gateway:
        found = []
        for action, params, encoding, pair, path in signed_queries(number):
            address = LOOPBACK if pair is NOBODY else small.INSIDE  # wrong signatures of another address would be limited
            reply = gateway.ask(action, params, encoding=encoding, pair=pair, path=path, client=address)
            found.append((reply.body, reply.headers.get("x-phimage-revision")))
        urls = gateway.ask("GetPHostImageDownloadUrl", {"ImageId": image().id}, pair=small.ACME).fields
        for form in ("RawUrl", "ZstdUrl", "Qcow2Url"):
            answer = gateway.fetch("GET", urls[form])
            assert answer.status == 200
            found.append((answer.body, None))
        return found


@lengths("queries", 60, 1000)
def test_a_restore_to_the_other_kind_of_database_answers_every_query_the_same(
    small_site: Site, elsewhere: Settings, tmp_path: Path, queries: int
) -> None:
    with small_site.copy(tmp_path / "source") as source:
        settings = source.settings()
        catalog, store, place = open_catalog(settings), open_store(settings.store_place), BackupPlace(MemoryStore())
        shop = Shop(catalog, store, tmp_path / "work")
        shop.begin(disk(tmp_path))
        assert shop.work_once().error == ""
        record = create(catalog, store, place, shop.work).record
        catalog.database.close()
        before = answers(settings, queries)

        restored = restore(place, record, elsewhere, read_master_key(settings.master_key_file))

        assert restored.findings == ()
        catalog = open_catalog(elsewhere)
        assert digests(catalog.database).tables == record.tables
        catalog.database.close()
        assert answers(elsewhere, queries) == before
        assert sum(b'"RetCode":0' in body for body, _ in before) > queries / 4, "many are answered"
        assert len({body for body, _ in before}) > 15, "in many ways"
