"""Hosts: what operators, tenants and agents do with them, and which state every step of it leads to."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from phimage.chunk_upload import FileDisk, send_disk
from tests.api import small
from tests.api.agents import HOST, SignedAgent
from tests.api.conftest import both_sites
from tests.api.publishing import ABOUT, NORTH_A, Shop, disk
from tests.api.signer import Pair

pytestmark = both_sites

CUSTOM: dict[str, Any] = {**ABOUT, "ImageType": "Custom"}


class Rack:
    """A shop with hosts, and its operator's and tenants' eyes on them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.well = shop.well

    def register(self, **more: Any) -> tuple[str, str]:
        fields = self.well("RegisterHost", {**HOST, **more})
        return fields["PHostId"], fields["EnrollToken"]

    def enrolled(self, **more: Any) -> tuple[str, SignedAgent]:
        id, token = self.register(**more)
        agent = SignedAgent(self.shop.gateway)
        agent.enrol(token)
        return id, agent

    def rescued(self, project: str = "org-a") -> tuple[str, SignedAgent]:
        """A host in the rescue system, which belongs to a project."""
        id, agent = self.enrolled()
        self.well("AssignHost", {"PHostId": id, "ProjectId": project})
        return id, agent

    def row(self, id: str) -> dict[str, Any]:
        (row,) = self.well("ListHosts", {"PHostId": [id]})["HostSet"]
        found: dict[str, Any] = row
        return found

    def state(self, id: str) -> str:
        found: str = self.row(id)["State"]
        return found

    def seen(self, pair: Pair = small.ACME, **more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.well("DescribePHost", {"Region": "north", **more}, pair)["PHostSet"]
        return found

    def reinstall(self, id: str, image: str, pair: Pair = small.ACME, **more: Any) -> Any:
        return self.shop.ask("ReinstallPHost", {**NORTH_A, "PHostId": id, "ImageId": image, "Password": "", **more}, pair)

    def capture(self, id: str, pair: Pair = small.ACME, **more: Any) -> Any:
        return self.shop.ask("CreatePHostImage", {**NORTH_A, "PHostId": id, "ImageName": "from a host", **more}, pair)


@pytest.fixture
def rack(shop: Shop) -> Rack:
    return Rack(shop)


@pytest.fixture
def image(shop: Shop, tmp_path: Path) -> Iterator[str]:
    yield shop.publish(disk(tmp_path), TrustFirstUse=True)


def send_chunks(shop: Shop, url: str, raw: Path) -> int:
    """Send a disk as an agent does. Returns the bytes of its frames."""
    address, _, ticket = url.partition("?")

    def send(method: str, below: str, body: bytes) -> bytes:
        digest = f"sha-256=:{base64.b64encode(sha256(body).digest()).decode()}:"
        answer = shop.gateway.fetch(method, f"{address}/{below}?{ticket}", [("Content-Digest", digest)], body)
        assert answer.status in (200, 201), answer
        return answer.body

    with FileDisk(str(raw)) as opened:
        return send_disk(opened, send).sent


def test_a_host_goes_from_its_registration_through_a_deployment_and_a_capture_back_to_free(
    rack: Rack, image: str, tmp_path: Path
) -> None:
    shop = rack.shop
    id, token = rack.register()
    assert rack.state(id) == "Registered"
    assert rack.seen() == []
    agent = SignedAgent(shop.gateway)
    enrolled = agent.enrol(token)
    assert (enrolled["PHostId"], enrolled["Disk"]) == (id, HOST["Disk"])
    assert rack.state(id) == "Free"
    assert rack.seen() == []
    assert agent.poll() is None

    rack.well("AssignHost", {"PHostId": id, "ProjectId": "org-a"})
    (seen,) = rack.seen()
    assert (seen["PMStatus"], seen["PowerState"], seen["BootDiskState"]) == ("Stopped", "on", "Normal")
    assert rack.seen(small.RIVAL) == []
    assert rack.seen(ProjectId="org-b") == []

    assert rack.reinstall(id, image, Name="db-1", Remark="mine").ret_code == 0
    (seen,) = rack.seen()
    assert (seen["PMStatus"], seen["PowerState"], seen["Name"], seen["Remark"]) == ("Starting", "on", "db-1", "mine")
    order = agent.poll()
    assert order is not None
    assert (order["Kind"], order["Fence"], order["ImageId"], order["Disk"]) == ("deploy", 1, image, HOST["Disk"])
    manifest = shop.gateway.fetch("GET", order["ManifestUrl"])
    assert sha256(manifest.body).hexdigest() == order["ManifestDigest"]
    assert len(shop.gateway.fetch("GET", order["RawZstdUrl"], [("Range", "bytes=0-99")]).body) == 100
    assert agent.report("write", Done=1, Total=2)
    assert rack.row(id)["Order"]["Phase"] == "write"
    refused = agent.try_report("commit", Finished=True, Rebooting=True)
    assert (refused.ret_code, refused.message) == (230, "Params [Receipt] not available")
    assert agent.try_report("commit", Finished=True, Receipt=agent.receipt(ManifestDigest="0" * 64)).ret_code == 230
    assert not agent.report("commit", Finished=True, Rebooting=True, Receipt=agent.receipt())
    assert not agent.report("commit", Finished=True, Rebooting=True, Receipt=agent.receipt())  # its response was lost
    (seen,) = rack.seen()
    assert (seen["PMStatus"], seen["PowerState"], seen["ImageName"], seen["ImageId"]) == ("Running", "on", "Debian 12", image)
    row = rack.row(id)
    assert (row["State"], row["ImageId"], row["Manifest"]) == ("Running", image, order["ManifestDigest"])
    assert json.loads(row["Receipt"])["OrderId"] == order["OrderId"]
    assert shop.gateway.fetch("GET", order["ManifestUrl"]).status == 409  # the order is over

    assert "boot the rescue system" in rack.capture(id).fields["Detail"]
    token = rack.well("NewEnrollToken", {"PHostId": id})["EnrollToken"]
    agent = SignedAgent(shop.gateway, boot="boot-0000000000000002")
    agent.enrol(token)
    assert rack.state(id) == "Rescue"
    made = rack.capture(id, ImageDescription="with changes").fields["ImageId"]
    assert rack.capture(id).fields["ImageId"] == made  # sent again
    assert rack.capture(id, ImageName="another").ret_code == 230
    (seen,) = rack.seen()
    assert (seen["PMStatus"], seen["BootDiskState"]) == ("Stopped", "ImageMaking")
    order = agent.poll()
    assert order is not None
    assert (order["Kind"], order["ImageId"], order["ManifestUrl"]) == ("capture", made, "")
    assert agent.try_report("seal", Finished=True).ret_code == 230
    send_chunks(shop, order["UploadUrl"], disk(tmp_path, seed=2))
    assert agent.report("read", Done=3, Total=4, Sent=3)
    assert not agent.report("seal", Finished=True)
    assert rack.seen()[0]["BootDiskState"] == "Normal"
    assert shop.work(made)["State"] == "Done"
    (found,) = shop.well("DescribePHostImage", {**NORTH_A, "ImageId": [made]}, small.ACME)["ImageSet"]
    assert (found["State"], found["OsType"], found["OsName"]) == ("Available", ABOUT["OsType"], ABOUT["OsName"])

    rack.well("ReleaseHost", {"PHostId": id})
    assert rack.seen() == []
    order = agent.poll()
    assert order is not None
    assert order["Kind"] == "clean"
    assert not agent.report("zero", Finished=True)
    row = rack.row(id)
    assert (row["State"], row["ImageId"], row["ProjectId"], row["Name"]) == ("Free", "", "", HOST["Name"])
    rack.well("RemoveHost", {"PHostId": id})
    assert agent.try_poll().ret_code == 172
    assert rack.well("ListHosts")["TotalCount"] == 0
