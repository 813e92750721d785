"""Scripted hosts: deployed, captured and cleaned by agents in the endpoint, under the state rules of real ones."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from phimage.demo_disk import make_disk
from phimage.pytest import PhimageWorld
from tests.ci.raw import get, signed
from tests.ci.test_faults import DISK

SEED = """\
phimage: 1
hosts:
  - {name: web-1, zone: cn-bj2-02, machine_type: DB-2, cluster: 10G, project: org-default}
  - {name: spare-1, zone: cn-bj2-02, machine_type: DB-2, cluster: 10G}
"""


@pytest.fixture
def hosted(world: PhimageWorld) -> PhimageWorld:
    world.seed(SEED)
    return world


def described(world: PhimageWorld) -> dict[str, Any]:
    """The one host of the project, as a tenant sees it."""
    answer = world.client().invoke("DescribePHost", {"Zone": world.zone})
    assert answer["TotalCount"] == 1
    found: dict[str, Any] = answer["PHostSet"][0]
    return found


def states(world: PhimageWorld) -> dict[str, str]:
    with world.operator as operator:
        return {host["Name"]: host["State"] for host in operator.call("ListHosts").fields["HostSet"]}


def reinstall(world: PhimageWorld, image: str = DISK) -> Any:
    return world.client().invoke(
        "ReinstallPHost", {"Zone": world.zone, "PHostId": described(world)["PHostId"], "ImageId": image}
    )


def capture(world: PhimageWorld, name: str = "captured") -> str:
    host = described(world)["PHostId"]
    answer = world.client().invoke("CreatePHostImage", {"Zone": world.zone, "PHostId": host, "ImageName": name})
    return str(answer["ImageId"])


def image_state(world: PhimageWorld, image: str) -> str:
    answer = world.client().uphost().describe_phost_image({"Zone": world.zone, "ImageId": [image]})
    return str(answer["ImageSet"][0]["State"])


def test_the_hosts_of_a_seed_are_enrolled_and_those_of_a_project_assigned(hosted: PhimageWorld) -> None:
    assert states(hosted) == {"web-1": "Rescue", "spare-1": "Free"}
    assert described(hosted)["Name"] == "web-1"


def test_a_reinstallation_ends_with_the_image_on_the_disk_and_the_host_running(hosted: PhimageWorld) -> None:
    reinstall(hosted)
    assert states(hosted)["web-1"] == "Running"
    assert described(hosted)["ImageId"] == DISK


def test_a_host_that_was_deployed_is_captured_with_the_bytes_of_its_image(hosted: PhimageWorld) -> None:
    reinstall(hosted)
    assert states(hosted)["web-1"] == "Running"
    hosted.boot("web-1")
    image = capture(hosted)
    assert image_state(hosted, image) == "Available"
    assert states(hosted)["web-1"] == "Rescue"
    query = signed(hosted.keys, "DownloadPHostImage", ImageId=image, ProjectId=hosted.project)
    disk = get(f"{hosted.url}/images/{image}.raw?{query}").body
    assert len(disk) == 64 << 20
    assert hashlib.sha256(disk[: len(make_disk())]).digest() == hashlib.sha256(make_disk()).digest()


def test_a_capture_follows_the_clock_and_its_host_is_busy_until_then(hosted: PhimageWorld) -> None:
    hosted.transition({"time": "10m"})
    image = capture(hosted)
    assert image_state(hosted, image) == "Making"
    assert states(hosted)["web-1"] == "Capturing"
    hosted.clock.advance(minutes=5)
    assert image_state(hosted, image) == "Making"
    hosted.clock.advance(minutes=5)
    assert image_state(hosted, image) == "Available"
    assert states(hosted)["web-1"] == "Rescue"


def test_a_capture_can_be_looked_at_three_times(hosted: PhimageWorld) -> None:
    hosted.transition({"looks": 3}, host="web-1")
    image = capture(hosted)
    progress = hosted.client().invoke("GetPHostImageProgress", {"Zone": hosted.zone, "ImageId": image})
    assert (progress["Done"], progress["Total"]) == (0, 64 << 20)
    assert [image_state(hosted, image) for _ in range(4)] == ["Making", "Making", "Making", "Available"]


def test_a_failed_capture_and_a_failed_deployment_end_as_real_ones_do(hosted: PhimageWorld) -> None:
    hosted.transition({"fail": "the disk has bad sectors", "after": "1m"})
    image = capture(hosted)
    hosted.clock.advance(minutes=1)
    assert image_state(hosted, image) == "Unavailable"
    assert states(hosted)["web-1"] == "Rescue"
    reinstall(hosted)
    hosted.clock.advance(minutes=1)
    assert states(hosted)["web-1"] == "Failed"
    assert "bad sectors" in described(hosted)["Failure"]


def test_a_release_cleans_the_disk_and_gives_the_host_back(hosted: PhimageWorld) -> None:
    with hosted.operator as operator:
        operator.call("ReleaseHost", PHostId=described(hosted)["PHostId"])
    assert states(hosted)["web-1"] == "Free"


def test_an_agent_that_is_switched_off_loses_its_order_after_half_an_hour(hosted: PhimageWorld) -> None:
    hosted.transition("stuck")
    image = capture(hosted)
    assert image_state(hosted, image) == "Making"
    hosted.clock.advance(hours=2)
    assert image_state(hosted, image) == "Making"  # its agent reports on
    hosted.boot("web-1", "off")
    hosted.clock.advance(minutes=31)
    assert image_state(hosted, image) == "Unavailable"


def test_a_host_that_the_seed_does_not_have_cannot_be_booted(hosted: PhimageWorld) -> None:
    with pytest.raises(AssertionError, match="no scripted host"):
        hosted.boot("web-9")
    with pytest.raises(AssertionError, match="rescue or off"):
        hosted.boot("web-1", "windows")


def test_a_seed_with_a_host_that_no_zone_offers_says_why(world: PhimageWorld) -> None:
    with pytest.raises(AssertionError, match="host spare-1: cn-bj2-02 does not offer DB-2 on 99G"):
        world.seed(SEED.replace("10G}", "99G}"))
