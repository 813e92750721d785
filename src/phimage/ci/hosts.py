"""Scripted hosts: machines of a world whose agents are in this process and act when their transition is due.

An agent sends the requests of docs/agent-protocol.md: it enrols, polls and reports, downloads what it deploys and uploads what
it captures, with the tickets of its order. So states, fences and refusals are those of real hosts. Faults do not strike it and
the journal does not have it: both are for the program under test.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from phimage.catalog.accounts import NewKey
from phimage.chunk_upload import FileDisk, send_disk
from phimage.chunks.frame import zstd
from phimage.ci.own_requests import OwnRequests
from phimage.ci.seed import text_disk
from phimage.ci.seed_file import SeedHost
from phimage.ci.transition import Transition
from phimage.ci.values import BadControl
from phimage.errors import Refused
from phimage.event_log import log
from phimage.model.account import PrivateKey
from phimage.model.ids import ImageId, PublicKey, RandomBytes

_PHASES = {"deploy": "write", "capture": "read", "clean": "zero"}
"""The phase of an order that is not due."""


class HeldOrder(Struct):
    """An order that waits for its transition."""

    fields: dict[str, Any]
    since: float
    looks: int = 0


# docs/decisions.md#scripted-hosts-speak-the-agents-protocol
class ScriptedAgent:
    """The agent of one host, and its disk. Used by one thread at a time."""

    def __init__(
        self, doc: SeedHost, number: int, folder: Path, requests: OwnRequests, operator: NewKey, random: RandomBytes
    ) -> None:
        self.doc = doc
        self.id = ""
        self._requests = requests
        self._operator = operator
        self._random = random
        self._disk = folder / f"host-{number}.raw"
        self._hardware = {"SerialNumber": f"CI{number:06d}", "Mac": [f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"]}
        self._boot = ""
        self._key: NewKey | None = None
        self._held: HeldOrder | None = None

    def install(self) -> None:
        """Register the host, boot its agent, and give the host to its project. Raises Refused."""
        self._write(text_disk(ImageId(self.doc.name)))
        place = {"Zone": self.doc.zone, "MachineType": self.doc.machine_type, "Cluster": self.doc.cluster}
        made = self._operate("RegisterHost", **place, **self._hardware, Name=self.doc.name, Disk="path:/dev/sda")
        self.id = made["PHostId"]
        self._enrol(made["EnrollToken"])
        if self.doc.project:
            self._operate("AssignHost", PHostId=self.id, ProjectId=self.doc.project)

    def boot(self) -> None:
        """Boot the rescue system again: the agent enrols with a new token. Raises Refused."""
        self._enrol(self._operate("NewEnrollToken", PHostId=self.id)["EnrollToken"])

    def switch_off(self) -> None:
        """Say nothing any more, until the next boot."""
        self._key = self._held = None

    def look(self, answer: bytes) -> bool:
        """Count a look at the host, or at the image that it is captured as. False if the answer shows neither."""
        held = self._held  # a thread may end the order beside it
        if held is None or not any(id and id.encode() in answer for id in (self.id, held.fields["ImageId"])):
            return False
        held.looks += 1
        return True

    def step(self, transition_of: Callable[..., Transition], now: float) -> None:
        """Poll, and do or end the order whose transition is due."""
        if self._key is None:
            return
        try:
            self._step(transition_of, now)
        except (Refused, BadControl) as refused:  # as the protocol has it: stop, and poll again unless the key is refused
            log.warning("scripted_host.refused", host=self.id, reason=str(refused))
            self._held = None

    def _step(self, transition_of: Callable[..., Transition], now: float) -> None:
        named = {} if self._held is None else {name: self._held.fields[name] for name in ("OrderId", "Fence")}
        disk: dict[str, Any] = {"Path": "/dev/sda", "Size": self.doc.disk_mib << 20}
        given = self._say("AgentPoll", BootId=self._boot, Wait=0, Disk=msgspec.json.encode(disk).decode(), **named)["Order"]
        if given is None:
            return
        if self._held is None:
            self._held = HeldOrder(given, now)
        self._held.fields = given
        made = [given["ImageId"]] if given["Kind"] == "capture" else []
        transition = transition_of(self.doc.name, *made)
        order = {"OrderId": given["OrderId"], "Fence": given["Fence"]}
        seconds, looks = now - self._held.since, self._held.looks
        if not transition.is_due(seconds, looks):
            done = int(disk["Size"] * transition.share(seconds, looks))
            self._say("AgentReport", **order, Phase=_PHASES[given["Kind"]], Done=done, Total=disk["Size"])
            return
        self._held = None
        if transition.failure:
            self._say("AgentReport", **order, Phase="commit", Error=transition.failure)
        else:
            self._finish(given, order)

    def _finish(self, given: dict[str, Any], order: dict[str, Any]) -> None:
        end: dict[str, Any] = {"Phase": "commit", "Finished": True}
        if given["Kind"] == "deploy":
            fetched = self._requests.send("GET", given["RawZstdUrl"])
            if fetched.status != 200:
                self._say("AgentReport", **order, Phase="write", Error=f"the image cannot be fetched: HTTP {fetched.status}")
                return
            with zstd.ZstdFile(io.BytesIO(fetched.body)) as raw:
                self._write(raw.read())
            receipt = {name: given[name] for name in ("OrderId", "ImageId", "ManifestDigest")}
            end |= {"Receipt": msgspec.json.encode({**receipt, "AgentVersion": "scripted"}).decode(), "Rebooting": True}
        elif given["Kind"] == "capture":
            with FileDisk(str(self._disk)) as disk:
                send_disk(disk, lambda method, what, body: self._upload(given["UploadUrl"], method, what, body))
        else:
            self._write(b"")
        self._say("AgentReport", **order, **end)
        if given["Kind"] == "deploy":
            self.switch_off()  # the deployed system runs, and no agent

    def _upload(self, url: str, method: str, what: str, body: bytes) -> bytes:
        path, _, ticket = url.partition("?")
        digest = base64.b64encode(sha256(body).digest()).decode()
        header = {"Content-Digest": f"sha-256=:{digest}:"}
        response = self._requests.send(method, f"{path}/{what}?{ticket}", body, header)
        if response.status not in (200, 201):
            what = f"host {self.id}: its capture was refused with HTTP {response.status}"
            raise BadControl(what, response.body.decode("utf-8", "replace"))
        return response.body

    def _enrol(self, token: str) -> None:
        public, _, private = token.partition(".")
        self._boot, self._held = self._random(16).hex(), None
        key = NewKey(PublicKey(public), PrivateKey(private))
        made = self._requests.call("AgentEnroll", key.public, key.private, BootId=self._boot, **self._hardware)
        self._key = NewKey(PublicKey(made["KeyId"]), PrivateKey(made["KeySecret"]))

    def _write(self, disk: bytes) -> None:
        with self._disk.open("wb") as file:
            file.write(disk)
            file.truncate(self.doc.disk_mib << 20)

    def _say(self, action: str, **params: Any) -> dict[str, Any]:
        assert self._key is not None
        return self._requests.call(action, self._key.public, self._key.private, **params)

    def _operate(self, action: str, **params: Any) -> dict[str, Any]:
        return self._requests.call(action, self._operator.public, self._operator.private, **params)
