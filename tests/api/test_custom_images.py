"""Tenants publish custom images: for which project, with which rights, and what only operators do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from phimage.actions.publish_checks import MAX_UNFINISHED
from phimage.catalog.accounts import MEMBERSHIPS
from phimage.installation import command_author
from phimage.model.account import Role
from tests import examples
from tests.api import small
from tests.api.conftest import both_sites
from tests.api.publishing import ABOUT, NORTH_A, Shop, disk
from tests.api.signer import Pair

CUSTOM: dict[str, Any] = {**ABOUT, "ImageType": "Custom"}
TRUSTED: dict[str, Any] = {**CUSTOM, "TrustFirstUse": True}
ORG_B = {"ProjectId": "org-b"}
MIB = 1 << 20
SHA = "sha256:" + "5" * 64


def refusal(shop: Shop, action: str, params: dict[str, Any], pair: Pair) -> tuple[int, str]:
    reply = shop.ask(action, params, pair)
    return reply.ret_code, str(reply.fields.get("Detail", ""))


# whose image it is


@both_sites
def test_an_editor_publishes_an_image_that_its_project_alone_sees(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    image = {"ImageId": shop.begin(original, small.WORKER, **CUSTOM, **ORG_B), **ORG_B}
    waiting = shop.well("GetPHostImageJob", image, small.WORKER)
    shop.work(image["ImageId"])
    done = shop.well("GetPHostImageJob", image, small.WORKER)

    assert [(job["State"], job["ImageState"]) for job in (waiting, done)] == [("Queued", "Making"), ("Done", "Available")]
    shown = shop.well("GetPHostImage", image, small.WORKER)
    assert (shown["Image"]["ImageType"], shown["Image"]["State"]) == ("Custom", "Available")
    assert (shown["Origin"]["Source"], shown["Origin"]["DigestOrigin"]) == ("uploaded", "as given")
    listed = {**NORTH_A, "ImageId": [image["ImageId"]]}
    assert shop.ask("DescribePHostImage", {**listed, **ORG_B}, small.ACME).total == 1
    assert shop.ask("DescribePHostImage", listed, small.ACME).total == 0
    assert shop.ask("DescribePHostImage", listed, small.RIVAL).total == 0


def test_a_main_user_publishes_into_the_default_project_and_a_sub_user_names_one(shared_shop: Shop) -> None:
    assert shared_shop.well("PublishPHostImage", TRUSTED, small.ACME)["ProjectId"] == "org-a"
    assert shared_shop.well("PublishPHostImage", {**TRUSTED, **ORG_B}, small.ACME)["ProjectId"] == "org-b"
    assert refusal(shared_shop, "PublishPHostImage", TRUSTED, small.WORKER)[0] == 299


@pytest.mark.parametrize(
    ("params", "pair", "code", "named"),
    [
        ({"ImageType": "Base"}, small.ACME, 299, "ImageType Base"),
        ({"Override": ["disk.unknown"]}, small.ACME, 299, "Override"),
        ({"ProjectId": "org-r"}, small.ACME, 292, "org-r"),
        ({"ProjectId": "org-never-was"}, small.ACME, 292, "org-never-was"),
        ({"ProjectId": "org-a"}, small.VIEWER, 299, "editor in project org-a"),
        ({"ProjectId": "org-a"}, small.WORKER, 299, "editor in project org-a"),
        ({"ImageType": "Base", **ORG_B}, small.WORKER, 299, "ImageType Base"),
        ({"Zone": ["north-a", "east-a"]}, small.ACME, 230, "east-a"),
        ({"ImageType": None}, small.ACME, 220, "ImageType"),
    ],
    ids=str,
)
def test_what_a_tenant_may_not_publish_is_refused_by_name(
    params: dict[str, Any], pair: Pair, code: int, named: str, shared_shop: Shop
) -> None:
    before = shared_shop.catalog.refresh()
    asked = {name: value for name, value in {**TRUSTED, **params}.items() if value is not None}
    reply = shared_shop.ask("PublishPHostImage", asked, pair)

    assert reply.ret_code == code
    assert named in f"{reply.message} {reply.fields.get('Detail', '')}"
    assert shared_shop.catalog.refresh() == before


def test_an_image_is_published_in_zones_that_the_account_may_use(shared_shop: Shop) -> None:
    def ask(zones: list[str]) -> int:
        gateway = shared_shop.gateway
        return gateway.ask("PublishPHostImage", {**TRUSTED, "Zone": zones}, pair=small.FENCED, client=small.INSIDE).ret_code

    assert ask(["north-a", "north-b"]) == 293
    assert ask(["north-a"]) == 0


@pytest.mark.parametrize("name", ["Url", "ChecksumUrl"])
@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/disk.raw",
        "http://127.0.0.1/disk.raw",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/disk.raw",
        "http://[::ffff:10.0.0.1]/disk.raw",
        "http://images.example:8080/disk.raw",
        "file:///etc/passwd",
    ],
)
def test_a_url_of_a_tenant_names_the_public_internet(name: str, url: str, shared_shop: Shop) -> None:
    known = {"TrustFirstUse": True} if name == "Url" else {}
    reply = shared_shop.ask("PublishPHostImage", {**CUSTOM, **known, name: url}, small.ACME)
    assert (reply.ret_code, reply.message) == (230, f"Params [{name}] not available")


# the same token, and the same upload, of others


def test_a_token_is_the_callers_own(shared_shop: Shop) -> None:
    asked = {**TRUSTED, "Token": "one"}
    mine, again = (shared_shop.well("PublishPHostImage", asked, small.ACME)["ImageId"] for _ in range(2))
    of_rival = shared_shop.well("PublishPHostImage", asked, small.RIVAL)["ImageId"]
    of_operator = shared_shop.well("PublishPHostImage", {**asked, "ProjectId": "org-a"})["ImageId"]
    assert mine == again
    assert len({mine, of_rival, of_operator}) == 3
    assert shared_shop.well("PublishPHostImage", asked, small.ACME)["ImageId"] == mine


def test_an_upload_is_continued_by_the_account_that_began_it(shared_shop: Shop) -> None:
    begun = shared_shop.well("PublishPHostImage", TRUSTED, small.ACME)
    image = {"ImageId": begun["ImageId"]}
    for action, more in (("GetPHostImageUploadUrl", {}), ("CompletePHostImageUpload", {"Size": 1}), ("GetPHostImageJob", {})):
        absent = refusal(shared_shop, action, {"ImageId": "pimg-cs-nobody", **more}, small.RIVAL)
        assert refusal(shared_shop, action, {**image, **more}, small.RIVAL) == absent
        assert refusal(shared_shop, action, {**image, **ORG_B, **more}, small.ACME) == absent
    assert refusal(shared_shop, "GetPHostImageUploadUrl", {**image, "ProjectId": "org-a"}, small.VIEWER)[0] == 299
    assert shared_shop.well("GetPHostImageUploadUrl", image, small.ACME)["UploadUrl"]

    of_operator = {"ImageId": shared_shop.well("PublishPHostImage", {**TRUSTED, "ProjectId": "org-a"})["ImageId"]}
    assert shared_shop.well("GetPHostImageJob", of_operator, small.ACME)["State"] == "Waiting"
    for action, more in (("GetPHostImageUploadUrl", {}), ("CompletePHostImageUpload", {"Size": 1})):
        code, detail = refusal(shared_shop, action, {**of_operator, **more}, small.ACME)
        assert (code, "only operators send its parts" in detail) == (230, True)


def test_the_url_of_an_upload_ends_with_the_role_of_the_user_who_asked_for_it(shop: Shop) -> None:
    url = shop.well("PublishPHostImage", {**TRUSTED, **ORG_B}, small.WORKER)["UploadUrl"]
    with shop.catalog.change(command_author("Test")) as change:
        [membership] = MEMBERSHIPS.live(change.connection, MEMBERSHIPS.table.c.project == "org-b")
        MEMBERSHIPS.put(change, replace(membership, role=Role.VIEWER))
    shop.gateway.learn(shop.catalog.head)

    answer = shop.put(url, b"part")
    assert (answer.status, b"may no longer change images of the project" in answer.body) == (403, True)


# quotas


def test_a_quota_says_to_its_tenant_what_is_left_and_bounds_an_upload_of_unknown_size(shop: Shop) -> None:
    shop.well("SetQuota", {"Project": "org-a", "Limit": 2 * MIB})
    refused = shop.ask("PublishPHostImage", {**TRUSTED, "Size": 3 * MIB}, small.ACME)
    assert (refused.ret_code, refused.message) == (241, "Quota of [org-a] exceeded")
    assert refused.fields["Detail"] == f"{2 * MIB} bytes are left: remove images, or ask your operator to raise the quota"

    url = shop.well("PublishPHostImage", TRUSTED, small.ACME)["UploadUrl"]
    assert shop.put(url, bytes(3 * MIB)).status == 413
    assert shop.put(url, bytes(2 * MIB)).status == 201


def test_a_tenant_publishes_so_many_images_at_once(shop: Shop) -> None:
    images = [shop.well("PublishPHostImage", TRUSTED, small.ACME)["ImageId"] for _ in range(MAX_UNFINISHED)]
    code, detail = refusal(shop, "PublishPHostImage", TRUSTED, small.ACME)
    assert (code, "are being published" in detail) == (241, True)
    assert shop.ask("PublishPHostImage", {**TRUSTED, "ProjectId": "org-a"}).ret_code == 0
    shop.well("TerminatePHostImage", {**NORTH_A, "ImageId": images[0]}, small.ACME)
    assert refusal(shop, "PublishPHostImage", TRUSTED, small.ACME)[0] == 241  # the operator's counts too
    shop.well("TerminatePHostImage", {**NORTH_A, "ImageId": images[1]}, small.ACME)
    assert refusal(shop, "PublishPHostImage", TRUSTED, small.ACME)[0] == 0


# why it failed


def test_who_publishes_reads_why_it_failed(shop: Shop, tmp_path: Path) -> None:
    with shop.catalog.change(command_author("Test")) as change:
        MEMBERSHIPS.put(change, examples.membership("org-b", _user_of(shop, small.VIEWER), "acme", Role.VIEWER))
    shop.gateway.learn(shop.catalog.head)
    for pair, whose in ((small.WORKER, "own"), (None, "operator's")):
        image = shop.begin(disk(tmp_path), pair, **{**CUSTOM, "Digest": SHA}, **ORG_B)
        reason = shop.work(image)["Error"]
        assert SHA in reason
        for reader in (small.WORKER, small.VIEWER, small.ACME):
            job = shop.well("GetPHostImageJob", {"ImageId": image, **ORG_B}, reader)
            origin = shop.well("GetPHostImage", {"ImageId": image, **ORG_B}, reader)["Origin"]
            assert (job["State"], job["ImageState"]) == ("Failed", "Unavailable")
            if whose == "own":
                assert job["Error"] == reason
                assert reason.endswith(origin["Failure"])
            else:
                assert job["Error"].endswith("an operator publishes this image and knows the reason")
                assert origin is None


def _user_of(shop: Shop, pair: Pair) -> int:
    users = shop.well("ListUsers", {"Account": "acme"})["UserSet"]
    return int(next(user["UserId"] for user in users if user["User"] == pair.public))
