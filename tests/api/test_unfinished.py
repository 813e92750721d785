"""Images whose first bytes are not whole (wire-protocol B26): who lists them, and how a failure is told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.api import small
from tests.api.publishing import ABOUT, NORTH_A, Shop, disk
from tests.api.signer import Pair

TRUSTED = {**ABOUT, "TrustFirstUse": True, "Size": 3}
ORG_A = {"ImageType": "Custom", "ProjectId": "org-a"}


def states(shop: Shop, pair: Pair, path: str = "/", **more: Any) -> dict[str, str]:
    """What a list has, with the state of each."""
    fields = shop.gateway.ask("DescribePHostImage", {**NORTH_A, **more}, pair=pair, path=path).fields
    assert fields["RetCode"] == 0, fields
    assert fields["TotalCount"] == len(fields["ImageSet"])
    return {image["ImageId"]: image["State"] for image in fields["ImageSet"]}


def failed(shop: Shop, **more: Any) -> str:
    """An image whose bytes are no disk."""
    begun = shop.well("PublishPHostImage", {**TRUSTED, **more})
    image = str(begun["ImageId"])
    shop.send(begun["UploadUrl"], b"abc")
    shop.well("CompletePHostImageUpload", {"ImageId": image, "Size": 3})
    assert shop.work(image)["State"] == "Failed"
    return image


def test_a_base_image_is_listed_for_tenants_from_its_first_whole_bytes_on(shop: Shop, tmp_path: Path) -> None:
    before = states(shop, small.ACME)
    image = shop.begin(disk(tmp_path))
    waits = shop.catalog.refresh()

    assert states(shop, small.ACME) == before
    assert image not in states(shop, small.RIVAL)
    assert states(shop, small.ACME, ImageId=[image]) == {image: "Making"}
    assert shop.well("GetPHostImage", {"ImageId": image}, small.ACME)["Image"]["State"] == "Making"

    shop.work(image)

    assert states(shop, small.ACME) == {image: "Available", **before}
    assert states(shop, small.ACME, path=f"/rev/{waits}/") == before, "the past stays as it was"


def test_a_failed_base_image_is_told_to_nobody_but_the_operator(shop: Shop) -> None:
    before = states(shop, small.ACME)
    image = failed(shop)
    assert states(shop, small.ACME) == before
    assert states(shop, small.ACME, ImageId=[image]) == {image: "Unavailable"}
    assert states(shop, shop.operator)[image] == "Unavailable"


def test_the_operator_lists_base_images_from_making_on(shop: Shop) -> None:
    image = str(shop.well("PublishPHostImage", TRUSTED)["ImageId"])
    revision = shop.catalog.refresh()
    assert states(shop, shop.operator)[image] == "Making"
    assert states(shop, shop.operator, path=f"/rev/{revision}/")[image] == "Making"


def test_a_custom_image_is_listed_from_making_on_also_when_it_failed(shop: Shop) -> None:
    begun = shop.well("PublishPHostImage", {**TRUSTED, **ORG_A})
    image = str(begun["ImageId"])
    assert states(shop, small.ACME)[image] == "Making"
    other = failed(shop, **ORG_A)
    assert states(shop, small.ACME)[other] == "Unavailable"


def test_entries_that_never_had_bytes_are_listed_in_the_state_that_the_catalogue_says(shop: Shop) -> None:
    listed = states(shop, small.ACME)
    assert (listed["b-new"], listed["b-10g"]) == ("Available", "Unavailable")


def test_the_explanation_says_that_its_first_bytes_are_not_whole(shop: Shop) -> None:
    image = str(shop.well("PublishPHostImage", TRUSTED)["ImageId"])

    told = shop.well("ExplainPHostImage", {**NORTH_A, "ImageId": image}, small.ACME)
    assert (told["Listed"], [reason["Rule"] for reason in told["ReasonSet"]]) == (False, ["whole"])
    assert f"ImageId.0={image}" in told["ReasonSet"][0]["Remedy"]

    told = shop.well("ExplainPHostImage", {**NORTH_A, "ImageId": image}, shop.operator)
    assert told["Listed"]
    assert "it has no bytes yet: only an operator's list contains it" in told["Notes"]


def test_a_newer_version_is_not_told_before_its_first_bytes_are_whole(shop: Shop, tmp_path: Path) -> None:
    first = shop.publish(disk(tmp_path), Family="debian-12")
    revision = shop.catalog.refresh()
    later = int(time.time()) + 1
    while time.time() < later:  # the newer one is made in a later second
        time.sleep(0.01)
    second = shop.begin(disk(tmp_path, seed=2), Family="debian-12")

    def newer() -> str:
        reply = shop.gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME, path=f"/rev/{revision}/")
        assert first in {image["ImageId"] for image in reply.fields["ImageSet"]}
        return reply.headers.get("x-phimage-newer", "")

    assert newer() == ""
    shop.work(second)
    assert newer() == f"debian-12={second}"


@pytest.mark.parametrize("more", [{}, ORG_A])
def test_the_message_of_a_failed_publication_names_the_image(more: dict[str, str], shop: Shop) -> None:
    image = failed(shop, **more)
    assert shop.well("GetPHostImageJob", {"ImageId": image})["Error"].startswith(f"{image} was not published: ")


def test_the_job_of_a_withdrawn_image_still_answers_why(shop: Shop) -> None:
    image = failed(shop)
    reason = shop.well("GetPHostImageJob", {"ImageId": image})["Error"]
    shop.well("WithdrawPHostImage", {"ImageId": image})
    told = shop.well("GetPHostImageJob", {"ImageId": image})
    assert (told["State"], told["ImageState"], told["Error"]) == ("Failed", "", reason)
