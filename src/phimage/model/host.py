"""Hosts: machines whose disks phimage deploys images to and captures images from, and the states that they are in.

A state changes only on evidence: a message of the host's agent, or the Action of a person. No timer makes a host ready.

    Registered ─enrol─▶ Free ─assign─▶ Rescue ⇄ Capturing
                         ▲               │  ▲
                         │          reinstall│ enrol
                         │               ▼  │
                         │            Deploying ─▶ Running        Deploying ─error─▶ Failed ─enrol─▶ Rescue
                         │
    release ─▶ Cleaning ─┴─error─▶ Dirty
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from phimage.disk_hint import read_hint
from phimage.model.account import PrivateKey
from phimage.model.ids import (
    ClusterId,
    HostId,
    ImageId,
    MachineTypeId,
    ManifestDigest,
    OrderId,
    ProjectId,
    PublicKey,
    ZoneId,
)
from phimage.model.image import NO_PROJECT
from phimage.model.order import OrderKind

NO_ORDER = OrderId("")
NO_KEY = PublicKey("")


class HostState(StrEnum):
    """Rescue means that the agent runs beside the disk and waits. Running says that the disk is right and the agent said that
    it reboots, not that the system booted."""

    REGISTERED = "Registered"
    FREE = "Free"
    RESCUE = "Rescue"
    CAPTURING = "Capturing"
    DEPLOYING = "Deploying"
    RUNNING = "Running"
    FAILED = "Failed"
    CLEANING = "Cleaning"
    DIRTY = "Dirty"


ASSIGNED = frozenset((HostState.RESCUE, HostState.CAPTURING, HostState.DEPLOYING, HostState.RUNNING, HostState.FAILED))
"""The states of a host that belongs to a project, which alone sees it."""


class ReportedDisk(Struct, rename="pascal", frozen=True, kw_only=True):
    """A disk as the host's agent reports it. Sizes are bytes; `wwn` and `serial` are empty where the disk has none."""

    path: str
    size: Annotated[int, Meta(ge=0, le=1 << 62)]
    sector_size: Annotated[int, Meta(ge=1, le=1 << 20)] = 512
    wwn: str = ""
    serial: str = ""


class Host(Struct, frozen=True):
    """A machine that runs an agent. `hint` names its system disk, and `disks` are those that its agent reported at enrolment.

    `tenant_name`, `remark` and `tag` are the tenant's own. `image` and `manifest` are on the disk since `deployed`, Unix
    seconds; empty when phimage does not know. `order` is the open one, `key` the key of its agent, `token` the last enrol
    token. `failure` is why the last order failed. A `suspended` host, for this reason, gets no orders until an operator makes a
    new enrol token.
    """

    id: HostId
    name: str
    zone: ZoneId
    machine_type: MachineTypeId
    cluster: ClusterId
    serial: str
    macs: tuple[str, ...]
    hint: str
    created: int
    state: HostState = HostState.REGISTERED
    project: ProjectId = NO_PROJECT
    assigned: int = 0
    tenant_name: str = ""
    remark: str = ""
    tag: str = ""
    image: ImageId = ImageId("")
    manifest: ManifestDigest = ManifestDigest("")
    deployed: int = 0
    order: OrderId = NO_ORDER
    failure: str = ""
    suspended: str = ""
    key: PublicKey = NO_KEY
    token: PublicKey = NO_KEY
    disks: tuple[ReportedDisk, ...] = ()


class HostKey(Struct, frozen=True):
    """A credential of a host: an enrol token, or the key of its agent.

    `boot` is the boot for which it was used or made, empty for an unused token. `expires` is Unix seconds; 0 for never.
    """

    id: PublicKey
    host: HostId
    is_token: bool
    secret: PrivateKey
    boot: str
    created: int
    expires: int


class WrongState(Exception):
    """A host is in no state for what was asked of it. The text says why, and what to do."""


def check_hint(text: str) -> str:
    """A disk hint that a host may have. Raises ValueError, which says what is expected.

    Beside a disk, a person may also name a file; the disk of a host is a device.
    """
    hint = read_hint(text)
    if hint.kind == "path" and not hint.value.startswith("/dev/"):
        raise ValueError(f"{text} is no device; expected a path such as path:/dev/sda")
    return text


def fits(host: Host, serial: str, macs: tuple[str, ...]) -> bool:
    """Whether the hardware of an agent is that of a host: its serial number, and one of its MAC addresses."""
    return serial.strip().lower() == host.serial.lower() and not {mac.lower() for mac in macs}.isdisjoint(host.macs)


def with_token(host: Host, token: PublicKey) -> Host:
    """A new enrol token. It ends a suspension."""
    return replace(host, token=token, suspended="")


def enrolled(host: Host, key: PublicKey, disks: tuple[ReportedDisk, ...]) -> Host:
    """The agent enrolled from a rescue system with a new key, so the system on the disk does not run. An order goes on."""
    to_rescue = host.state in (HostState.RUNNING, HostState.FAILED)
    state = HostState.FREE if host.state is HostState.REGISTERED else HostState.RESCUE if to_rescue else host.state
    return replace(host, state=state, key=key, disks=disks)


def assigned(host: Host, project: ProjectId, now: int) -> Host:
    """Give a free host to a project. Raises WrongState."""
    if host.state is not HostState.FREE:
        raise WrongState(_not_free(host))
    _check_trusted(host)
    return replace(host, state=HostState.RESCUE, project=project, assigned=now, failure="")


def capturing(host: Host, order: OrderId) -> Host:
    """Begin the capture of an image. Raises WrongState."""
    _check_trusted(host)
    if host.state is not HostState.RESCUE:
        raise WrongState(_not_stopped(host))
    return replace(host, state=HostState.CAPTURING, order=order, failure="")


def deploying(host: Host, order: OrderId) -> Host:
    """Begin the deployment of an image; after a failed one at once. Raises WrongState."""
    _check_trusted(host)
    if host.state not in (HostState.RESCUE, HostState.FAILED):
        raise WrongState(_not_stopped(host))
    return replace(host, state=HostState.DEPLOYING, order=order, failure="")


def released(host: Host, order: OrderId) -> Host:
    """Take a host from its project, in the middle of whatever it does, and begin to clean its disk. Raises WrongState."""
    if host.state not in ASSIGNED and host.state is not HostState.DIRTY:
        what = "is being cleaned already" if host.state is HostState.CLEANING else "belongs to no project"
        raise WrongState(f"it is {host.state.value} and {what}: nothing to release")
    return replace(
        host,
        state=HostState.CLEANING,
        project=NO_PROJECT,
        assigned=0,
        tenant_name="",
        remark="",
        tag="",
        image=ImageId(""),
        manifest=ManifestDigest(""),
        deployed=0,
        order=order,
        failure="",
    )


def deployed(host: Host, image: ImageId, manifest: ManifestDigest, now: int, *, rebooting: bool) -> Host:
    """The agent sent a receipt: the disk is right. It is Running if the agent said that it reboots."""
    state = HostState.RUNNING if rebooting else HostState.RESCUE
    return replace(host, state=state, image=image, manifest=manifest, deployed=now, order=NO_ORDER)


def captured(host: Host) -> Host:
    """The agent sealed the disk."""
    return replace(host, state=HostState.RESCUE, order=NO_ORDER)


def cleaned(host: Host) -> Host:
    """The agent overwrote the disk."""
    return replace(host, state=HostState.FREE, order=NO_ORDER)


def failed(host: Host, kind: OrderKind, reason: str) -> Host:
    """The open order failed or was ended. After a deployment the disk holds no known image; a capture changed nothing."""
    if kind is OrderKind.CAPTURE:
        return replace(host, state=HostState.RESCUE, order=NO_ORDER, failure=reason)
    state = HostState.FAILED if kind is OrderKind.DEPLOY else HostState.DIRTY
    unknown = {"image": ImageId(""), "manifest": ManifestDigest(""), "deployed": 0}
    return replace(host, state=state, order=NO_ORDER, failure=reason, **unknown)


def suspended(host: Host, reason: str) -> Host:
    """Its credential was used twice: revoke the key and give no orders."""
    return replace(host, suspended=reason, key=NO_KEY)


def check_removable(host: Host) -> None:
    """Raises WrongState for a host that belongs to a project."""
    if host.state in ASSIGNED:
        raise WrongState(f"it is {host.state.value} in project {host.project}: release it first")


def _check_trusted(host: Host) -> None:
    if host.suspended:
        raise WrongState(
            "it is suspended, its credential was used twice: an operator makes a new enrol token and boots it again"
        )


def _not_free(host: Host) -> str:
    if host.state is HostState.REGISTERED:
        return "it is Registered and its agent never enrolled: boot its rescue system with an enrol token"
    if host.state in ASSIGNED:
        return f"it is {host.state.value} in project {host.project}: release it first"
    return f"it is {host.state.value}: " + (
        "wait until its disk is clean" if host.state is HostState.CLEANING else "release it again to clean its disk"
    )


def _not_stopped(host: Host) -> str:
    if host.state is HostState.RUNNING:
        return "it is Running: boot the rescue system, or ask your operator"
    if host.state is HostState.FAILED:
        return f"its last deployment failed ({host.failure}): install an image with ReinstallPHost"
    return f"it is {host.state.value}: wait until its order has ended"
