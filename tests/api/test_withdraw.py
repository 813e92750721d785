"""Images that are taken away: by the operator any, by a project its own, and everything of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api import small
from tests.api.conftest import both_sites
from tests.api.publishing import ABOUT, NORTH_A, Shop, disk
from tests.api.signer import Pair

TRUSTED = {**ABOUT, "TrustFirstUse": True}


def listed(shop: Shop, image: str) -> bool:
    return shop.ask("DescribePHostImage", {**NORTH_A, "ImageId": [image]}, small.ACME).total == 1


def removal(image: str, **more: str) -> dict[str, str]:
    return {**NORTH_A, "ImageId": image, **more}


@both_sites
def test_a_withdrawn_image_is_gone_from_every_answer(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path))
    assert listed(shop, image)

    assert shop.well("WithdrawPHostImage", {"ImageId": image})["ImageId"] == image

    assert not listed(shop, image)
    assert shop.ask("GetPHostImage", {"ImageId": image}).ret_code == 230
    assert shop.content(image) is None
    assert shop.ask("WithdrawPHostImage", {"ImageId": image}).message == "Params [ImageId] not available"


def test_withdrawing_stops_an_upload(shop: Shop) -> None:
    begun = shop.well("PublishPHostImage", {**TRUSTED, "Size": 1})
    shop.send(begun["UploadUrl"], b"x")
    shop.well("WithdrawPHostImage", {"ImageId": begun["ImageId"]})

    assert shop.put(begun["UploadUrl"], b"x").status == 409
    assert shop.ask("CompletePHostImageUpload", {"ImageId": begun["ImageId"], "Size": 2}).ret_code == 230
    ended = shop.well("GetPHostImageJob", {"ImageId": begun["ImageId"]})
    assert (ended["State"], ended["ImageState"]) == ("Failed", "")
    assert ended["Error"] == f"{begun['ImageId']} was not published: the image was withdrawn"


def test_withdrawing_stops_a_publication_that_runs(shop: Shop, tmp_path: Path) -> None:
    image = shop.begin(disk(tmp_path))
    running = shop.claim(image)
    shop.well("WithdrawPHostImage", {"ImageId": image})
    revision = shop.catalog.refresh()

    shop.finish(running)

    assert shop.catalog.head == revision
    assert not listed(shop, image)
    assert shop.well("GetPHostImageJob", {"ImageId": image})["State"] == "Failed"
    assert shop.content(image) is None


@pytest.mark.parametrize(("image", "owner"), [("b-new", small.ACME), ("c-a-old", small.ACME), ("c-r", small.RIVAL)])
def test_the_operator_withdraws_any_image(image: str, owner: Pair, shop: Shop) -> None:
    assert shop.ask("GetPHostImage", {"ImageId": image}, owner).ret_code == 0
    assert shop.ask("WithdrawPHostImage", {"ImageId": image}, owner).ret_code == 299
    shop.well("WithdrawPHostImage", {"ImageId": image}, small.OPERATOR)
    assert shop.ask("GetPHostImage", {"ImageId": image}, owner).ret_code == 230


def test_a_project_removes_its_own_image_once(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path), ImageType="Custom", ProjectId="org-a")
    assert listed(shop, image)
    assert shop.well("TerminatePHostImage", removal(image), small.ACME)["ImageId"] == image

    assert not listed(shop, image)
    assert shop.content(image) is None
    again = shop.ask("TerminatePHostImage", removal(image), small.ACME)
    assert (again.ret_code, again.message) == (230, "Params [ImageId] not available")


def test_what_is_not_the_projects_own_is_answered_as_what_never_was(shop: Shop) -> None:
    before = shop.catalog.refresh()
    refused = {
        image: shop.ask("TerminatePHostImage", removal(image), small.ACME)
        for image in ("b-new", "c-r", "c-b", "pimg-cs-neverwas")
    }
    assert {reply.ret_code for reply in refused.values()} == {230}
    assert len({reply.body.replace(image.encode(), b"ID") for image, reply in refused.items()}) == 1
    assert shop.catalog.refresh() == before


def test_only_who_may_change_images_in_a_project_removes_them(shop: Shop) -> None:
    assert shop.ask("TerminatePHostImage", removal("c-a-old", ProjectId="org-a"), small.VIEWER).ret_code == 299
    assert shop.ask("TerminatePHostImage", removal("c-b", ProjectId="org-a"), small.WORKER).ret_code == 299
    assert shop.ask("TerminatePHostImage", removal("c-b"), small.WORKER).ret_code == 299
    shop.well("TerminatePHostImage", removal("c-b", ProjectId="org-b"), small.WORKER)


@pytest.mark.parametrize(
    ("given", "code", "name"),
    [
        ({"Region": ""}, 220, "Region"),
        ({"Zone": ""}, 220, "Zone"),
        ({"ImageId": ""}, 220, "ImageId"),
        ({"Region": "east"}, 230, "Region"),
        ({"Zone": "south-a"}, 230, "Zone"),
    ],
)
def test_removing_names_a_region_and_a_zone_of_it(given: dict[str, str], code: int, name: str, shared_shop: Shop) -> None:
    reply = shared_shop.ask("TerminatePHostImage", {**removal("c-a-old"), **given}, small.ACME)
    assert (reply.ret_code, f"[{name}]" in reply.message) == (code, True)


def test_removing_in_the_past_is_refused(shared_shop: Shop) -> None:
    reply = shared_shop.gateway.ask("TerminatePHostImage", removal("c-a-old"), pair=small.ACME, path="/rev/1/")
    assert reply.ret_code == 230
    assert listed(shared_shop, "c-a-old")
