"""Publishing over the gateway: what is asked for, what is refused, and the way of an image from its upload to its bytes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from phimage.catalog import jobs
from tests.api import small
from tests.api.conftest import both_sites
from tests.api.gateway import running
from tests.api.publishing import ABOUT, NORTH_A, Shop, disk, sha256_of

TRUSTED: dict[str, Any] = {**ABOUT, "TrustFirstUse": True}
MIB = 1 << 20
SHA = "sha256:" + "5" * 64


# what is asked for


@pytest.mark.parametrize(
    ("given", "code", "name"),
    [
        ({"Name": None}, 220, "Name"),
        ({"OsType": None}, 220, "OsType"),
        ({"OsName": None}, 220, "OsName"),
        ({"Zone": None}, 220, "Zone"),
        ({"Support": None}, 220, "Support"),
        ({"Name": "n" * 129}, 240, "Name"),
        ({"Name": "a\x1b[31m"}, 230, "Name"),
        ({"Name": "a\nb"}, 230, "Name"),
        ({"OsName": "\u202eb"}, 230, "OsName"),
        ({"Description": "a\x9bb"}, 230, "Description"),
        ({"FileName": "a\u2066b"}, 230, "FileName"),
        ({"Url": "https://images.example/disk\u200e.raw"}, 230, "Url"),
        ({"OsType": "o" * 65}, 240, "OsType"),
        ({"OsName": "o" * 129}, 240, "OsName"),
        ({"Version": "v" * 65}, 240, "Version"),
        ({"Description": "d" * 1025}, 240, "Description"),
        ({"Token": "t" * 129}, 240, "Token"),
        ({"Family": "Debian 12"}, 230, "Family"),
        ({"Zone": ["north-a", "east-a"]}, 230, "Zone"),
        ({"Support": ["Both", "Neither"]}, 230, "Support"),
        ({"Support": ["Both:100G"]}, 230, "Support"),
        ({"Support": ["Far"]}, 230, "Support"),
        ({"ImageType": "Other"}, 230, "ImageType"),
        ({"ImageType": "Custom"}, 220, "ProjectId"),
        ({"ImageType": "Custom", "ProjectId": "org-no"}, 230, "ProjectId"),
        ({"ProjectId": "org-a"}, 230, "ProjectId"),
        ({"Size": -1}, 230, "Size"),
        ({"Size": (1 << 30) + 1}, 240, "Size"),
        ({"Url": "ftp://images.example/disk.raw"}, 230, "Url"),
        ({"Url": "http://me:secret@images.example/disk.raw"}, 230, "Url"),
        ({"Url": "file:///etc/passwd"}, 230, "Url"),
        ({"TrustFirstUse": None, "ChecksumUrl": "gopher://images.example/SHA256SUMS"}, 230, "ChecksumUrl"),
        ({"TrustFirstUse": None, "Digest": "md5:" + "1" * 32}, 230, "Digest"),
        ({"TrustFirstUse": None, "Digest": "sha256:short"}, 230, "Digest"),
        ({"TrustFirstUse": None}, 220, "Digest"),
        ({"Digest": SHA}, 230, "Digest"),
        ({"ChecksumUrl": "https://images.example/SHA256SUMS"}, 230, "Digest"),
        ({"TrustFirstUse": None, "Digest": SHA, "ChecksumUrl": "https://images.example/SHA256SUMS"}, 230, "Digest"),
        ({"Format": "exe"}, 230, "Format"),
        ({"Override": ["no.such-finding"]}, 230, "Override"),
        ({"Override": ["qcow2.backing-file"]}, 230, "Override"),
    ],
    ids=str,
)
def test_an_error_names_its_parameter_and_publishes_nothing(
    given: dict[str, Any], code: int, name: str, shared_shop: Shop
) -> None:
    params = {name: value for name, value in {**TRUSTED, **given}.items() if value is not None}
    before = shared_shop.catalog.refresh()

    reply = shared_shop.ask("PublishPHostImage", params)

    assert (reply.ret_code, f"[{name}]" in reply.message) == (code, True), reply.fields
    assert reply.fields.get("Detail") != ""
    assert shared_shop.catalog.refresh() == before
    assert "secret" not in str(reply.fields)


def test_an_error_names_the_remedy(shared_shop: Shop) -> None:
    details = {
        "Far": "none of its zones offers Far; name a cluster to override this",
        "Both:100G": "there is no cluster 100G; there are 10G, 1G, 25G",
    }
    for support, detail in details.items():
        assert shared_shop.ask("PublishPHostImage", {**TRUSTED, "Support": [support]}).fields["Detail"] == detail


@pytest.mark.parametrize(
    ("zones", "support", "runs"),
    [
        (["north-a"], ["Both"], {"Both": ["10G", "25G"]}),
        (["north-b"], ["Both"], {"Both": ["10G"]}),
        (["north-a"], ["Both:25G"], {"Both": ["25G"]}),
        (["north-b"], ["Both", "Both:25G", "Slow:1G"], {"Both": ["10G", "25G"], "Slow": ["1G"]}),
        (["north-a"], ["Far:25G", "Far:1G"], {"Far": ["1G", "25G"]}),
        (["north-b", "south-a", "north-b"], ["Far", "Both"], {"Both": ["10G"], "Far": ["25G"]}),
    ],
)
def test_a_machine_type_means_every_cluster_that_the_images_zones_offer(
    zones: list[str], support: list[str], runs: dict[str, list[str]], shared_shop: Shop
) -> None:
    image = shared_shop.well("PublishPHostImage", {**TRUSTED, "Zone": zones, "Support": support})["ImageId"]
    found = shared_shop.well("GetPHostImage", {"ImageId": image})

    assert {row["MachineType"]: row["Clusters"] for row in found["Runs"]} == runs
    assert found["Zones"] == sorted(set(zones))


# the same call once more


def test_a_token_makes_a_call_repeatable(shop: Shop) -> None:
    first, again = (shop.well("PublishPHostImage", {**TRUSTED, "Token": "one"}) for _ in range(2))
    other = shop.well("PublishPHostImage", {**TRUSTED, "Token": "two"})
    without = [shop.well("PublishPHostImage", TRUSTED)["ImageId"] for _ in range(2)]

    assert (again["ImageId"], again["JobId"], again["State"]) == (first["ImageId"], first["JobId"], "Waiting")
    assert len({first["ImageId"], other["ImageId"], *without}) == 4


def test_a_token_of_a_complete_upload_answers_with_its_image_and_awaits_no_parts(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path), Token="one")
    again = shop.well("PublishPHostImage", {**TRUSTED, "Token": "one"})
    assert (again["ImageId"], again["State"], again["UploadUrl"]) == (image, "Done", "")


def test_a_token_finds_its_upload_again_when_that_has_filled_the_store(shop: Shop) -> None:
    upload = {**TRUSTED, "Size": 5 * MIB}
    begun = shop.well("PublishPHostImage", {**upload, "Token": "one"})
    has_limit = shop.store.free_bytes() is not None
    with running(replace(shop.settings, min_free_mb=1 << 30), alone=False) as full:
        again = full.ask("PublishPHostImage", {**upload, "Token": "one"}, pair=shop.operator)
        another = full.ask("PublishPHostImage", {**upload, "Token": "two"}, pair=shop.operator)

    assert (again.fields["ImageId"], again.fields["State"]) == (begun["ImageId"], "Waiting")
    assert another.ret_code == (240 if has_limit else 0)


def test_a_token_begins_anew_after_a_failure_and_after_a_withdrawal(shop: Shop, tmp_path: Path) -> None:
    failed = shop.begin(disk(tmp_path), Digest=SHA, Token="one")
    assert shop.work(failed)["State"] == "Failed"
    second = shop.well("PublishPHostImage", {**TRUSTED, "Token": "one"})["ImageId"]
    shop.well("WithdrawPHostImage", {"ImageId": second})
    third = shop.well("PublishPHostImage", {**TRUSTED, "Token": "one"})["ImageId"]
    assert len({failed, second, third}) == 3


# from the upload to the image


@both_sites
def test_an_image_is_making_until_its_bytes_are_whole(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    data = original.read_bytes()

    begun = shop.well("PublishPHostImage", {**ABOUT, "Size": len(data), "Digest": f"sha256:{sha256_of(original)}"})
    image = {"ImageId": begun["ImageId"]}
    assert begun["State"] == "Waiting"
    assert (_job(shop, image), _listed(shop, image)["State"]) == (("Waiting", "Making"), "Making")

    shop.send(begun["UploadUrl"], data)
    completed = shop.well("CompletePHostImageUpload", {**image, "Size": len(data)})
    assert (completed["JobId"], completed["State"], completed["ImageState"]) == (begun["JobId"], "Queued", "Making")
    assert shop.work(begun["ImageId"])["Error"] == ""

    assert _job(shop, image) == ("Done", "Available")
    listed = _listed(shop, image)
    assert (listed["State"], listed["ImageSize"], listed["Support"]) == ("Available", 1, ["Both"])


def test_an_upload_url_can_be_had_again_until_the_upload_is_complete(shop: Shop, tmp_path: Path) -> None:
    data = disk(tmp_path).read_bytes()
    begun = shop.well("PublishPHostImage", {**TRUSTED, "Size": len(data)})
    image = {"ImageId": begun["ImageId"]}

    new = shop.well("GetPHostImageUploadUrl", image)
    shop.send(new["UploadUrl"], data)
    shop.well("CompletePHostImageUpload", {**image, "Size": len(data)})

    refused = shop.ask("GetPHostImageUploadUrl", image)
    assert (refused.ret_code, refused.fields["Detail"]) == (230, "its publication is Queued and takes no upload")
    assert shop.put(new["UploadUrl"], data).status == 409


def test_an_upload_with_missing_parts_is_not_complete(shop: Shop) -> None:
    begun = shop.well("PublishPHostImage", {**TRUSTED, "Size": 3 * MIB})
    image = {"ImageId": begun["ImageId"]}
    assert shop.ask("CompletePHostImageUpload", {**image, "Size": 3 * MIB}).message == "Params [Size] not available"
    shop.send(begun["UploadUrl"], bytes(2 * MIB))
    assert shop.ask("CompletePHostImageUpload", {**image, "Size": 3 * MIB}).message == "Params [Size] not available"
    assert shop.ask("CompletePHostImageUpload", {**image, "Size": 0}).ret_code == 230
    for huge in ((1 << 30) + 1, 1 << 62):
        assert shop.ask("CompletePHostImageUpload", {**image, "Size": huge}).ret_code == 240
    assert _job(shop, image) == ("Waiting", "Making")


def test_completing_again_after_a_lost_answer_is_answered_as_the_first_time(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    image = shop.begin(original)
    size = original.stat().st_size
    complete = {"ImageId": image, "Size": size}

    assert shop.well("CompletePHostImageUpload", complete)["State"] == "Queued"
    shop.work(image)
    again = shop.well("CompletePHostImageUpload", complete)
    assert (again["State"], again["ImageState"]) == ("Done", "Available")
    assert shop.ask("CompletePHostImageUpload", {**complete, "Size": size + 1}).ret_code == 230


def test_parts_that_are_not_what_was_sent_are_refused(shop: Shop, tmp_path: Path) -> None:
    data = disk(tmp_path).read_bytes()
    begun = shop.well("PublishPHostImage", {**TRUSTED, "Size": len(data)})
    shop.send(begun["UploadUrl"], data)
    wrong = {"ImageId": begun["ImageId"], "Size": len(data)}
    assert shop.ask("CompletePHostImageUpload", {**wrong, "Digest": "sha256:?"}).message == "Params [Digest] not available"
    shop.well("CompletePHostImageUpload", {**wrong, "Digest": SHA})
    assert "declared by its sender" in shop.work(begun["ImageId"])["Error"]


def test_an_image_of_a_url_waits_for_a_publisher_and_not_for_parts(shop: Shop) -> None:
    begun = shop.well("PublishPHostImage", {**ABOUT, "Url": "https://images.example/disk.raw?key=hidden", "Digest": SHA})
    image = {"ImageId": begun["ImageId"]}
    assert (begun["State"], begun["UploadUrl"]) == ("Queued", "")
    assert shop.ask("GetPHostImageUploadUrl", image).ret_code == 230
    assert shop.ask("CompletePHostImageUpload", {**image, "Size": 1}).ret_code == 230
    origin = shop.well("GetPHostImage", image)["Origin"]
    assert origin["Digest"] == SHA
    assert origin["Source"].startswith("https://images.example/disk.raw")
    assert "hidden" not in origin["Source"]


@pytest.mark.parametrize(
    ("action", "more"), [("GetPHostImageUploadUrl", {}), ("CompletePHostImageUpload", {"Size": 1}), ("GetPHostImageJob", {})]
)
@pytest.mark.parametrize("image", ["b-new", "pimg-cs-nobody"])
def test_an_image_that_was_not_published_with_its_bytes_has_no_publication(
    action: str, more: dict[str, int], image: str, shared_shop: Shop
) -> None:
    reply = shared_shop.ask(action, {"ImageId": image, **more})
    assert (reply.ret_code, reply.message) == (230, "Params [ImageId] not available")


# what came of it, and who is told


def test_the_reason_of_a_failure_is_for_the_operator_alone(shop: Shop, tmp_path: Path) -> None:
    image = shop.begin(disk(tmp_path), Digest=SHA, Description="for all")
    reason = shop.work(image)["Error"].removeprefix(f"{image} was not published: ")
    assert SHA in reason
    asked = {**NORTH_A, "ImageId": [image]}

    told = shop.well("DescribePHostImage", asked)["ImageSet"][0]
    public = shop.well("DescribePHostImage", asked, small.ACME)["ImageSet"][0]

    assert (told["State"], told["ImageDescription"]) == ("Unavailable", f"for all [not published: {reason}]")
    assert public == {**told, "ImageDescription": "for all"}
    assert shop.well("GetPHostImage", {"ImageId": image})["Origin"]["Failure"] == reason
    for action, params in (
        ("GetPHostImage", {"ImageId": image}),
        ("ExplainPHostImage", {**NORTH_A, "ImageId": image}),
        ("DescribePHostImage", asked),
        ("ListPHostImageChanges", {"After": 0}),
    ):
        reply = shop.ask(action, params, small.ACME)
        assert reply.ret_code == 0
        assert SHA.partition(":")[2] not in reply.body.decode(), action
    assert shop.ask("GetPHostImageDownloadUrl", {"ImageId": image}).ret_code == 230


def test_everybody_is_told_what_the_disk_is_and_the_operator_where_it_came_from(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    image = {"ImageId": shop.publish(original)}
    operator, tenant = shop.well("GetPHostImage", image), shop.well("GetPHostImage", image, small.ACME)

    assert (tenant["Disk"]["Digest"], tenant["Disk"]["Size"]) == (f"sha256:{sha256_of(original)}", 6 * MIB)
    assert tenant["Disk"]["Table"] == "mbr"
    assert tenant["Disk"] == operator["Disk"]
    assert tenant["Origin"] is None
    assert (operator["Origin"]["Source"], operator["Origin"]["DigestOrigin"]) == ("uploaded", "as given")
    bare = shop.well("GetPHostImage", {"ImageId": "b-new"})
    assert (bare["Disk"], bare["Origin"]) == (None, None)


def test_a_custom_image_is_seen_in_its_project_and_nowhere_else(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path), ImageType="Custom", ProjectId="org-a")
    asked = {**NORTH_A, "ImageId": [image]}
    listed = shop.ask("DescribePHostImage", asked, small.ACME).images

    assert [(one["ImageType"], one["State"]) for one in listed] == [("Custom", "Available")]
    assert shop.ask("DescribePHostImage", {**asked, "ProjectId": "org-b"}, small.ACME).ids == []
    assert shop.ask("DescribePHostImage", asked, small.RIVAL).ids == []


# quotas


def test_what_has_no_room_in_the_quota_is_refused_with_what_is_left(shop: Shop) -> None:
    shop.well("SetQuota", {"Project": "Base", "Limit": 10 * MIB})
    shop.well("PublishPHostImage", {**TRUSTED, "Size": 6 * MIB})

    refused = shop.ask("PublishPHostImage", {**TRUSTED, "Size": 6 * MIB})

    assert (refused.ret_code, "Base" in refused.message) == (241, True)
    assert refused.fields["Detail"] == f"{4 * MIB} bytes are left: raise the quota or withdraw images"
    assert shop.ask("PublishPHostImage", {**TRUSTED, "ImageType": "Custom", "ProjectId": "org-a"}).ret_code == 0
    shop.well("PublishPHostImage", {**TRUSTED, "Size": 4 * MIB})
    assert shop.ask("PublishPHostImage", TRUSTED).ret_code == 241  # nothing is left, whatever its size


@both_sites
def test_quotas_are_listed_with_their_use_and_can_be_lifted(shop: Shop, tmp_path: Path) -> None:
    assert shop.well("ListQuotas")["QuotaSet"] == []
    shop.well("SetQuota", {"Project": "org-a", "Limit": 10 * MIB})
    shop.well("SetQuota", {"Project": "Base", "Limit": 0})
    shop.well("SetQuota", {"Project": "Base", "Limit": 1 << 50})
    published = shop.publish(disk(tmp_path), ImageType="Custom", ProjectId="org-a")
    shop.well("PublishPHostImage", {**TRUSTED, "Size": 3 * MIB, "ImageType": "Custom", "ProjectId": "org-a"})

    assert shop.well("ListQuotas")["QuotaSet"] == [
        {"Project": "Base", "Limit": 1 << 50, "Published": 0, "Reserved": 0},
        {"Project": "org-a", "Limit": 10 * MIB, "Published": 6 * MIB, "Reserved": 3 * MIB},
    ]
    shop.well("WithdrawPHostImage", {"ImageId": published})
    assert shop.well("ListQuotas")["QuotaSet"][1]["Published"] == 0
    shop.well("SetQuota", {"Project": "org-a", "Limit": -1})
    shop.well("SetQuota", {"Project": "org-a", "Limit": -1})
    assert [quota["Project"] for quota in shop.well("ListQuotas")["QuotaSet"]] == ["Base"]


def test_a_quota_is_of_a_project_that_exists_and_the_operators_matter(shop: Shop) -> None:
    assert shop.ask("SetQuota", {"Project": "org-no", "Limit": 1}).message == "Params [Project] not available"
    for limit in (-2, (1 << 60) + 1, 1 << 63, "many"):
        assert shop.ask("SetQuota", {"Project": "org-a", "Limit": limit}).message == "Params [Limit] not available"
    assert shop.ask("SetQuota", {"Limit": 1}).message == "Missing params [Project]"
    for action in ("SetQuota", "ListQuotas"):
        assert shop.ask(action, {"Project": "org-a"}, small.ACME).ret_code == 299


def _job(shop: Shop, image: dict[str, str]) -> tuple[str, str]:
    found = shop.well("GetPHostImageJob", image)
    return found["State"], found["ImageState"]


def _listed(shop: Shop, image: dict[str, str]) -> dict[str, Any]:
    listed = shop.ask("DescribePHostImage", {**NORTH_A, "ImageId": [image["ImageId"]]}, small.ACME)
    assert listed.total == 1
    return listed.images[0]


def test_a_job_whose_source_gave_nothing_says_so_while_it_waits(shop: Shop) -> None:
    begun = shop.well("PublishPHostImage", {**ABOUT, "Url": "https://images.example/disk.raw", "Digest": SHA})
    image = {"ImageId": begun["ImageId"]}
    jobs.postpone(shop.catalog.database, shop.claim(begun["ImageId"]), time.time() + 60, 1, "no whole answer in 30 s")
    waiting = shop.well("GetPHostImageJob", image)
    assert (waiting["State"], waiting["ImageState"], waiting["Error"]) == ("Queued", "Making", "no whole answer in 30 s")
    assert jobs.claim(shop.catalog.database, "by hand", time.time()) is None
