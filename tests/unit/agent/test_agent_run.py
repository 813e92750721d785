from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from phimage.agent.agent_run import AgentRun
from phimage.agent.disks import FoundDisk
from phimage.agent.errors import AgentRefused
from phimage.agent.hardware import Hardware
from phimage.agent.server_link import ServerLink
from phimage.http_client import HttpAddress, ServerResponse
from phimage.zstd_frame import NoZstd
from tests.deploying import MIB
from tests.unit.agent.memory import KEY, AgentServer, Answer

DISK = FoundDisk("sda", "/dev/sda", 64 * MIB, 512, serial="ZA1", mounts=("/mnt",))
ENROLMENT: Answer = {
    "RetCode": 0,
    "PHostId": "upm-1",
    "Name": "one",
    "KeyId": KEY.id,
    "KeySecret": KEY.secret,
    "Disk": "serial:ZA1",
    "PollSeconds": 25,
    "ReportSeconds": 5,
}
ORDER: dict[str, Any] = {
    "OrderId": "order-1",
    "Kind": "deploy",
    "Fence": 2,
    "LeaseSeconds": 60,
    "Disk": "serial:ZA1",
    "ImageId": "pimg-1",
    "ManifestDigest": "0" * 64,
    "ManifestUrl": "https://h/m",
    "RawZstdUrl": "https://h/z",
    "FramesUrl": "https://h/f",
    "SectorSize": 512,
    "DiskSize": 1,
    "Seed": "",
    "JobId": "",
    "UploadUrl": "",
    "Trim": False,
}


def obey(
    order: dict[str, Any] | None, disks: list[FoundDisk], server_of: type[AgentServer] = AgentServer
) -> tuple[AgentServer, list[str]]:
    """What a server gets of an agent that enrols and obeys once, and what the agent says."""

    def answer(number: int, fields: dict[str, str]) -> Answer:
        match fields["Action"]:
            case "AgentEnroll":
                return ENROLMENT
            case "AgentPoll":
                return {"RetCode": 0, "Order": order}
            case _:
                return {"RetCode": 0, "Continue": "Error" not in fields}

    server, said = server_of(answer), list[str]()
    link = ServerLink("https://h", server, lambda: 0.0, lambda seconds: None)
    hardware = Hardware("SN-1", ("0c:42:a1:00:00:01",), "boot-0000000000000001")
    agent = AgentRun(link, server, hardware, read_back=True, say=said.append, disks=lambda: disks, clock=lambda: 0.0)
    agent.enroll(KEY)
    assert agent.obey_next(reboots=True) is False
    return server, said


def test_it_enrols_with_its_hardware_and_says_which_disk_its_hint_names() -> None:
    server, said = obey(None, [DISK])
    enrolled, polled = server.got
    assert (enrolled["SerialNumber"], enrolled["Mac.0"]) == ("SN-1", "0c:42:a1:00:00:01")
    assert json.loads(enrolled["Disk.0"]) == {
        "Path": "/dev/sda",
        "Wwn": "",
        "Serial": "ZA1",
        "Size": 64 * MIB,
        "SectorSize": 512,
    }
    assert (polled["BootId"], polled["Wait"], json.loads(polled["Disk"])["Serial"]) == (enrolled["BootId"], "25", "ZA1")
    assert said == ["enrolled as upm-1 (one); waiting for orders"]


def test_without_the_disk_of_its_hint_it_still_polls_and_does_not_name_one() -> None:
    assert "Disk" not in obey(None, [])[0].got[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Disk": "serial:ZA2"}, "the order is for disk serial:ZA2, but this host was registered with serial:ZA1"),
        ({}, "/dev/sda (ZA1): it is mounted on /mnt"),
        ({"Kind": "clean"}, "/dev/sda (ZA1): it is mounted on /mnt"),
        ({"Kind": "fly"}, "does not know orders of kind fly"),
        ({"Seed": "{}"}, "has a NoCloud seed"),
        ({"ManifestDigest": ""}, "does not say which manifest it means"),
    ],
)
def test_an_order_that_it_does_not_do_ends_with_the_reason_before_any_write(change: dict[str, Any], reason: str) -> None:
    server, said = obey({**ORDER, **change}, [DISK])
    last = server.got[-1]
    assert (last["Action"], last["OrderId"], last["Fence"]) == ("AgentReport", "order-1", "2")
    assert reason in last["Error"]
    assert reason in said[-1]


def test_an_order_for_a_disk_that_is_not_here_ends_with_the_reason() -> None:
    assert "no disk of this machine matches serial:ZA1" in obey(ORDER, [])[0].got[-1]["Error"]


def test_a_machine_with_more_disks_than_a_server_takes_enrols_with_some_of_them() -> None:
    disks = [FoundDisk(f"sd{number}", f"/dev/sd{number}", 64 * MIB, 512) for number in range(90)]
    enrolled = obey(None, disks)[0].got[0]
    assert sum(name.startswith("Disk.") for name in enrolled) == 64


def test_an_error_that_nobody_expected_ends_the_order_and_not_the_agent() -> None:
    class WithoutZstd(AgentServer):
        def request(
            self, method: str, address: HttpAddress, body: bytes | None, headers: dict[str, str], max_bytes: int | None = None
        ) -> ServerResponse:
            if method == "GET":
                raise NoZstd("this Python has no zstd; install libzstd1")
            return super().request(method, address, body, headers, max_bytes)

    server, said = obey(ORDER, [replace(DISK, mounts=())], WithoutZstd)
    assert server.got[-1]["Error"].startswith("NoZstd: this Python has no zstd; install libzstd1")
    assert "Traceback" in said[-1]


def test_an_order_that_is_lost_again_and_again_is_asked_for_more_and_more_seldom() -> None:
    """Two agents of one identity take it from each other, each time with a write in the server's database."""

    def answer(number: int, fields: dict[str, str]) -> Answer:
        match fields["Action"]:
            case "AgentEnroll":
                return ENROLMENT
            case "AgentPoll":
                return {"RetCode": 0, "Order": ORDER}
            case _:
                return {"RetCode": 242 if number < 24 else 0, "Message": "Order lost", "Continue": False}

    server, waited = AgentServer(answer), list[float]()
    link = ServerLink("https://h", server, lambda: 0.0, lambda seconds: None)
    hardware = Hardware("SN-1", ("0c:42:a1:00:00:01",), "boot-0000000000000001")
    agent = AgentRun(
        link, server, hardware, read_back=True, say=lambda _: None, disks=lambda: [DISK], pause=waited.append, clock=lambda: 0.0
    )
    agent.enroll(KEY)
    while len(server.got) < 24:
        assert agent.obey_next(reboots=True) is False
    assert waited[:7] == [1, 2, 4, 8, 16, 30, 30]
    before = len(waited)
    assert agent.obey_next(reboots=True) is False
    assert len(waited) == before, "an order that ended is not lost"


def test_a_revoked_key_ends_the_agent() -> None:
    server = AgentServer(
        lambda number, fields: ENROLMENT if number == 1 else {"RetCode": 172, "Message": "Unknown", "Detail": "new"}
    )
    link = ServerLink("https://h", server, lambda: 0.0, lambda seconds: None)
    agent = AgentRun(link, server, Hardware("SN-1", ("m",), "boot"), read_back=True, say=lambda text: None, disks=list)
    agent.enroll(KEY)
    with pytest.raises(AgentRefused, match="RetCode 172"):
        agent.obey_next(reboots=False)
