"""An agent that speaks the protocol of docs/agent-protocol.md, without a disk: tests say what it found and did."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.api.gateway import LOOPBACK, Gateway, Reply
from tests.api.signer import Pair, signed_2

SERIAL = "SN-1"
MAC = "0c:42:a1:00:00:01"
DISK = {"Path": "/dev/sda", "Size": 64 << 20, "SectorSize": 512, "Serial": "ZA1", "Wwn": "0x5000c500a1b2c3d4"}
BOOT = "boot-0000000000000001"
OTHER_BOOT = "boot-0000000000000002"

HOST: dict[str, Any] = {
    "Zone": "north-a",
    "MachineType": "Both",
    "Cluster": "10G",
    "SerialNumber": SERIAL,
    "Mac": [MAC],
    "Disk": "serial:ZA1",
    "Name": "rack 1, unit 2",
}

Ask = Callable[..., Any]


class SignedAgent:
    """One boot of a rescue system on one machine."""

    def __init__(self, gateway: Gateway, *, boot: str = BOOT, serial: str = SERIAL, mac: str = MAC) -> None:
        self.gateway = gateway
        self.boot = boot
        self.serial = serial
        self.mac = mac
        self.key: Pair | None = None
        self.order: dict[str, Any] | None = None

    def send(self, action: str, params: dict[str, Any], pair: Pair, *, client: str = LOOPBACK) -> Reply:
        return self.gateway.replay(signed_2(action, params, pair=pair), client=client)

    def try_enrol(self, token: str, *, client: str = LOOPBACK) -> Reply:
        id, _, secret = token.partition(".")
        params = {
            "SerialNumber": self.serial,
            "Mac": ["02:00:00:00:00:09", self.mac.upper()],
            "BootId": self.boot,
            "AgentVersion": "0.1.0",
            "Disk": [json.dumps(DISK)],
        }
        return self.send("AgentEnroll", params, Pair(id, secret), client=client)

    def enrol(self, token: str) -> dict[str, Any]:
        fields = self.try_enrol(token).fields
        assert fields["RetCode"] == 0, fields
        self.key = Pair(fields["KeyId"], fields["KeySecret"])
        return fields

    def try_poll(self, *, wait: int = 0, **more: Any) -> Reply:
        assert self.key is not None
        return self.send("AgentPoll", {"BootId": self.boot, "Wait": wait, "Disk": json.dumps(DISK), **more}, self.key)

    def poll(self, **more: Any) -> dict[str, Any] | None:
        fields = self.try_poll(**more).fields
        assert fields["RetCode"] == 0, fields
        self.order = fields["Order"]
        return self.order

    def try_report(self, phase: str, **more: Any) -> Reply:
        assert self.key is not None
        assert self.order is not None
        which = {"OrderId": self.order["OrderId"], "Fence": self.order["Fence"]}
        return self.send("AgentReport", {**which, "Phase": phase, **more}, self.key)

    def report(self, phase: str, **more: Any) -> bool:
        fields = self.try_report(phase, **more).fields
        assert fields["RetCode"] == 0, fields
        goes_on: bool = fields["Continue"]
        return goes_on

    def receipt(self, **more: Any) -> str:
        assert self.order is not None
        which = {name: self.order[name] for name in ("OrderId", "ImageId", "ManifestDigest")}
        return json.dumps({**which, "AgentVersion": "0.1.0", "Disk": DISK, "BytesWritten": 4, **more})
