"""The clock of a world, and the transitions of images that are being made."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from phimage.ci.clock import WorldClock
from phimage.client import Client
from phimage.demo_disk import make_disk
from phimage.errors import Refused
from phimage.model.account import PrivateKey
from phimage.pytest import PhimageWorld
from tests.ci.raw import get
from tests.ci.test_faults import DISK, PUBLISH
from tests.e2e.process import DESCRIBED, Key, Phimage

START = datetime(2027, 1, 1, tzinfo=UTC)


def upload(world: PhimageWorld, disk: bytes) -> str:
    """Publish a disk for the demonstration's project, and do not wait for its end. Returns the id of the image."""
    described = {**PUBLISH, "ImageType": "Custom", "ProjectId": world.project, "Size": len(disk)}
    with Client(world.url, world.keys.public, PrivateKey(world.keys.private)) as tenant:
        made = tenant.call("PublishPHostImage", **described).fields
        digest = base64.b64encode(hashlib.sha256(disk).digest()).decode()
        put(f"{made['UploadUrl'].replace('?', '/0?')}", disk, {"Content-Digest": f"sha-256=:{digest}:"})
        image = str(made["ImageId"])
        tenant.call("CompletePHostImageUpload", ImageId=image, Size=len(disk))
    return image


def put(url: str, body: bytes, headers: dict[str, str]) -> None:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=60)
    connection.request("PUT", f"{parts.path}?{parts.query}", body, headers)
    response = connection.getresponse()
    assert response.status == 201, response.read()
    connection.close()


def progress(world: PhimageWorld, image: str) -> dict[str, Any]:
    found: dict[str, Any] = world.client().invoke("GetPHostImageProgress", {"ImageId": image, "Zone": world.zone})
    return found


def state_of(world: PhimageWorld, image: str) -> str:
    return str(next(each["state"] for each in world.state()["images"] if each["id"] == image))


def test_the_clock_is_frozen_and_moves_on_when_it_is_told(world: PhimageWorld) -> None:
    assert world.clock.now == START == world.clock.now
    assert world.clock.advance(minutes=5, seconds=1) == datetime(2027, 1, 1, 0, 5, 1, tzinfo=UTC)
    assert world.clock.set(datetime(2027, 2, 1, tzinfo=UTC)) == datetime(2027, 2, 1, tzinfo=UTC)
    with pytest.raises(AssertionError, match="only goes on"):
        world.clock.set(START)


def test_what_is_stored_follows_the_clock_and_signatures_do_not(world: PhimageWorld) -> None:
    world.clock.advance(days=400)
    with world.operator as operator:
        made = operator.call("PublishPHostImage", **PUBLISH).fields["ImageId"]
        shown = operator.call("GetPHostImage", ImageId=made).fields
    assert int(shown["Image"]["CreateTime"]) == round(world.clock.now.timestamp())


def test_a_running_clock_goes_on_by_itself(world: PhimageWorld) -> None:
    began = world.clock.run()
    assert world.clock.now > began
    frozen = world.clock.run(False)
    assert world.clock.now == frozen


def test_a_running_clock_is_advanced_by_nothing_although_it_went_on() -> None:
    ticks = count()
    clock = WorldClock(0.0, lambda: float(next(ticks)))
    clock.run(True)
    before = clock()
    clock.advance(0)
    assert clock() > before


def test_ten_minutes_later_a_ticket_is_refused_and_a_job_has_moved(world: PhimageWorld) -> None:
    world.transition({"time": "10m"})
    image = upload(world, make_disk())
    url = world.client().invoke("GetPHostImageDownloadUrl", {"ImageId": DISK, "Seconds": 600})["RawUrl"]
    assert get(url).body == make_disk()
    assert progress(world, image)["Phase"] == "unpack"
    world.clock.advance(minutes=5)
    half = progress(world, image)
    assert (half["Phase"], half["Process"]) == ("convert", 69.5)
    world.clock.advance(minutes=5)
    refused = get(url)
    assert (refused.status, json.loads(refused.body)["Reason"]) == (401, "expired")
    assert progress(world, image)["Process"] == 100
    assert state_of(world, image) == "Available"


def test_the_commands_publish_a_disk_at_once_and_download_it_again(world: PhimageWorld, tmp_path: Path) -> None:
    operator = world.server.keys["operator"]
    place = {"PHIMAGE_REGION": world.region, "PHIMAGE_ZONE": world.zone}
    command = Phimage(tmp_path).using(world.url, Key(*operator), **place)
    (tmp_path / "disk.raw").write_bytes(make_disk())
    command.well("image", "publish", "disk.raw", *DESCRIBED, "--trust-first-use")
    command.well("image", "download", newest(world), "-o", "again.raw")
    assert (tmp_path / "again.raw").read_bytes() == make_disk()
    assert [call.ret_code for call in world.journal("CompletePHostImageUpload")] == [0]


def newest(world: PhimageWorld) -> str:
    """The image that was published last."""
    answer = world.client().uphost().describe_phost_image({"Zone": world.zone, "Limit": 1})
    return str(answer["ImageSet"][0]["ImageId"])


def test_an_image_leaves_making_after_so_many_looks(world: PhimageWorld) -> None:
    world.transition({"looks": 3})
    image = upload(world, make_disk())
    seen = []
    for _ in range(5):
        answer = world.client().uphost().describe_phost_image({"Zone": world.zone, "ImageType": "Custom", "Limit": 100})
        seen.append(next(each["State"] for each in answer["ImageSet"] if each["ImageId"] == image))
    assert seen == ["Making", "Making", "Making", "Available", "Available"]


def test_an_image_that_is_stuck_stays_so_until_another_transition(world: PhimageWorld) -> None:
    world.transition("stuck")
    image = upload(world, make_disk())
    world.clock.advance(days=30)
    assert progress(world, image)["Process"] == 40
    assert state_of(world, image) == "Making"
    world.transition("immediate", image)
    assert progress(world, image)["Process"] == 100


def test_a_failure_has_its_reason_and_the_states_of_a_real_one(world: PhimageWorld) -> None:
    world.transition({"fail": "no space left", "after": "2m"})
    image = upload(world, make_disk())
    world.clock.advance(minutes=2)
    assert "no space left" in progress(world, image)["Error"]
    job = world.client().invoke("GetPHostImageJob", {"ImageId": image})
    assert (job["State"], job["ImageState"]) == ("Failed", "Unavailable")


def test_an_image_withdrawn_while_it_is_made_ends_its_job(world: PhimageWorld) -> None:
    world.transition({"time": "1h"})
    image = upload(world, make_disk())
    assert [job["image"] for job in world.state()["jobs"]] == [image]
    with world.operator as operator:
        operator.call("WithdrawPHostImage", ImageId=image)
    world.clock.advance(hours=2)
    assert world.state()["jobs"] == []
    assert image not in [each["id"] for each in world.state()["images"]]


def test_an_upload_that_nobody_continues_ends_after_an_hour_of_the_clock(world: PhimageWorld) -> None:
    with world.operator as operator:
        image = operator.call("PublishPHostImage", **PUBLISH).fields["ImageId"]
        world.clock.advance(hours=2)
        with pytest.raises(Refused):
            operator.call("GetPHostImageUploadUrl", ImageId=image)
    assert world.state()["jobs"] == []


@pytest.mark.parametrize(
    "wrong", ["soon", {"looks": -1}, {"time": "long"}, {"after": "2m"}, {"fail": ""}, {"time": 1, "fail": "x"}]
)
def test_a_transition_that_cannot_be_followed_is_refused(world: PhimageWorld, wrong: object) -> None:
    with pytest.raises(AssertionError, match="expected"):
        world.transition(wrong)
