"""No sequence of messages brings a host into a state without its evidence."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from phimage.model import host as hosts
from phimage.model.host import ASSIGNED, Host, HostState, ReportedDisk, WrongState
from phimage.model.ids import ClusterId, HostId, ImageId, MachineTypeId, ManifestDigest, OrderId, ProjectId, PublicKey, ZoneId
from phimage.model.image import NO_PROJECT
from phimage.model.order import OrderKind

KINDS = {HostState.DEPLOYING: OrderKind.DEPLOY, HostState.CAPTURING: OrderKind.CAPTURE, HostState.CLEANING: OrderKind.CLEAN}


class HostLife(RuleBasedStateMachine):
    """Messages in any order. What each of them proves is kept beside the host, in the words of the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.host = Host(
            HostId("upm-1"),
            "a",
            ZoneId("z"),
            MachineTypeId("t"),
            ClusterId("c"),
            "SN",
            ("0c:42:a1:00:00:01",),
            "serial:1",
            0,
        )
        self.orders = 0
        self.enrolled = False
        self.is_clean = True  # nobody had it, or its agent overwrote the disk since
        self.on_disk = ""
        self.rebooted = False  # the last word of the agent was that it reboots into a right disk

    def _try(self, step: Callable[[], Host]) -> bool:
        before = self.host
        try:
            self.host = step()
        except WrongState:
            assert self.host == before
            return False
        return True

    def _order(self) -> OrderId:
        self.orders += 1
        return OrderId(f"order-{self.orders}")

    @rule(count=st.integers(0, 2))
    def enrol(self, count: int) -> None:
        disks = tuple(ReportedDisk(path=f"/dev/sd{number}", size=number) for number in range(count))
        self.host = hosts.enrolled(self.host, PublicKey("hostkey-1"), disks)
        self.enrolled, self.rebooted = True, False

    @rule()
    def token(self) -> None:
        self.host = hosts.with_token(self.host, PublicKey("enrol-1"))

    @rule()
    def suspend(self) -> None:
        self.host = hosts.suspended(self.host, "twice")

    @rule()
    def assign(self) -> None:
        was_suspended = bool(self.host.suspended)
        if self._try(lambda: hosts.assigned(self.host, ProjectId("org-a"), 1)):
            assert self.is_clean
            assert not was_suspended
            self.is_clean = False

    @rule()
    def reinstall(self) -> None:
        if self._try(lambda: hosts.deploying(self.host, self._order())):
            assert not self.host.suspended

    @rule()
    def capture(self) -> None:
        if self._try(lambda: hosts.capturing(self.host, self._order())):
            assert not self.host.suspended

    @rule()
    def release(self) -> None:
        if self._try(lambda: hosts.released(self.host, self._order())):
            self.on_disk, self.rebooted = "", False

    @precondition(lambda self: self.host.state in KINDS)
    @rule(rebooting=st.booleans())
    def finish(self, rebooting: bool) -> None:
        match KINDS[self.host.state]:
            case OrderKind.DEPLOY:
                self.on_disk, self.rebooted = "pimg-1", rebooting
                self.host = hosts.deployed(self.host, ImageId("pimg-1"), ManifestDigest("0" * 64), 2, rebooting=rebooting)
            case OrderKind.CAPTURE:
                self.host = hosts.captured(self.host)
            case OrderKind.CLEAN:
                self.is_clean = True
                self.host = hosts.cleaned(self.host)

    @precondition(lambda self: self.host.state in KINDS)
    @rule()
    def fail(self) -> None:
        kind = KINDS[self.host.state]
        self.host = hosts.failed(self.host, kind, "EIO")
        if kind is not OrderKind.CAPTURE:
            self.on_disk = ""

    @invariant()
    def a_state_has_its_evidence(self) -> None:
        host = self.host
        assert (host.state is HostState.REGISTERED) <= (not self.enrolled)
        assert (host.state is HostState.FREE) <= (self.enrolled and self.is_clean)
        assert (host.state is HostState.RUNNING) == (self.rebooted and host.state not in KINDS)
        assert (host.state in ASSIGNED) == (host.project != NO_PROJECT)
        assert (host.state in ASSIGNED) <= (not self.is_clean)
        assert bool(host.order) == (host.state in KINDS)
        assert host.image == self.on_disk
        assert bool(host.image) == bool(host.manifest) == bool(host.deployed)
        assert (host.state is HostState.FREE) <= (not host.image)


HostLife.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_host_life = HostLife.TestCase
