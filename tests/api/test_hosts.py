"""Hosts: what operators, tenants and agents do with them, and which state every step of it leads to."""

from __future__ import annotations

import base64
import json
import secrets
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ucloud.services.uphost.schemas import apis as uphost

from phimage.catalog.accounts import encrypt_anew
from phimage.catalog.hosts import AgentContact, host_keys, note_contacts
from phimage.catalog.image_bytes import expect_image_bytes
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.revisions import Author
from phimage.chunk_upload import FileDisk, send_disk
from phimage.maintenance.gc import manifests_to_keep
from phimage.model.ids import HostId, ImageId, JobId, PublicKey
from phimage.model.job import Origin, new_job
from phimage.model.order import SILENT_SECONDS
from phimage.publishing.expiry import SilenceWatch
from tests.api import small
from tests.api.agents import DISK, HOST, OTHER_BOOT, SignedAgent
from tests.api.conftest import both_sites
from tests.api.decoders import CLIENTS, Undecodable
from tests.api.publishing import ABOUT, NORTH_A, Shop, disk
from tests.api.signer import Pair, signed_2

POLLS = 1_000
WAIT_SECONDS = 25
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
def image(shop: Shop, tmp_path: Path) -> str:
    return shop.publish(disk(tmp_path), TrustFirstUse=True)


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


@both_sites
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
    agent = SignedAgent(shop.gateway, boot=OTHER_BOOT)
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
    assert agent.report("read", Done=3, Total=4, Sent=2, Reused=1)
    progress = shop.well("GetPHostImageProgress", {**NORTH_A, "ImageId": made}, small.ACME)
    assert (progress["Phase"], float(progress["Process"]), progress["Done"]) == ("capture", 30.0, 3)
    assert (progress["Total"], progress["Sent"], progress["Reused"]) == (4, 2, 1)
    assert not agent.report("seal", Finished=True)
    assert rack.seen()[0]["BootDiskState"] == "Normal"
    assert shop.work(made)["State"] == "Done"
    (found,) = shop.well("DescribePHostImage", {**NORTH_A, "ImageId": [made]}, small.ACME)["ImageSet"]
    assert (found["State"], found["OsType"], found["OsName"]) == ("Available", ABOUT["OsType"], ABOUT["OsName"])
    assert rack.well("GetPHostImage", {"ImageId": made})["Origin"]["DigestOrigin"] == f"captured from host {id}"

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


@pytest.mark.parametrize("wrong", [{"Size": 1 << 63}, {"Size": -1}, {"Size": 1 << 100}, {"SectorSize": 0}, {"Path": 7}])
def test_an_agent_cannot_report_a_disk_that_no_client_could_decode(rack: Rack, wrong: dict[str, Any]) -> None:
    id, agent = rack.enrolled()
    assert agent.try_poll(Disk=json.dumps({**DISK, **wrong})).ret_code == 230
    assert agent.poll() is None
    assert rack.row(id)["DiskSize"] == DISK["Size"]


def test_the_texts_of_a_disk_have_no_control_characters(rack: Rack) -> None:
    _, agent = rack.enrolled()
    for name in ("Path", "Serial", "Wwn"):
        refused = agent.try_poll(Disk=json.dumps({**DISK, name: "\x1b[2J"}))
        assert (refused.ret_code, "U+001B" in refused.fields["Detail"]) == (230, True)


@pytest.mark.more
def test_an_enrol_token_is_for_one_boot_of_the_registered_hardware_within_an_hour(rack: Rack) -> None:
    id, token = rack.register()
    gateway = rack.shop.gateway
    assert SignedAgent(gateway, serial="SN-2").try_enrol(token).ret_code == 299
    assert SignedAgent(gateway, mac="02:00:00:00:00:01").try_enrol(token).ret_code == 299
    assert SignedAgent(gateway).try_enrol(token.replace(".", ".x")).ret_code == 171
    assert SignedAgent(gateway).try_enrol("enrol-unknown.secret").ret_code == 172
    assert rack.state(id) == "Registered"
    agent = SignedAgent(gateway, serial=" sn-1 ")
    first = agent.enrol(token)
    assert agent.enrol(token) == first  # its response was lost
    newer = rack.well("NewEnrollToken", {"PHostId": id})["EnrollToken"]
    assert agent.try_enrol(token).ret_code == 172
    assert agent.poll() is None  # the agent of before goes on until the host enrols anew
    again = SignedAgent(gateway, boot=OTHER_BOOT)
    assert again.enrol(newer)["KeyId"] != first["KeyId"]
    assert agent.try_poll().ret_code == 172


def test_a_key_crosses_no_network_in_the_clear(rack: Rack) -> None:
    _, token = rack.register()
    refused = SignedAgent(rack.shop.gateway).try_enrol(token, client="192.0.2.7")
    assert (refused.ret_code, "https" in refused.fields["Detail"]) == (299, True)


def test_the_second_use_of_a_token_suspends_the_host_and_ends_the_first_ones_key(rack: Rack) -> None:
    id, token = rack.register()
    agent = SignedAgent(rack.shop.gateway)
    agent.enrol(token)
    thief = SignedAgent(rack.shop.gateway, boot=OTHER_BOOT)
    refused = thief.try_enrol(token)
    assert (refused.ret_code, "phimage host token" in refused.fields["Detail"]) == (299, True)
    assert "used a second time" in rack.row(id)["Suspended"]
    assert agent.try_poll().ret_code == 172
    assert "suspended" in rack.shop.ask("AssignHost", {"PHostId": id, "ProjectId": "org-a"}).fields["Detail"]
    agent.enrol(rack.well("NewEnrollToken", {"PHostId": id})["EnrollToken"])
    assert (rack.row(id)["Suspended"], rack.state(id)) == ("", "Free")
    rack.well("AssignHost", {"PHostId": id, "ProjectId": "org-a"})


@pytest.mark.more
def test_two_boots_with_one_key_suspend_the_host(rack: Rack) -> None:
    id, agent = rack.rescued()
    clone = SignedAgent(rack.shop.gateway, boot=OTHER_BOOT)
    clone.key = agent.key
    assert clone.try_poll().ret_code == 299
    assert "two boots, last from 127.0.0.1" in rack.row(id)["Suspended"]
    assert (agent.try_poll().ret_code, clone.try_poll().ret_code) == (172, 172)
    refused = rack.capture(id)
    assert (refused.ret_code, "suspended" in refused.fields["Detail"]) == (230, True)
    (row,) = rack.well("ListHosts", {"PHostId": [id], "ProjectId": "org-a"}, small.ACME)["HostSet"]
    assert row["Suspended"] == "its credential was used twice"
    assert "127.0.0.1" not in f"{row} {refused.fields}", "addresses of agents are for operators"


@both_sites
def test_of_two_agents_with_one_identity_one_has_the_order(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    twin = SignedAgent(rack.shop.gateway)
    twin.key = agent.key
    assert rack.reinstall(id, image).ret_code == 0
    first, second = agent.poll(), twin.poll()
    assert first is not None
    assert second is not None
    assert (first["OrderId"], first["Fence"], second["Fence"]) == (second["OrderId"], 1, 2)
    lost = agent.try_report("write", Done=1)
    assert (lost.ret_code, lost.message) == (242, f"Order [{first['OrderId']}] lost")
    assert agent.try_report("commit", Finished=True, Receipt=agent.receipt()).ret_code == 242
    assert agent.try_poll(OrderId=first["OrderId"], Fence=1).ret_code == 242
    for url in ("ManifestUrl", "RawZstdUrl", "FramesUrl"):
        assert rack.shop.gateway.fetch("GET", first[url]).status == 409
    assert rack.state(id) == "Deploying"
    assert twin.poll(OrderId=second["OrderId"], Fence=2) == {
        **second,
        **{name: twin.order[name] for name in ("ManifestUrl", "RawZstdUrl", "FramesUrl") if twin.order},
    }
    assert not twin.report("commit", Finished=True, Receipt=twin.receipt())
    assert rack.state(id) == "Rescue"  # it does not reboot


@pytest.mark.more
def test_an_order_goes_on_after_a_reboot_with_a_higher_fence(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    assert rack.reinstall(id, image).ret_code == 0
    order = agent.poll()
    assert order is not None
    again = SignedAgent(rack.shop.gateway, boot=OTHER_BOOT)
    again.enrol(rack.well("NewEnrollToken", {"PHostId": id})["EnrollToken"])
    assert rack.state(id) == "Deploying"
    assert agent.try_report("write").ret_code == 172
    assert rack.shop.gateway.fetch("GET", order["ManifestUrl"]).status == 401
    resumed = again.poll()
    assert resumed is not None
    assert (resumed["OrderId"], resumed["Fence"]) == (order["OrderId"], 2)
    assert not again.report("commit", Finished=True, Rebooting=True, Receipt=again.receipt())
    assert rack.state(id) == "Running"


@pytest.mark.more
def test_a_failed_deployment_leaves_no_known_image_and_can_be_tried_again(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    assert rack.reinstall(id, image).ret_code == 0
    agent.poll()
    assert not agent.report("write", Error="sector 4711 cannot be written")
    assert not agent.report("write", Error="sector 4711 cannot be written")
    (seen,) = rack.seen()
    assert (seen["PMStatus"], seen["Failure"], seen["ImageId"]) == ("InstallFailed", "sector 4711 cannot be written", "")
    assert agent.poll() is None
    assert rack.reinstall(id, "").fields["Detail"].startswith("phimage does not know what")
    assert rack.capture(id).ret_code == 230
    assert rack.reinstall(id, image).ret_code == 0
    assert rack.seen()[0]["PMStatus"] == "Starting"


@pytest.mark.more
def test_a_failed_capture_leaves_the_host_and_an_unavailable_image_with_the_reason(rack: Rack) -> None:
    id, agent = rack.rescued()
    image = rack.capture(id).fields["ImageId"]
    agent.poll()
    assert not agent.report("read", Error="sector 4711 cannot be read")
    assert rack.state(id) == "Rescue"
    progress = rack.well("GetPHostImageProgress", {**NORTH_A, "ImageId": image}, small.ACME)
    assert "sector 4711" in progress["Error"]
    (found,) = rack.well("DescribePHostImage", {**NORTH_A, "ImageId": [image]}, small.ACME)["ImageSet"]
    assert found["State"] == "Unavailable"
    assert rack.capture(id).fields["ImageId"] != image  # a retry is a new image


@pytest.mark.more
@pytest.mark.parametrize("end", ["terminate", "cancel", "withdraw"])
def test_the_end_of_an_image_that_is_captured_ends_the_order(rack: Rack, end: str) -> None:
    id, agent = rack.rescued()
    image = rack.capture(id).fields["ImageId"]
    order = agent.poll()
    assert order is not None
    if end == "terminate":
        rack.well("TerminatePHostImage", {**NORTH_A, "ImageId": image}, small.ACME)
    elif end == "cancel":
        rack.well("CancelPHostImageJob", {"JobId": order["JobId"]}, small.ACME)
    else:
        rack.well("WithdrawPHostImage", {"ImageId": image})
    assert agent.try_report("read").ret_code == 242
    address, _, ticket = order["UploadUrl"].partition("?")
    assert rack.shop.gateway.fetch("POST", f"{address}/need?{ticket}", [], b"").status == 409
    assert rack.state(id) == "Rescue"
    assert agent.poll() is None


@pytest.mark.parametrize("kind", ["deploy", pytest.param("capture", marks=pytest.mark.more)])
def test_a_host_is_released_in_the_middle(rack: Rack, image: str, kind: str) -> None:
    id, agent = rack.rescued()
    made = rack.reinstall(id, image) if kind == "deploy" else rack.capture(id)
    assert made.ret_code == 0
    order = agent.poll()
    assert order is not None
    rack.well("ReleaseHost", {"PHostId": id})
    lost = agent.try_report("write")
    assert (lost.ret_code, rack.seen()) == (242, [])
    if kind == "capture":
        progress = rack.well("GetPHostImageProgress", {**NORTH_A, "ImageId": made.fields["ImageId"]}, small.ACME)
        assert "released" in progress["Error"]
    clean = agent.poll()
    assert clean is not None
    assert (clean["Kind"], clean["OrderId"] != order["OrderId"]) == ("clean", True)
    assert not agent.report("zero", Error="sector 7 cannot be written")
    assert rack.state(id) == "Dirty"
    assert rack.shop.ask("AssignHost", {"PHostId": id, "ProjectId": "org-a"}).ret_code == 230
    rack.well("ReleaseHost", {"PHostId": id})
    agent.poll()
    assert not agent.report("zero", Finished=True)
    assert rack.state(id) == "Free"


@pytest.mark.more
def test_only_the_project_of_a_host_has_it(rack: Rack, image: str) -> None:
    id, _ = rack.rescued()
    foreign, unknown = rack.capture(id, small.RIVAL), rack.capture("upm-unknown")
    assert (foreign.ret_code, foreign.message) == (230, "Params [PHostId] not available")
    assert foreign.fields == unknown.fields
    assert rack.reinstall(id, image, small.RIVAL).fields["Detail"] == foreign.fields["Detail"]
    assert rack.capture(id, small.VIEWER, ProjectId="org-a").ret_code == 299
    assert [host["PHostId"] for host in rack.seen(small.VIEWER, ProjectId="org-a")] == [id]
    assert rack.seen(PHostId=["upm-unknown"]) == []
    assert rack.seen(Zone="north-b") == []
    assert rack.capture(id, Zone="north-b").ret_code == 230


@pytest.mark.more
def test_an_image_is_checked_before_a_disk_is_touched(rack: Rack, image: str, tmp_path: Path) -> None:
    id, agent = rack.rescued()
    agent.poll()
    other = rack.shop.publish(disk(tmp_path, seed=4), small.RIVAL, **CUSTOM, TrustFirstUse=True)
    slow = rack.shop.publish(disk(tmp_path, seed=5), TrustFirstUse=True, Support=["Slow"])
    making = rack.well("PublishPHostImage", {**ABOUT, "TrustFirstUse": True})["ImageId"]
    down = rack.shop.publish(disk(tmp_path, seed=6), TrustFirstUse=True)
    rack.well("UpdatePHostImage", {"ImageId": down, "State": "Unavailable"})
    for wrong, word in (
        (other, "cannot see"),
        ("pimg-unknown", "cannot see"),
        (slow, "Both"),
        (making, ""),
        (down, "Unavailable"),
        ("", "does not know"),
        ("b-new", ""),
    ):
        refused = rack.reinstall(id, wrong)
        assert (refused.ret_code, refused.message) == (230, "Params [ImageId] not available"), wrong
        assert word in refused.fields["Detail"]
    agent.poll(Disk=json.dumps({**DISK, "Size": 1 << 20}))
    small_disk = rack.reinstall(id, image)
    assert (small_disk.ret_code, "system disk 1048576" in small_disk.fields["Detail"]) == (230, True)
    assert rack.reinstall(id, image, Password="c2VjcmV0").message == "Params [Password] not available"
    assert rack.reinstall(id, image, ReserveDisk="No").message == "Params [ReserveDisk] not available"
    assert rack.state(id) == "Rescue"


def test_an_order_keeps_the_bytes_of_an_image_that_is_withdrawn(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    assert rack.reinstall(id, image).ret_code == 0
    order = agent.poll()
    assert order is not None
    rack.well("WithdrawPHostImage", {"ImageId": image})
    shop = rack.shop
    shop.catalog.refresh()
    assert order["ManifestDigest"] in manifests_to_keep(shop.catalog, 0)
    assert shop.gateway.fetch("GET", order["ManifestUrl"]).status == 200
    assert agent.poll(OrderId=order["OrderId"], Fence=1) is not None
    assert not agent.report("commit", Finished=True, Receipt=agent.receipt())
    assert order["ManifestDigest"] not in manifests_to_keep(shop.catalog, 0)


def test_an_order_keeps_the_bytes_of_an_image_that_gets_others(rack: Rack, image: str) -> None:
    """The catalogue file may declare another source while a host is being installed."""
    id, agent = rack.rescued()
    assert rack.reinstall(id, image).ret_code == 0
    order = agent.poll()
    assert order is not None
    catalog = rack.shop.catalog
    with catalog.change(Author("operator", "cli", "", "ApplyCatalog", time.time())) as change:
        job = new_job(JobId("job-new"), ImageId(image), Origin(url="https://images.example/new.raw"), time.time())
        expect_image_bytes(change, job)
    rack.shop.gateway.learn(catalog.head)
    for url in ("ManifestUrl", "FramesUrl"):
        assert rack.shop.gateway.fetch("GET", order[url]).status == 200
    again = agent.poll(OrderId=order["OrderId"], Fence=1)
    assert again is not None
    assert (again["DiskSize"], again["SectorSize"]) == (order["DiskSize"], order["SectorSize"])


def test_the_disk_of_an_agent_is_known_with_its_first_poll_after_each_boot(rack: Rack, image: str) -> None:
    """The enrolment forgets what the agent before named, so a heartbeat of before says nothing about what is written."""
    id, agent = rack.rescued()
    agent.poll()
    again = SignedAgent(rack.shop.gateway, boot=OTHER_BOOT)
    again.enrol(rack.well("NewEnrollToken", {"PHostId": id})["EnrollToken"])
    again.poll(Disk=json.dumps({**DISK, "Size": 1 << 20}))
    again.enrol(rack.well("NewEnrollToken", {"PHostId": id})["EnrollToken"])
    again.poll(Disk=json.dumps({**DISK, "Size": 1 << 20}))
    assert rack.row(id)["DiskSize"] == 1 << 20
    assert rack.reinstall(id, image).message == "Params [ImageId] not available"


def test_only_the_agent_of_a_host_sends_and_completes_a_capture(rack: Rack, tmp_path: Path) -> None:
    """Completed by another, the job would be queued and the order open: its agent would ask for it again without end."""
    id, agent = rack.rescued()
    made = rack.capture(id).fields["ImageId"]
    order = agent.poll()
    assert order is not None
    raw = disk(tmp_path, seed=2)
    send_chunks(rack.shop, order["UploadUrl"], raw)
    for pair in (small.ACME, rack.shop.operator):
        for action, more in (("GetPHostImageUploadUrl", {}), ("CompletePHostImageUpload", {"Size": raw.stat().st_size})):
            refused = rack.shop.ask(action, {"ImageId": made, **more}, pair)
            assert (refused.ret_code, "agent of its host" in refused.fields.get("Detail", "")) == (230, True), action
    assert rack.state(id) == "Capturing"
    assert not agent.report("seal", Finished=True)
    assert rack.shop.work(made)["State"] == "Done"


@pytest.mark.more
def test_a_stopped_host_needs_an_agent_that_was_heard_lately(rack: Rack, image: str) -> None:
    id, _ = rack.rescued()
    with rack.shop.catalog.database.write() as connection:
        note_contacts(connection, [AgentContact(HostId(id), time.time() - 61, "192.0.2.1")])
    assert rack.seen()[0]["PowerState"] == "off"
    for refused in (rack.reinstall(id, image), rack.capture(id)):
        assert (refused.ret_code, "boot the rescue system" in refused.fields["Detail"]) == (230, True)


def test_stock_is_the_number_of_free_hosts_where_there_are_hosts(rack: Rack) -> None:
    def stock(cluster: str) -> tuple[int, str]:
        rows = rack.well("DescribePHostMachineType", {**NORTH_A, "Type": "Both"}, small.ACME)["MachineTypes"]
        (row,) = [row for row in rows if row["Cluster"] == cluster]
        return row["Stock"], row["StockStatus"]

    before = stock("25G")
    assert stock("10G") == (2, "Available")
    id, token = rack.register()
    assert stock("10G") == (0, "SoldOut")
    SignedAgent(rack.shop.gateway).enrol(token)
    assert stock("10G") == (1, "Available")
    rack.well("AssignHost", {"PHostId": id, "ProjectId": "org-a"})
    assert stock("10G") == (0, "SoldOut")
    assert stock("25G") == before
    rack.well("ReleaseHost", {"PHostId": id})
    rack.well("RemoveHost", {"PHostId": id})
    assert stock("10G") == (2, "Available")


@pytest.mark.more
def test_a_thousand_polls_make_no_revision_and_an_order_ends_a_wait(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    before = rack.shop.catalog.refresh()
    for _ in range(POLLS):
        assert agent.poll() is None
    assert rack.shop.catalog.refresh() == before
    assert agent.key is not None
    reinstall = {**NORTH_A, "PHostId": id, "ImageId": image, "Password": ""}
    began = time.monotonic()
    polled, _ = rack.shop.gateway.together(
        ("AgentPoll", {"BootId": agent.boot, "Wait": WAIT_SECONDS}, agent.key), ("ReinstallPHost", reinstall, small.ACME)
    )
    assert polled.fields["Order"]["Kind"] == "deploy"
    assert time.monotonic() - began < WAIT_SECONDS


def test_keys_of_hosts_call_no_other_actions_and_other_keys_none_of_theirs(rack: Rack) -> None:
    _, agent = rack.rescued()
    assert agent.key is not None
    gateway = rack.shop.gateway
    for action in ("ListHosts", "DescribePHostImage", "GetProjectList", "AgentEnroll"):
        assert gateway.replay(signed_2(action, NORTH_A, pair=agent.key)).ret_code == 299
    assert gateway.ask("GetRegion", {}, pair=agent.key).ret_code == 299
    assert gateway.ask("AgentPoll", {"BootId": agent.boot}, pair=rack.shop.operator).ret_code == 299
    assert gateway.ask("RegisterHost", HOST, pair=small.ACME).ret_code == 299
    assert rack.shop.ask("AgentPoll", {"BootId": agent.boot, "Wait": 0}, agent.key).ret_code == 0


def test_a_hint_that_names_no_disk_is_refused_before_an_agent_reads_it(rack: Rack) -> None:
    refused = rack.shop.ask("RegisterHost", {**HOST, "Disk": "size:abc"})
    assert (refused.ret_code, refused.message) == (230, "Params [Disk] not available")
    assert refused.fields["Detail"] == "size:abc is not a range of sizes; expected one such as size:400G-500G"


@pytest.mark.more
def test_registration_refuses_what_the_catalogue_does_not_have(rack: Rack) -> None:
    for name, value in (
        ("Zone", "south-b"),
        ("MachineType", "Gone"),
        ("Cluster", "100G"),
        ("MachineType", "Far"),
        ("Disk", "sda"),
        ("Disk", "path:sda"),
        ("Disk", "size:abc"),
        ("Mac", ["0c:42:a1"]),
    ):
        refused = rack.shop.ask("RegisterHost", {**HOST, name: value})
        assert (refused.ret_code, refused.message) == (230, f"Params [{name}] not available"), (name, value)
    rack.register()
    rack.register(SerialNumber="SÜD-1")
    for serial in ("sn-1", "süd-1"):
        twin = rack.shop.ask("RegisterHost", {**HOST, "SerialNumber": serial})
        assert twin.message == "Params [SerialNumber] not available"


@pytest.mark.more
def test_a_capture_reserves_quota_for_the_whole_disk(rack: Rack) -> None:
    id, agent = rack.rescued()
    agent.poll()
    rack.well("SetQuota", {"Project": "org-a", "Limit": (64 << 20) - 1})
    assert rack.capture(id).ret_code == 241
    rack.well("SetQuota", {"Project": "org-a", "Limit": 100 << 20})
    assert rack.capture(id).ret_code == 0
    refused = rack.shop.ask("PublishPHostImage", {**CUSTOM, "Size": 50 << 20, "TrustFirstUse": True}, small.ACME)
    assert refused.ret_code == 241


@pytest.mark.more
def test_an_agent_that_is_silent_for_half_an_hour_loses_its_order(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    made = rack.capture(id).fields["ImageId"]
    order = agent.poll()
    assert order is not None
    shop = rack.shop
    shop.catalog.refresh()
    author = Author("publisher", "publisher", "", "EndSilentOrders", time.time())
    passed = iter(range(0, 3600, 60))
    watch = SilenceWatch(60, lambda: next(passed))
    assert [watch.end(shop.catalog, author, time.time() + SILENT_SECONDS - 60) for _ in range(2)] == [(), ()]
    later = time.time() + SILENT_SECONDS + 60
    assert [watch.end(shop.catalog, author, later) for _ in range(3)] == [(), (order["OrderId"],), ()]
    shop.gateway.learn(shop.catalog.head)
    assert rack.state(id) == "Rescue"
    assert agent.try_report("read").ret_code == 242
    assert "silent" in rack.well("GetPHostImageProgress", {**NORTH_A, "ImageId": made}, small.ACME)["Error"]
    agent.poll()
    assert rack.reinstall(id, image).ret_code == 0
    assert [len(watch.end(shop.catalog, author, later)) for _ in range(2)] == [0, 1]
    shop.gateway.learn(shop.catalog.head)
    assert rack.state(id) == "Failed"
    rack.well("ReleaseHost", {"PHostId": id})
    shop.catalog.refresh()
    assert [watch.end(shop.catalog, author, later) for _ in range(2)] == [(), ()]  # a clean disk is not urgent
    assert rack.state(id) == "Cleaning"


def test_a_step_of_the_clock_ends_no_order_whose_agent_speaks_again(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    assert rack.reinstall(id, image).ret_code == 0
    agent.poll()
    catalog, passed = rack.shop.catalog, iter((0.0, 30.0, 60.0))
    catalog.refresh()
    watch, author = SilenceWatch(60, lambda: next(passed)), Author("publisher", "publisher", "", "EndSilentOrders", time.time())
    stepped = time.time() + SILENT_SECONDS + 60
    assert [watch.end(catalog, author, stepped) for _ in range(2)] == [(), ()]
    assert agent.report("write")
    assert watch.end(catalog, author, stepped) == ()
    assert rack.state(id) == "Deploying"


def test_a_withdrawal_and_a_deprecation_name_the_hosts_that_they_hurt(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    assert rack.well("WithdrawPHostImage", {"ImageId": image, "DryRun": True})["HostSet"] == []
    assert rack.reinstall(id, image).ret_code == 0
    (deploying,) = rack.well("UpdatePHostImage", {"ImageId": image, "Deprecated": True, "DryRun": True})["HostSet"]
    assert (deploying["PHostId"], deploying["Deploying"], deploying["DeployTime"]) == (id, True, 0)
    agent.poll()
    assert not agent.report("commit", Finished=True, Rebooting=True, Receipt=agent.receipt())
    before = rack.shop.catalog.refresh()
    dry = rack.well("WithdrawPHostImage", {"ImageId": image, "DryRun": True})
    (running,) = dry["HostSet"]
    assert (running["PHostId"], running["State"], running["Deploying"]) == (id, "Running", False)
    assert running["DeployTime"] > 0
    assert rack.shop.catalog.refresh() == before
    (row,) = rack.well("ListHosts", {"ImageId": image})["HostSet"]
    assert row["PHostId"] == id
    assert rack.well("ListHosts", {"ImageId": image, "ProjectId": "org-b"}, small.ACME)["HostSet"] == []
    assert rack.well("WithdrawPHostImage", {"ImageId": image})["HostSet"] == dry["HostSet"]
    assert rack.well("ListHosts", {"ImageId": image})["TotalCount"] == 1
    unknown = {"ImageId": "pimg-never"}
    assert rack.shop.ask("ListHosts", unknown).ret_code == 230
    assert rack.well("ListHosts", {**unknown, "ProjectId": "org-a"}, small.ACME)["HostSet"] == []
    assert rack.seen()[0]["ImageName"] == "Debian 12"  # the host keeps it


def test_the_next_project_of_a_host_does_not_see_what_it_was_installed_with_before(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    assert rack.reinstall(id, image).ret_code == 0
    agent.poll()
    assert not agent.report("commit", Finished=True, Receipt=agent.receipt())
    assert image in rack.row(id)["Receipt"]
    rack.well("ReleaseHost", {"PHostId": id})
    assert rack.row(id)["Receipt"] == ""
    agent.poll()
    assert not agent.report("zero", Finished=True)
    rack.well("AssignHost", {"PHostId": id, "ProjectId": "org-r"})
    (row,) = rack.well("ListHosts", {"PHostId": [id]}, small.RIVAL)["HostSet"]
    assert (row["State"], row["ImageId"], row["Receipt"]) == ("Rescue", "", "")
    assert image not in str(row)


def test_the_project_before_does_not_see_at_a_past_revision_what_the_host_is_installed_with_now(rack: Rack, image: str) -> None:
    id, agent = rack.rescued("org-r")
    for project, pair in (("org-r", small.RIVAL), ("org-a", small.ACME)):
        assert rack.reinstall(id, image, pair).ret_code == 0
        agent.poll()
        receipt = agent.receipt(AgentVersion=f"of {project}")
        assert not agent.report("commit", Finished=True, Receipt=receipt)
        (row,) = rack.well("ListHosts", {"PHostId": [id]}, pair)["HostSet"]
        assert row["Receipt"] == receipt
        if project == "org-r":
            revision = rack.shop.catalog.refresh()
            rack.well("ReleaseHost", {"PHostId": id})
            agent.poll()
            assert not agent.report("zero", Finished=True)
            rack.well("AssignHost", {"PHostId": id, "ProjectId": "org-a"})
    past = rack.shop.gateway.ask("ListHosts", {"PHostId": [id]}, pair=small.RIVAL, path=f"/rev/{revision}/").fields
    assert "of org-a" not in str(past["HostSet"])


def test_a_past_revision_shows_hosts_as_they_were_and_nothing_of_what_their_agents_say_now(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    assert rack.reinstall(id, image).ret_code == 0
    agent.poll()
    assert not agent.report("commit", Finished=True, Receipt=agent.receipt())
    then = rack.shop.catalog.refresh()
    rack.well("UpdatePHostImage", {"ImageId": image, "Name": "Debian, renamed"})
    rack.well("ReleaseHost", {"PHostId": id})
    agent.poll()
    assert not agent.report("zero", Finished=True)
    rack.well("AssignHost", {"PHostId": id, "ProjectId": "org-r"})
    agent.poll()
    assert rack.row(id)["IsOn"]

    def past(action: str, pair: Pair, **params: Any) -> Any:
        return rack.shop.gateway.ask(action, params, pair=pair, path=f"/rev/{then}/").fields

    for pair in (small.ACME, rack.shop.operator):
        (row,) = past("ListHosts", pair)["HostSet"]
        assert (row["State"], row["ProjectId"], row["ImageId"], row["ImageName"]) == ("Rescue", "org-a", image, "Debian 12")
        assert (row["Heard"], row["Silence"], row["IsOn"], row["DiskSize"]) == (0, 0, False, 0)
        assert (row["AgentAddress"], row["AgentVersion"]) == ("", "")
    (described,) = past("DescribePHost", small.ACME, Region="north")["PHostSet"]
    assert (described["PowerState"], described["ImageName"]) == ("off", "Debian 12")
    assert past("ListHosts", rack.shop.operator, PHostId=[id], ProjectId="org-r")["HostSet"] == []


def test_every_client_decodes_hosts_and_what_is_ordered_of_them(rack: Rack, image: str) -> None:
    id, agent = rack.rescued()
    agent.poll()
    answers = [("DescribePHost", rack.shop.ask("DescribePHost", {"Region": "north"}, small.RIVAL).fields)]
    made = rack.capture(id).fields
    answers.append(("CreatePHostImage", made))
    answers.append(("DescribePHost", rack.shop.ask("DescribePHost", {"Region": "north"}, small.ACME).fields))
    rack.well("TerminatePHostImage", {**NORTH_A, "ImageId": made["ImageId"]}, small.ACME)
    answers.append(("ReinstallPHost", rack.reinstall(id, image, Name="db-1").fields))
    agent.poll()
    assert not agent.report("commit", Finished=True, Rebooting=True, Receipt=agent.receipt())
    reply = rack.shop.ask("DescribePHost", {"Region": "north"}, small.ACME)
    answers.append(("DescribePHost", reply.fields))
    for client in CLIENTS.values():
        for action, answer in answers:
            client.decode(action, answer)
    for wrong in ({"CreateTime": "1700000000"}, {"CPUSet": {"Frequence": "2.4"}}):
        row = {**reply.fields["PHostSet"][0], **wrong}
        with pytest.raises(Undecodable):
            CLIENTS["GO"].decode("DescribePHost", {**reply.fields, "PHostSet": [row]})
    found = uphost.DescribePHostResponseSchema().loads(json.loads(reply.body))["PHostSet"][0]
    assert (found["PHostId"], found["CPUSet"]["Frequence"] > 2, found["DiskSet"][0]["Count"] > 0) == (id, True, True)


@pytest.mark.more
def test_a_capture_that_is_sent_again_while_it_is_published_is_the_same_image(rack: Rack, tmp_path: Path) -> None:
    id, agent = rack.rescued()
    made = rack.capture(id).fields["ImageId"]
    order = agent.poll()
    assert order is not None
    send_chunks(rack.shop, order["UploadUrl"], disk(tmp_path, seed=2))
    assert not agent.report("seal", Finished=True)
    assert rack.state(id) == "Rescue"
    assert rack.capture(id).fields["ImageId"] == made  # it is Making, and the agent waits
    assert rack.shop.work(made)["State"] == "Done"
    assert rack.capture(id).fields["ImageId"] != made


def test_the_log_says_what_happened_to_a_host_without_its_secrets(rack: Rack) -> None:
    id, token = rack.register()
    revision = rack.shop.catalog.refresh()
    (change,) = rack.well("GetRevision", {"Revision": revision})["Revision"]["Changes"]
    assert (change["Noun"], change["Id"], change["Verb"]) == ("host", id, "added")
    assert {"serial", "hint", "state"} <= {field["Field"] for field in change["Fields"]}
    assert token.partition(".")[2] not in json.dumps(change, default=str)


@pytest.mark.more
def test_a_new_master_key_encrypts_the_keys_of_hosts_as_well(rack: Rack) -> None:
    _, agent = rack.enrolled()
    assert agent.key is not None
    catalog, new = rack.shop.catalog, KeyEncryption(b"n" * 32, secrets.token_bytes)
    with catalog.database.write() as connection:
        encrypt_anew(connection, (catalog.key_encryption, new), new)
        found = host_keys(connection, new)
    assert found[PublicKey(agent.key.public)].secret.reveal() == agent.key.private
