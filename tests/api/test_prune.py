"""Pruning and bringing back, through the gateway: nothing is withdrawn unasked, and what was withdrawn can return."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from phimage.actions.restore import refresh
from phimage.actions.service import Service
from phimage.catalog.accounts import PROJECTS
from phimage.catalog.places import ZONES
from phimage.chunks.folder import FolderStore
from phimage.chunks.gc import GcReport, collect_garbage
from phimage.chunks.layout import MIN_GRACE_SECONDS, ManifestDigest
from phimage.chunks.read import open_disk
from phimage.installation import command_author
from phimage.maintenance import gc
from tests.api import small
from tests.api.gateway import Reply
from tests.api.publishing import NORTH_A, Shop, disk

PLACES = """\
phimage: 1
clusters:
  - {id: 10G, default: true}
regions:
  - id: north
    number: 1000001
    name: {zh: 北, en: North}
    default: true
    zones:
      - {id: north-a, name: {zh: A, en: A}}
      - {id: north-b, name: {zh: B, en: B}}
machine_types:
  - id: Both
    name: {zh: 两, en: Both}
    disk_class: LocalDisk
    cpu: {model: Intel, frequency: "2.1", count: 2, cores: 32}
    memory: 64
    offers: {north-a: {10G: 1}}
"""
OURS = f"""{PLACES}
images:
  - id: pimg-cs-ours
    name: Ours
    os_type: Debian
    os_name: Debian 12 64bit
    size: 1
    created: "2026-11-01T00:00:00Z"
    zones: [north-a]
    support: {{Both: [10G]}}
"""
DAY = 24 * 3600.0
ORG_A = {"ImageType": "Custom", "ProjectId": "org-a"}


@pytest.fixture
def places(shop: Shop) -> str:
    """A file without images that was applied. The base images of the small catalogue are withdrawn."""
    shop.well("ApplyCatalog", {"Catalog": PLACES, "Prune": True, "Withdraw": 9})
    return PLACES


def base_images(shop: Shop) -> set[str]:
    shop.catalog.refresh()
    return {image.id for image in shop.catalog.now(wait=True).base_images()}


def prune(shop: Shop, text: str, **more: object) -> Reply:
    return shop.ask("ApplyCatalog", {"Catalog": text, "Prune": True, **more})


def stored_bytes(shop: Shop, image: str) -> bytes:
    content = shop.content(image)
    assert content is not None
    return b"".join(open_disk(shop.store, content.manifest).chunks())


def make_old(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))


def later_sweep(shop: Shop) -> GcReport:
    """What a collection removes when everything is out of its grace."""
    now = time.time() + 30 * DAY
    return collect_garbage(
        shop.store, lambda: gc.manifests_in_use(shop.catalog), now=now, grace_seconds=DAY, sleep=lambda seconds: None
    )


# pruning


def test_pruning_withdraws_as_many_images_as_the_caller_agreed_to_and_no_others(shop: Shop, places: str) -> None:
    shop.well("ApplyCatalog", {"Catalog": OURS})

    for withdraw in ({}, {"Withdraw": 2}):
        refused = prune(shop, places, **withdraw)
        assert (refused.ret_code, refused.message) == (230, "Params [Withdraw] not available")
        assert "pimg-cs-ours (Ours)" in str(refused.fields["Detail"])
        assert refused.fields["WithdrawSet"] == [{"ImageId": "pimg-cs-ours", "ImageName": "Ours"}]
        assert base_images(shop) == {"pimg-cs-ours"}

    assert prune(shop, places, Withdraw=1).ret_code == 0
    assert base_images(shop) == set()


def test_agreeing_to_withdrawals_that_do_not_happen_changes_nothing_either(shop: Shop, places: str) -> None:
    before = shop.catalog.refresh()
    for params in ({"Prune": True, "Withdraw": 1}, {"Withdraw": 1}):
        refused = shop.ask("ApplyCatalog", {"Catalog": OURS, **params})
        assert (refused.ret_code, refused.fields["WithdrawSet"]) == (230, [])
    assert shop.catalog.refresh() == before


def test_pruning_spares_what_was_published_and_names_it(shop: Shop, places: str, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path))

    for action in ("PlanCatalog", "ApplyCatalog"):
        answer = shop.well(action, {"Catalog": places, "Prune": True})
        assert answer["DifferenceSet"] == []
        assert answer["SparedSet"] == [{"Noun": "image", "Id": image, "Title": "Debian 12"}]

    assert image in base_images(shop)


# a file that names what was withdrawn


def test_an_older_export_applied_after_a_withdrawal_brings_the_image_back_with_its_bytes(
    shop: Shop, places: str, tmp_path: Path
) -> None:
    original = disk(tmp_path)
    image = shop.publish(original)
    older = str(shop.well("ExportCatalog")["Catalog"])
    shop.well("WithdrawPHostImage", {"ImageId": image})
    told = [{"Field": "bytes", "Old": "in the store", "New": "restored"}]

    for action in ("PlanCatalog", "ApplyCatalog"):
        (back,) = shop.well(action, {"Catalog": older})["DifferenceSet"]
        assert (back["Verb"], back["Id"], back["Fields"]) == ("restored", image, told)

    assert stored_bytes(shop, image) == original.read_bytes()
    assert str(shop.well("ExportCatalog")["Catalog"]) == older


def test_an_older_export_applied_after_a_collection_says_that_the_bytes_are_gone(
    shop: Shop, places: str, tmp_path: Path
) -> None:
    image = shop.publish(disk(tmp_path))
    older = str(shop.well("ExportCatalog")["Catalog"])
    shop.well("WithdrawPHostImage", {"ImageId": image})
    assert later_sweep(shop).removed_manifests == 1

    for action in ("PlanCatalog", "ApplyCatalog"):
        (back,) = shop.well(action, {"Catalog": older})["DifferenceSet"]
        assert back["Fields"] == [{"Field": "bytes", "Old": "collected", "New": "none"}]

    assert shop.content(image) is None
    assert base_images(shop) == {image}


# restoring one


def test_a_withdrawn_image_is_restored_as_it_was_in_one_revision(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    image = shop.publish(original)
    before, content = shop.well("GetPHostImage", {"ImageId": image}), shop.content(image)
    shop.well("WithdrawPHostImage", {"ImageId": image})
    revision = shop.catalog.refresh()

    restored = shop.well("RestorePHostImage", {"ImageId": image})

    assert (restored["ImageId"], restored["Revision"]) == (image, revision + 1)
    assert shop.catalog.refresh() == revision + 1
    assert shop.well("GetPHostImage", {"ImageId": image}) == before
    assert shop.content(image) == content
    assert later_sweep(shop).removed_chunks == 0
    assert stored_bytes(shop, image) == original.read_bytes()


def test_a_custom_image_that_its_project_removed_can_be_restored_and_one_without_bytes_too(shop: Shop, tmp_path: Path) -> None:
    for image in (shop.publish(disk(tmp_path), **ORG_A), "c-a-old"):
        listed = shop.ask("DescribePHostImage", {**NORTH_A, "ImageId": [image]}, small.ACME)
        assert listed.total == 1
        shop.well("TerminatePHostImage", {**NORTH_A, "ImageId": image}, small.ACME)
        shop.well("RestorePHostImage", {"ImageId": image})
        again = shop.ask("DescribePHostImage", {**NORTH_A, "ImageId": [image]}, small.ACME)
        assert again.body == listed.body


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("never there", "there was never an image"),
        ("not withdrawn", "is not withdrawn: it is Available"),
        ("collected", "publish them again as a new image"),
        ("without its first bytes", "before it was published"),
        ("its project is gone", "its project org-a was removed"),
        ("its zone is gone", "zone north-b was withdrawn"),
    ],
)
def test_what_cannot_be_restored_is_refused_with_the_reason(case: str, told: str, shop: Shop, tmp_path: Path) -> None:
    image = "pimg-cs-neverwas"
    if case == "not withdrawn":
        image = "b-new"
    elif case == "collected":
        image = shop.publish(disk(tmp_path))
    elif case == "without its first bytes":
        image = shop.begin(disk(tmp_path))
    elif case == "its project is gone":
        image = "c-a-old"
    elif case == "its zone is gone":
        image = "b-new"
    if case not in ("never there", "not withdrawn"):
        shop.well("WithdrawPHostImage", {"ImageId": image})
    if case == "collected":
        later_sweep(shop)
    with shop.catalog.change(command_author("Test")) as change:
        if case == "its project is gone":
            PROJECTS.withdraw(change, *PROJECTS.live(change.connection))
        if case == "its zone is gone":
            ZONES.withdraw(change, *[zone for zone in ZONES.live(change.connection) if zone.id == "north-b"])
    before = shop.catalog.refresh()

    refused = shop.ask("RestorePHostImage", {"ImageId": image})

    assert (refused.ret_code, refused.message) == (230, "Params [ImageId] not available")
    assert told in str(refused.fields["Detail"])
    assert shop.catalog.refresh() == before


def test_restoring_needs_room_in_the_quota(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path), **ORG_A)
    shop.well("TerminatePHostImage", {**NORTH_A, "ImageId": image}, small.ACME)
    shop.well("SetQuota", {"Project": "org-a", "Limit": 1})
    assert shop.ask("RestorePHostImage", {"ImageId": image}).ret_code == 241
    assert shop.content(image) is None


def test_a_collection_beside_a_restore_never_takes_its_bytes(shop: Shop, tmp_path: Path) -> None:
    """The image comes back after the collection has read what is live and before it removes: the other order it may do."""
    original = disk(tmp_path)
    image = shop.publish(original)
    shop.well("WithdrawPHostImage", {"ImageId": image})
    answers = iter((lambda: None, lambda: shop.well("RestorePHostImage", {"ImageId": image})))

    def live() -> list[ManifestDigest]:
        next(answers)()
        return gc.manifests_in_use(shop.catalog)

    now = time.time() + 30 * DAY
    report = collect_garbage(shop.store, live, now=now, grace_seconds=DAY)

    assert (report.removed_chunks, report.removed_manifests) == (0, 0)
    assert stored_bytes(shop, image) == original.read_bytes()


def test_bytes_that_are_held_outlive_a_collection_until_they_are_registered(shop: Shop, tmp_path: Path) -> None:
    if not isinstance(shop.store, FolderStore):
        pytest.skip("the age of an object is set in its folder; what every store does about it is in test_store_collect")
    image = shop.publish(disk(tmp_path))
    content = shop.content(image)
    assert content is not None
    shop.well("WithdrawPHostImage", {"ImageId": image})
    service = Service(catalog=shop.catalog, store=shop.store)
    make_old(tmp_path / "shop" / "store")

    held = refresh(service, [content.manifest])
    collect_garbage(shop.store, list, now=time.time(), grace_seconds=MIN_GRACE_SECONDS)
    assert held.has(content.manifest)
    assert refresh(service, [content.manifest]).has(content.manifest), "it is all there"

    make_old(tmp_path / "shop" / "store")
    collect_garbage(shop.store, list, now=time.time(), grace_seconds=MIN_GRACE_SECONDS)
    assert not refresh(service, [content.manifest]).has(content.manifest), "without a hold the same collection takes it"
