"""The agent of one boot: it enrols, polls for orders, does them one at a time and reports."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from phimage import __version__
from phimage.agent.capture import capture_to_server
from phimage.agent.captured_disk import CapturedDisk
from phimage.agent.clean import clean
from phimage.agent.crew import Crew, CrewStopped
from phimage.agent.disk_choice import choose_disk, open_disk
from phimage.agent.disks import FoundDisk, find_disks
from phimage.agent.errors import DiskRefused, OrderGone
from phimage.agent.given_order import GivenOrder, UnreadableOrder, read_order
from phimage.agent.hardware import Hardware
from phimage.agent.image_source import ServedImage
from phimage.agent.order_reporter import OrderReporter
from phimage.agent.prepared_deploy import disk_identity, prepare
from phimage.agent.refusals import refuse_busy
from phimage.agent.server_link import AgentKey, ServerAway, ServerLink
from phimage.agent.upload_requests import UploadRequests
from phimage.chunk_upload import SendProgress
from phimage.errors import PhimageError
from phimage.http_client import ApiConnections

_ENROLL_PATIENCE = 600.0
_POLL_PATIENCE = 60.0
_MAX_DISKS = 64
"""Disks of an enrolment: a server takes no more."""
_FIRST_LOST_PAUSE, _MAX_LOST_PAUSE = 1.0, 30.0
_SERVER_PATIENCE = 1800.0
"""How long an order waits for the server: as long as the server waits for the agent."""


@dataclass(frozen=True)
class Enrolment:
    """What a server said when this machine enrolled."""

    host: str
    name: str
    key: AgentKey
    disk: str
    """The hint that the host was registered with; no order may name another disk."""
    poll_seconds: int
    report_seconds: int


class AgentRun:
    """An agent. `enroll` comes first."""

    def __init__(
        self,
        link: ServerLink,
        connections: ApiConnections,
        hardware: Hardware,
        *,
        read_back: bool,
        say: Callable[[str], object],
        disks: Callable[[], list[FoundDisk]] = find_disks,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`say` shows a line to people. `pause` waits some seconds."""
        self._link = link
        self._connections = connections
        self._hardware = hardware
        self._read_back = read_back
        self._say = say
        self._disks = disks
        self._pause = pause
        self._clock = clock
        self._enrolment: Enrolment | None = None
        self._lost_pause = _FIRST_LOST_PAUSE

    def enroll(self, token: AgentKey) -> Enrolment:
        """Enrol this machine. Raises AgentRefused and ServerAway."""
        params = {
            "SerialNumber": self._hardware.serial,
            "Mac": self._hardware.macs,
            "BootId": self._hardware.boot,
            "AgentVersion": __version__,
            "Disk": [json.dumps(disk_identity(disk)) for disk in self._disks()[:_MAX_DISKS]],
        }
        answer = self._link.call(token, "AgentEnroll", params, patience=_ENROLL_PATIENCE)
        self._enrolment = Enrolment(
            host=str(answer["PHostId"]),
            name=str(answer["Name"]),
            key=AgentKey(str(answer["KeyId"]), str(answer["KeySecret"])),
            disk=str(answer["Disk"]),
            poll_seconds=int(answer["PollSeconds"]),
            report_seconds=int(answer["ReportSeconds"]),
        )
        self._say(f"enrolled as {self._enrolment.host} ({self._enrolment.name}); waiting for orders")
        return self._enrolment

    def obey_next(self, *, reboots: bool) -> bool:
        """Wait for an order for a while, and do it. Returns whether the machine should reboot into its disk now.

        Raises AgentRefused when the server no longer accepts the key.
        """
        try:
            order = self._poll({"Wait": self._enrolled.poll_seconds}, _POLL_PATIENCE)
        except ServerAway as away:
            self._say(f"{away}; trying again")
            return False
        except OrderGone:
            return False
        if order is None:
            return False
        self._say(f"{order.id}: {order.kind} {order.image or order.disk}")
        return self._obey(order, reboots)

    @property
    def _enrolled(self) -> Enrolment:
        assert self._enrolment is not None, "enroll first"
        return self._enrolment

    def _poll(self, params: dict[str, str | int], patience: float) -> GivenOrder | None:
        seen = {"BootId": self._hardware.boot, **params}
        with suppress(DiskRefused):  # then an order is refused with the reason
            seen["Disk"] = json.dumps(disk_identity(choose_disk(self._disks(), self._enrolled.disk)))
        fields = self._link.call(self._enrolled.key, "AgentPoll", seen, patience=patience)["Order"]
        return read_order(fields) if fields else None

    def _obey(self, order: GivenOrder, reboots: bool) -> bool:
        crew = Crew()
        reporter = OrderReporter(self._link, self._enrolled.key, order, crew, self._enrolled.report_seconds, self._clock)
        try:
            with reporter:
                try:
                    receipt = self._do(order, crew, reporter)
                except CrewStopped:
                    reporter.raise_if_lost()
                    raise
                except OrderGone:
                    raise
                except PhimageError as error:
                    self._say(f"{order.id}: {error}")
                    reporter.fail(str(error))
                    self._lost_pause = _FIRST_LOST_PAUSE
                    return False
                except Exception as error:  # noqa: BLE001  the host needs its agent, and its people the reason
                    self._say(f"{order.id}: {traceback.format_exc()}")
                    reporter.fail(f"{type(error).__name__}: {error}; see the console of the host")
                    self._lost_pause = _FIRST_LOST_PAUSE
                    return False
                rebooting = reboots and order.kind == "deploy"
                reporter.finish(receipt, rebooting=rebooting)
        except (OrderGone, ServerAway) as lost:
            self._say(f"{order.id}: {lost}")
            # An order that two agents take from each other, or whose upload is refused, would be given out without a pause.
            self._pause(self._lost_pause)
            self._lost_pause = min(2 * self._lost_pause, _MAX_LOST_PAUSE)
            return False
        self._lost_pause = _FIRST_LOST_PAUSE
        self._say(f"{order.id}: done")
        return rebooting

    def _do(self, order: GivenOrder, crew: Crew, reporter: OrderReporter) -> str:
        """Do an order, and return its receipt, if it has one. Raises PhimageError and CrewStopped."""
        if order.disk != self._enrolled.disk:
            raise DiskRefused(f"the order is for disk {order.disk}, but this host was registered with {self._enrolled.disk}")
        disks = self._disks()
        disk = choose_disk(disks, order.disk)
        match order.kind:
            case "deploy":
                return self._deploy(order, disk, disks, crew, reporter)
            case "clean":
                refuse_busy(disk, disks)
                with open_disk(disk, self._disks, writable=True) as device:
                    clean(device, reporter.permit, reporter.show)
                return ""
            case "capture":
                refuse_busy(replace(disk, read_only=False), disks)
                self._capture(order, disk, crew, reporter)
                return ""
            case _:
                raise UnreadableOrder(
                    f"this agent does not know orders of kind {order.kind}: use the agent of the server's version"
                )

    def _deploy(self, order: GivenOrder, disk: FoundDisk, disks: list[FoundDisk], crew: Crew, reporter: OrderReporter) -> str:
        if not order.manifest:
            raise UnreadableOrder(f"order {order.id} does not say which manifest it means: look at the log of the server")
        if order.seed:
            raise DiskRefused("the order has a NoCloud seed, for which the image has no place: deploy without a password")
        source = ServedImage(
            order.urls,
            self._connections,
            crew.pause,
            self._clock,
            patience=_SERVER_PATIENCE,
            renew=lambda: self._renewed(order).urls,
        )
        prepared = prepare(disk, disks, source, order.manifest, stated_sector=order.sector_size)

        def on_phase(phase: str, done: int, total: int) -> None:
            reporter.show(phase, done, total, source.fetched)

        receipt: dict[str, Any] = prepared.run(
            crew, read_back=self._read_back, permit=reporter.permit, on_phase=on_phase, look=self._disks
        )
        return json.dumps({"OrderId": order.id, "ImageId": order.image, **receipt})

    def _capture(self, order: GivenOrder, disk: FoundDisk, crew: Crew, reporter: OrderReporter) -> None:
        def on_progress(progress: SendProgress) -> None:
            reporter.show("read", progress.done, progress.total, progress.sent, progress.reused)

        upload = UploadRequests(
            lambda expired: self._renewed(order).upload_url if expired else order.upload_url,
            self._connections,
            patience=_SERVER_PATIENCE,
            clock=self._clock,
            wait=crew.pause,
        )
        with upload, open_disk(disk, self._disks, writable=False) as device:
            capture_to_server(CapturedDisk(device, trim=order.trim), upload, on_progress)

    def _renewed(self, order: GivenOrder) -> GivenOrder:
        """The order with new tickets. Raises OrderGone."""
        again = self._poll({"OrderId": order.id, "Fence": order.fence}, _SERVER_PATIENCE)
        if again is None or again.id != order.id:
            raise OrderGone(f"the server ended order {order.id}")
        return again
