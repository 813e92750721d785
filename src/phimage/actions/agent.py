"""What the agents of hosts say: they enrol, ask for orders and report. docs/agent-protocol.md is the contract."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from phimage.actions.agent_orders import AgentOrder, Evidence, end_failed, end_finished, order_of_agent, sealed_size
from phimage.actions.hosts import MacParam
from phimage.actions.service import Call
from phimage.catalog import orders
from phimage.catalog.engine import Connection
from phimage.catalog.hosts import (
    HOSTS,
    AgentContact,
    begin_contact,
    find_host_key,
    note_contacts,
    put_host_key,
    remove_host_keys,
    use_token,
)
from phimage.catalog.orders import OrderProgress
from phimage.catalog.revisions import Change
from phimage.control_characters import find_control
from phimage.errors import LongPoll, NotPermitted, OrderLost, UnavailableParam, UnknownUser
from phimage.event_log import log
from phimage.gateway.registry import Action, Credential
from phimage.model.account import PrivateKey, Right
from phimage.model.host import Host, HostKey, ReportedDisk, enrolled, fits, suspended
from phimage.model.ids import OrderId, new_host_key_id, new_private_key
from phimage.model.order import OrderState

MAX_WAIT = 25
"""Max seconds of a long poll. HTTP clients and proxies time out after 30 seconds or more."""
REPORT_SECONDS = 2
"""Seconds between two reports of an agent."""
MAX_DISKS = 64

BootParam = Annotated[
    str, Meta(pattern="^[A-Za-z0-9_-]{16,64}$", description="random id of the boot: 16 to 64 letters, digits, - _")
]
OrderIdParam = Annotated[OrderId, Meta(min_length=1, max_length=64, description="id of the order")]
FenceParam = Annotated[int, Meta(ge=1, le=2_147_483_647, description="fence with which the order was given out")]
DiskText = Annotated[str, Meta(max_length=2048)]
BytesParam = Annotated[int, Meta(ge=0, le=1 << 62)]


class AgentEnroll(Struct, rename="pascal", frozen=True, kw_only=True):
    """Enrol a host's agent, once for each boot. Signed with the enrol token, over https or from a loopback address."""

    serial_number: Annotated[str, Meta(min_length=1, max_length=64, description="serial number of the machine (DMI)")]
    mac: Annotated[tuple[MacParam, ...], Meta(description="MAC addresses of all network cards")]
    boot_id: BootParam
    agent_version: Annotated[str, Meta(max_length=64, description="version of the agent")] = ""
    disk: Annotated[
        tuple[DiskText, ...], Meta(description="the disks, each as JSON with Path, Size, SectorSize, Wwn and Serial")
    ] = ()


class AgentEnrollResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The host, and the key that its agent keeps in memory until it enrols again."""

    p_host_id: Annotated[str, Meta(description="id of the host")]
    name: Annotated[str, Meta(description="name of the host")]
    key_id: Annotated[str, Meta(description="key with which the agent signs")]
    key_secret: Annotated[str, Meta(description="secret of the key")]
    disk: Annotated[str, Meta(description="hint that names the system disk; the agent refuses orders with another one")]
    poll_seconds: Annotated[int, Meta(description="longest wait of AgentPoll")]
    report_seconds: Annotated[int, Meta(description="seconds between two reports")]


class AgentPoll(Struct, rename="pascal", frozen=True, kw_only=True):
    """Ask for an order, and wait until there is one; or for the order in progress again, with new tickets."""

    boot_id: BootParam
    order_id: OrderIdParam | None = None
    fence: FenceParam | None = None
    wait: Annotated[int, Meta(ge=0, le=MAX_WAIT, description="longest wait in seconds")] = MAX_WAIT
    disk: (
        Annotated[DiskText, Meta(description="the one disk that the hint names, as JSON; absent unless there is one")] | None
    ) = None


class AgentPollResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The order, or null."""

    order: Annotated[AgentOrder | None, Meta(description="the order; null if there is none")]


class AgentReport(Struct, rename="pascal", frozen=True, kw_only=True):
    """Report the progress of an order, its end or its failure."""

    order_id: OrderIdParam
    fence: FenceParam
    phase: Annotated[str, Meta(min_length=1, max_length=32, description="what the agent does, for people")]
    done: Annotated[BytesParam, Meta(description="processed bytes of the phase")] = 0
    total: Annotated[BytesParam, Meta(description="all bytes of the phase")] = 0
    sent: Annotated[BytesParam, Meta(description="bytes that crossed the network")] = 0
    reused: Annotated[BytesParam, Meta(description="bytes that did not have to")] = 0
    finished: Annotated[bool, Meta(description="the order is done")] = False
    receipt: Annotated[str, Meta(max_length=8192, description="receipt of a finished deployment, as JSON")] = ""
    rebooting: Annotated[bool, Meta(description="the agent reboots into the disk now")] = False
    error: Annotated[str, Meta(max_length=1024, description="why the order failed")] = ""


class AgentReportResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """Whether the order goes on."""

    continue_: Annotated[bool, Meta(description="true while the order goes on, false after its last report")] = msgspec.field(
        name="Continue"
    )


def agent_enroll(request: AgentEnroll, call: Call) -> AgentEnrollResponse:
    _check_confidential(call)
    disks = _disks(request.disk)
    refusal = ""
    with call.service.change(call) as change:
        host = _own_host(change.connection, call)
        token = find_host_key(change.connection, call.service.catalog.key_encryption, call.caller.key)
        if token is None:
            raise UnknownUser(detail="the enrol token was replaced: use the newest one")
        is_own = fits(host, request.serial_number, request.mac)
        key = _known_key(change, host, call)
        if token.boot and is_own and token.boot == request.boot_id and key is not None and key.boot == request.boot_id:
            return _enrolled(host, key)  # the response to an earlier request was lost
        if token.boot:
            refusal = f"its enrol token was used a second time, from {call.address}"
            _suspend(change, host, refusal)
        elif not is_own:
            refusal = "the serial number or the MAC addresses are not those that the host was registered with"
        else:
            key = _enrol(change, host, token, request, disks, call)
    if refusal:
        log.error("host.enrolment_refused", host=host.id, address=call.address, reason=refusal)
        raise NotPermitted(detail=f"{refusal}; the operator makes a new enrol token with `phimage host token {host.id}`")
    assert key is not None
    return _enrolled(host, key)


def agent_poll(request: AgentPoll, call: Call) -> AgentPollResponse:
    if call.view.pinned:
        raise UnavailableParam("rev", detail="an agent asks for the present: send AgentPoll to a path without rev or at")
    if (request.order_id is None) != (request.fence is None):
        raise UnavailableParam("Fence", detail="give OrderId and Fence, or neither")
    key = call.view.host_key(call.caller.key)
    if key is None:
        raise UnknownUser
    if key.boot != request.boot_id:
        _suspend_clone(call)
    disk = _disk("Disk", request.disk) if request.disk else None
    contact = AgentContact(host=key.host, heard=call.time, address=call.address, disk=disk)
    heartbeats = call.service.heartbeats
    # docs/decisions.md#an-agent-names-its-disk
    if heartbeats.has_new_disk(key.id, contact):
        call.view.may_wait()
        heartbeats.write(call.service.catalog.database, key.id, contact)
    heartbeats.note(contact)
    if request.order_id is not None or key.host in call.view.hosts_with_orders():
        call.view.may_wait()
        order = _give_out(request, contact, call)
        if order is not None:
            return AgentPollResponse(order=order)
    if request.wait and call.patient:
        raise LongPoll(request.wait)
    return AgentPollResponse(order=None)


def agent_report(request: AgentReport, call: Call) -> AgentReportResponse:
    if request.error and request.finished:
        raise UnavailableParam("Error", detail="an order is finished or has an error, not both")
    if request.finished or request.error:
        sealed = sealed_size(request.order_id, call) if request.finished else None
        with call.service.change(call) as change:
            host = _own_host(change.connection, call)
            order = orders.find_order(change.connection, request.order_id)
            if order is None or order.host != host.id or order.fence != request.fence:
                raise OrderLost(request.order_id, detail="it ended, or was given out again: ask for an order")
            if order.state in (OrderState.DONE, OrderState.FAILED):
                return AgentReportResponse(continue_=False)  # the response to the same report was lost
            if not order.is_open:
                raise OrderLost(request.order_id, detail=order.error)
            _record(change.connection, request, call)
            if request.error:
                end_failed(change, host, order, request.error)
            else:
                evidence = Evidence(request.receipt, request.rebooting, sealed)
                end_finished(change, host, order, evidence)
        log.info("order.ended", order=order.id, host=host.id, kind=order.kind.value, error=request.error)
        return AgentReportResponse(continue_=False)
    with call.service.write(call) as connection:
        _record(connection, request, call)
    return AgentReportResponse(continue_=True)


def _record(connection: Connection, request: AgentReport, call: Call) -> None:
    """Write a report's progress. Raises OrderLost."""
    progress = OrderProgress(request.phase, request.done, request.total, request.sent, request.reused)
    if not orders.report(connection, call.caller.host, request.order_id, request.fence, progress, call.time):
        raise OrderLost(request.order_id, detail="it ended, or was given out again: ask for an order")
    note_contacts(connection, [AgentContact(call.caller.host, call.time, call.address)])


def _give_out(request: AgentPoll, contact: AgentContact, call: Call) -> AgentOrder | None:
    """The open order of the host, given out anew unless the agent names it. Raises OrderLost."""
    with call.service.write(call) as connection:
        host = _own_host(connection, call)
        if host.suspended:
            raise NotPermitted(detail=f"the host is suspended: {host.suspended}; its operator makes a new enrol token")
        note_contacts(connection, [contact])
        if request.order_id is None or request.fence is None:
            order = orders.give_out(connection, host.id, call.time)
        else:
            order = orders.renew(connection, host.id, request.order_id, request.fence, call.time)
            if order is None:
                raise OrderLost(request.order_id, detail="it ended, or was given out again: ask without OrderId")
    if order is None:
        return None
    log.info("order.given_out", order=order.id, host=host.id, kind=order.kind.value, fence=order.fence)
    return order_of_agent(order, host, call)


def _own_host(connection: Connection, call: Call) -> Host:
    """The host of the calling agent. Raises UnknownUser once its credential was revoked."""
    host = HOSTS.find(connection, call.caller.host)
    if host is None or call.caller.key not in (host.key, host.token):
        raise UnknownUser(detail="the host's credential was replaced or revoked, or the host removed: enrol again")
    return host


def _known_key(change: Change, host: Host, call: Call) -> HostKey | None:
    """The key that the host's agent has now."""
    return find_host_key(change.connection, call.service.catalog.key_encryption, host.key) if host.key else None


def _enrol(
    change: Change, host: Host, token: HostKey, request: AgentEnroll, disks: tuple[ReportedDisk, ...], call: Call
) -> HostKey:
    key = HostKey(
        id=new_host_key_id(call.service.random),
        host=host.id,
        is_token=False,
        secret=PrivateKey(new_private_key(call.service.random)),
        boot=request.boot_id,
        created=int(call.time),
        expires=0,
    )
    put_host_key(change.connection, call.service.catalog.key_encryption, key)
    use_token(change.connection, token, request.boot_id)
    contact = AgentContact(host.id, call.time, call.address, request.agent_version)
    begin_contact(change.connection, contact)
    HOSTS.put(change, enrolled(host, key.id, disks))
    return key


def _enrolled(host: Host, key: HostKey) -> AgentEnrollResponse:
    return AgentEnrollResponse(
        p_host_id=host.id,
        name=host.name,
        key_id=key.id,
        key_secret=key.secret.reveal(),
        disk=host.hint,
        poll_seconds=MAX_WAIT,
        report_seconds=REPORT_SECONDS,
    )


# docs/decisions.md#a-credential-used-twice-suspends-the-host
def _suspend(change: Change, host: Host, reason: str) -> None:
    log.error("host.suspended", host=host.id, reason=reason)
    if not host.suspended:  # a thief could write a revision with each try
        remove_host_keys(change.connection, host.id, is_token=False)
        HOSTS.put(change, suspended(host, reason))


def _suspend_clone(call: Call) -> None:
    """Suspend the host whose key came from two boots. Raises NotPermitted."""
    call.view.may_wait()
    reason = f"its key was used from two boots, last from {call.address}"
    with call.service.change(call) as change:
        host = _own_host(change.connection, call)
        _suspend(change, host, reason)
    raise NotPermitted(detail=f"{reason}; the operator makes a new enrol token with `phimage host token {host.id}`")


def _check_confidential(call: Call) -> None:
    """Raises NotPermitted when the host's key would cross a network in the clear."""
    try:
        is_loopback = ip_address(call.address).is_loopback
    except ValueError:
        is_loopback = False
    if not (is_loopback or call.base_url().startswith("https://")):
        raise NotPermitted(detail="an agent enrols over https: use the https address, or see docs/how-to/https.md")


def _disks(texts: tuple[str, ...]) -> tuple[ReportedDisk, ...]:
    if len(texts) > MAX_DISKS:
        raise UnavailableParam("Disk", detail=f"at most {MAX_DISKS} disks")
    return tuple(_disk("Disk", text) for text in texts)


def _disk(name: str, text: str) -> ReportedDisk:
    try:
        disk = msgspec.json.decode(text, type=ReportedDisk)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnavailableParam(name, detail=f"a disk is JSON with Path and Size: {error}") from None
    # docs/decisions.md#texts-have-no-control-characters
    if control := find_control(disk.path + disk.wwn + disk.serial):  # JSON escapes them, so the parameter has none
        raise UnavailableParam(name, detail=f"a text cannot have the control character {control}; remove it")
    return disk


ACTIONS = (
    Action(
        AgentEnroll,
        AgentEnrollResponse,
        agent_enroll,
        Right.KEY,
        changes=True,
        credential=Credential.ENROL_TOKEN,
    ),
    Action(AgentPoll, AgentPollResponse, agent_poll, Right.KEY, credential=Credential.HOST_KEY),
    Action(AgentReport, AgentReportResponse, agent_report, Right.KEY, changes=True, credential=Credential.HOST_KEY),
)
