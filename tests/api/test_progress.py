"""How far a publication is: for whom, in which words, and from nothing to everything."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from phimage.actions.progress import RECEIVED, SHARES, UPLOAD
from phimage.actions.uploading import CAPTURE
from phimage.catalog import jobs
from phimage.publishing.progress import FETCH, PHASES
from tests.api import small
from tests.api.conftest import both_sites
from tests.api.publishing import ABOUT, NORTH_A, Shop, disk
from tests.api.signer import Pair

CUSTOM: dict[str, Any] = {**ABOUT, "ImageType": "Custom"}
MIB = 1 << 20
SHA = "sha256:" + "5" * 64


def progress(shop: Shop, image: str, pair: Pair | None = None, **more: str) -> dict[str, Any]:
    return shop.well("GetPHostImageProgress", {**NORTH_A, "ImageId": image, **more}, pair)


def test_every_phase_has_its_share_after_that_of_the_one_before() -> None:
    shares = [SHARES[phase] for phase in PHASES]
    assert SHARES.keys() == {UPLOAD, CAPTURE, *PHASES}
    assert SHARES[UPLOAD] == SHARES[CAPTURE] == SHARES[FETCH]
    assert all(start < end for start, end in shares)
    assert [end for _, end in shares[:-1]] == [start for start, _ in shares[1:]]
    assert shares[-1][1] < 100


@both_sites
def test_an_upload_counts_its_parts_and_then_the_work_on_them(shop: Shop, tmp_path: Path) -> None:
    data = disk(tmp_path).read_bytes()
    begun = shop.well("PublishPHostImage", {**CUSTOM, "Size": len(data), "TrustFirstUse": True}, small.ACME)
    image = str(begun["ImageId"])

    nothing = progress(shop, image, small.ACME)
    assert (float(nothing["Process"]), nothing["Phase"], nothing["Total"]) == (0.0, "upload", len(data))
    assert (nothing["TotalDuration"], nothing["RemainingDuration"]) == ("0", "0")
    shop.send(begun["UploadUrl"], data)
    sent = progress(shop, image, small.ACME)
    assert (float(sent["Process"]), sent["Sent"], sent["Done"]) == (RECEIVED, len(data), len(data))
    shop.well("CompletePHostImageUpload", {"ImageId": image, "Size": len(data)}, small.ACME)
    queued = progress(shop, image, small.ACME)
    assert (float(queued["Process"]), queued["Phase"], queued["Sent"]) == (RECEIVED, "", len(data))

    job = shop.claim(image)
    assert jobs.renew(shop.catalog.database, job, "convert", 1, 2, time.time())
    half = progress(shop, image, small.ACME)
    assert (float(half["Process"]), half["Phase"], half["Done"], half["Total"]) == (63.5, "convert", 1, 2)
    assert int(half["RemainingDuration"]) <= int(half["TotalDuration"])
    shop.finish(job)

    done = progress(shop, image, small.ACME)
    assert (float(done["Process"]), done["Sent"], done["Reused"], done["Error"]) == (100.0, len(data), 0, "")
    assert (done["TotalDuration"].isdigit(), done["RemainingDuration"]) == (True, "0")


def test_a_disk_whose_chunks_are_known_is_reused_and_operators_alone_read_it(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    first, second = shop.publish(original), shop.publish(original, Version="2")
    assert (progress(shop, first)["Reused"], progress(shop, second)["Reused"]) == (0, 4 * MIB)
    for image in (second, shop.publish(original, small.ACME, **CUSTOM)):
        assert progress(shop, image, small.ACME)["Reused"] == 0  # it would tell what others have
    assert [job["Reused"] for job in shop.well("ListPHostImageJobs")["JobSet"]] == [4 * MIB, 4 * MIB, 0]
    assert [job["Reused"] for job in shop.well("ListPHostImageJobs", {}, small.ACME)["JobSet"]] == [0]


def test_a_fetch_says_what_has_arrived(shop: Shop) -> None:
    begun = shop.well("PublishPHostImage", {**ABOUT, "Url": "https://images.example/disk.raw", "Digest": SHA})
    image = str(begun["ImageId"])
    waits = progress(shop, image)
    assert (float(waits["Process"]), waits["Phase"], waits["Sent"]) == (0.0, "", 0)
    job = shop.claim(image)
    jobs.renew(shop.catalog.database, job, "fetch", 3 * MIB, 4 * MIB, time.time(), sent=3 * MIB)
    fetching = progress(shop, image)
    assert (float(fetching["Process"]), fetching["Sent"], fetching["Total"]) == (30.0, 3 * MIB, 4 * MIB)
    jobs.renew(shop.catalog.database, job, "unpack", 0, 0, time.time())
    unpacking = progress(shop, image)
    assert (float(unpacking["Process"]), unpacking["Sent"], unpacking["Total"]) == (RECEIVED, 3 * MIB, 0)


def test_everyone_who_sees_the_image_sees_its_progress_and_others_as_if_it_never_was(shop: Shop, tmp_path: Path) -> None:
    mine, base = shop.begin(disk(tmp_path), small.ACME, **CUSTOM, Digest=SHA), shop.begin(disk(tmp_path, seed=2))
    shop.work(mine)
    failure = progress(shop, mine, small.ACME)
    assert SHA in failure["Error"]
    assert progress(shop, mine, small.VIEWER, ProjectId="org-a") == progress(shop, mine, small.OPERATOR) == failure
    for pair in (small.ACME, small.RIVAL):
        assert float(progress(shop, base, pair)["Process"]) == RECEIVED

    def refused(image: str, pair: Pair, **more: str) -> tuple[int, str]:
        reply = shop.ask("GetPHostImageProgress", {**NORTH_A, "ImageId": image, **more}, pair)
        return reply.ret_code, str(reply.fields.get("Detail"))

    absent = refused("pimg-cs-nobody", small.RIVAL)
    assert absent[0] == 230
    assert refused(mine, small.RIVAL) == refused(mine, small.ACME, ProjectId="org-b") == absent
    assert refused("b-new", small.ACME) == (230, "it was neither published nor captured: it is an entry of the catalogue alone")
    assert refused(mine, small.VIEWER)[0] == 299


@pytest.mark.parametrize(("name", "value"), [("Region", None), ("Zone", None), ("ImageId", None), ("Zone", "south-a")])
def test_the_parameters_are_those_of_the_protocol(name: str, value: str | None, shared_shop: Shop) -> None:
    asked = {**NORTH_A, "ImageId": "b-new", name: value}
    reply = shared_shop.ask("GetPHostImageProgress", {key: given for key, given in asked.items() if given is not None})
    assert (reply.ret_code, f"[{name}]" in reply.message) == (220 if value is None else 230, True)
