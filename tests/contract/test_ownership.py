"""Whose store it is (`ownership`), on SQLite with a folder and on PostgreSQL with S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from phimage import ownership
from phimage.catalog.accounts import KEYS, any_key, installation_id
from phimage.catalog.engine import database_url as url_of
from phimage.catalog.engine import open_database
from phimage.catalog.image_bytes import withdraw_image_bytes
from phimage.catalog.views import Catalog
from phimage.chunks import owner
from phimage.chunks.errors import StoreFailure
from phimage.chunks.memory import MemoryStore
from phimage.chunks.store import Store, Stored
from phimage.errors import SetupError
from phimage.installation import open_operator_account
from phimage.maintenance.copy import copy
from phimage.model.ids import InstallationId
from tests.backing_up import at_call
from tests.conftest import NewCatalog
from tests.contract import stores
from tests.publishing.shop import AUTHOR, Shop, disk, image

IMAGE = image().id
s3, store_beside = stores.s3, stores.store_beside


@pytest.fixture
def ours(catalog: Catalog) -> Catalog:
    open_operator_account(catalog)
    return catalog


@pytest.fixture
def theirs(new_catalog: NewCatalog) -> Iterator[Catalog]:
    with new_catalog() as found:
        open_operator_account(found)
        yield found


@pytest.fixture
def shop(ours: Catalog, store_beside: Store, tmp_path: Path) -> Shop:
    """Ours, with one image, in a store that has no id yet, as an older phimage left it."""
    shop = Shop(ours, store_beside, tmp_path / "work")
    shop.begin(disk(tmp_path))
    assert shop.work_once().error == ""
    return shop


def id_of(catalog: Catalog) -> InstallationId:
    with catalog.database.read() as connection:
        found = installation_id(connection)
    assert found is not None
    return found


def test_a_new_store_belongs_to_the_first_installation_that_opens_it(
    ours: Catalog, theirs: Catalog, store_beside: Store
) -> None:
    ownership.require_owned(ours.database, store_beside)
    ownership.require_owned(ours.database, store_beside)

    for refusing in (ownership.require_owned, ownership.require_owned_unless_away):
        with pytest.raises(SetupError, match=r"belongs to installation .{8}, .* `phimage store adopt --yes`"):
            refusing(theirs.database, store_beside)

    assert owner.owners(store_beside) == [id_of(ours)]


def test_of_two_processes_of_one_installation_that_claim_a_store_both_go_on(ours: Catalog, store_beside: Store) -> None:
    claimed_in_between = at_call(store_beside, lambda _, number: number == 2, lambda: owner.claim(store_beside, id_of(ours)))

    ownership.require_owned(ours.database, claimed_in_between)

    assert owner.owners(store_beside) == [id_of(ours)]


def test_a_store_of_an_older_phimage_belongs_to_the_database_that_refers_to_it(shop: Shop, theirs: Catalog) -> None:
    with pytest.raises(SetupError, match="has image bytes that this database does not refer to"):
        ownership.require_owned(theirs.database, shop.store)
    assert owner.owners(shop.store) == []

    ownership.require_owned(shop.catalog.database, shop.store)

    assert owner.owners(shop.store) == [id_of(shop.catalog)]


def test_bytes_of_withdrawn_images_show_whose_store_it_is_too(shop: Shop) -> None:
    with shop.catalog.change(AUTHOR) as change:
        withdraw_image_bytes(change, [IMAGE], "withdrawn")

    ownership.require_owned(shop.catalog.database, shop.store)

    assert owner.owners(shop.store) == [id_of(shop.catalog)]


def test_an_empty_store_does_not_pass_for_the_one_that_images_are_in(shop: Shop) -> None:
    for stored in list(shop.store.list()):
        shop.store.delete(stored.name)

    with pytest.raises(SetupError, match=r"refers to 1 manifests, and the store, .*, has none: .* from a backup"):
        ownership.require_owned(shop.catalog.database, shop.store)

    ownership.adopt(shop.catalog.database, shop.store)
    ownership.require_owned(shop.catalog.database, shop.store)


def test_an_adopted_store_belongs_to_the_new_installation_alone(ours: Catalog, theirs: Catalog, store_beside: Store) -> None:
    ownership.require_owned(ours.database, store_beside)

    ownership.adopt(theirs.database, store_beside)

    ownership.require_owned(theirs.database, store_beside)
    with pytest.raises(SetupError, match="belongs to installation"):
        ownership.require_owned(ours.database, store_beside)


def test_after_an_adoption_that_broke_off_both_refuse_the_store(ours: Catalog, theirs: Catalog, store_beside: Store) -> None:
    ownership.require_owned(ours.database, store_beside)
    store_beside.put(f"installation/{id_of(theirs)}", b"")

    for catalog in (ours, theirs):
        with pytest.raises(SetupError, match=r"belongs to installation .{8}, .{8}, and"):
            ownership.require_owned(catalog.database, store_beside)

    ownership.adopt(theirs.database, store_beside)
    ownership.require_owned(theirs.database, store_beside)


class ClaimedMeanwhile(MemoryStore):
    """Another installation puts its id right after the first put."""

    def put(self, name: str, data: bytes) -> None:
        super().put(name, data)
        super().put("installation/other", b"")


def test_of_two_that_claim_a_store_at_once_no_two_believe_it_is_theirs() -> None:
    store = ClaimedMeanwhile()
    assert not owner.claim(store, InstallationId("own"))
    assert owner.owners(store) == [InstallationId("other")]


class Away(MemoryStore):
    """A store that does not answer at first."""

    away = True

    def list(self, prefix: str = "") -> Iterator[Stored]:
        if self.away:
            raise StoreFailure("list", prefix, "unreachable", passing=True)
        return super().list(prefix)


def test_a_store_that_is_away_at_the_start_is_verified_at_the_first_call_that_it_answers(
    ours: Catalog, theirs: Catalog
) -> None:
    store = Away()
    ownership.require_owned_unless_away(ours.database, store)
    opened = ownership.owned(ours.database, store)
    with pytest.raises(StoreFailure, match="unreachable"):
        opened.find("a")

    store.away = False
    ownership.require_owned(theirs.database, store)
    with pytest.raises(StoreFailure, match="belongs to installation") as refused:
        opened.put("a", b"1")
    assert refused.value.passing
    assert store.find("a") is None

    ownership.adopt(ours.database, store)
    opened.put("a", b"1")
    assert opened.get("a") == b"1"


def test_the_id_is_the_same_in_a_copy_and_after_the_first_key_is_revoked(
    ours: Catalog, theirs: Catalog, tmp_path: Path
) -> None:
    before = id_of(ours)
    with ours.change(AUTHOR) as change:
        first = any_key(change.connection)
        assert first is not None
        KEYS.withdraw(change, first)
    assert id_of(ours) == before != id_of(theirs)

    target = open_database(url_of(f"sqlite:///{tmp_path / 'copy.sqlite'}", tmp_path))
    try:
        copy(ours.database, target)
        assert id_of(Catalog(target, ours.key_encryption)) == before
    finally:
        target.close()
