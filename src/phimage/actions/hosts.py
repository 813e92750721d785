"""Hosts for operators: registering, enrol tokens, assigning, releasing, removing."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.host_rows import HostRow, host_rows
from phimage.actions.service import Call
from phimage.catalog import hosts
from phimage.catalog.accounts import PROJECTS
from phimage.catalog.engine import Connection
from phimage.catalog.hosts import HOSTS
from phimage.catalog.image_bytes import give_up
from phimage.catalog.images import last_images
from phimage.catalog.orders import abort_order, add_order
from phimage.catalog.revisions import Change
from phimage.disk_hint import HINT_FORM
from phimage.errors import ServiceUnavailable, UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import PrivateKey, Right
from phimage.model.host import (
    Host,
    HostKey,
    HostState,
    WrongState,
    assigned,
    check_hint,
    check_removable,
    released,
    with_token,
)
from phimage.model.ids import (
    ClusterId,
    HostId,
    ImageId,
    MachineTypeId,
    ProjectId,
    ZoneId,
    new_enrol_token_id,
    new_host_id,
    new_order_id,
    new_private_key,
)
from phimage.model.order import Order, OrderKind

TOKEN_SECONDS = 3600
"""Lifetime of an enrol token."""
MAX_HOSTS = 1000

HostIdParam = Annotated[HostId, Meta(min_length=1, max_length=64, description="id of the host, such as upm-4k2xqz7a")]
MacParam = Annotated[str, Meta(pattern="^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$", description="a MAC address, aa:bb:cc:dd:ee:ff")]
HostNameParam = Annotated[str, Meta(min_length=1, max_length=128, description="name of the host, for people")]


class RegisterHost(Struct, rename="pascal", frozen=True, kw_only=True):
    """Register a host, and make the token with which its agent enrols once, within an hour."""

    zone: Annotated[ZoneId, Meta(description="zone in which the host stands")]
    machine_type: Annotated[MachineTypeId, Meta(max_length=64, description="its machine type, such as DB-2")]
    cluster: Annotated[ClusterId, Meta(max_length=64, description="network cluster that it is connected to, such as 25G")]
    serial_number: Annotated[str, Meta(min_length=1, max_length=64, description="serial number of the machine (DMI)")]
    mac: Annotated[tuple[MacParam, ...], Meta(description="MAC addresses of its network cards; one of them must enrol")]
    disk: Annotated[str, Meta(max_length=255, description=f"which disk is its system disk: {HINT_FORM}")]
    name: HostNameParam | None = None


class NewEnrollToken(Struct, rename="pascal", frozen=True, kw_only=True):
    """Make an enrol token in place of an earlier one: for each boot of the rescue system, and to end a suspension."""

    p_host_id: HostIdParam


class EnrollTokenResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The host and its token, which is shown once."""

    p_host_id: Annotated[str, Meta(description="id of the host")]
    enroll_token: Annotated[str, Meta(description="token with which the agent enrols; one use, bound to the hardware")]
    expire_time: Annotated[int, Meta(description="when the token expires, Unix seconds")]


class AssignHost(Struct, rename="pascal", frozen=True, kw_only=True):
    """Give a free host to a project."""

    p_host_id: HostIdParam
    project_id: Annotated[ProjectId, Meta(min_length=1, description="project that owns the host from now on")]


class ReleaseHost(Struct, rename="pascal", frozen=True, kw_only=True):
    """Take a host from its project, in the middle of whatever it does, and order its agent to overwrite the disk with zeros."""

    p_host_id: HostIdParam


class RemoveHost(Struct, rename="pascal", frozen=True, kw_only=True):
    """Remove a host that belongs to no project. Its agent's key stops working."""

    p_host_id: HostIdParam


class ListHosts(Struct, rename="pascal", frozen=True, kw_only=True):
    """List hosts, by id: operators those of all projects, tenants those of their project."""

    p_host_id: Annotated[tuple[HostIdParam, ...], Meta(description="ids of the hosts to list")] = ()
    project_id: (
        Annotated[ProjectId, Meta(max_length=64, description="hosts of this project: for operators any, by default all")] | None
    ) = None
    image_id: Annotated[ImageId, Meta(max_length=64, description="hosts whose disk has this image")] | None = None
    state: Annotated[HostState, Meta(description="hosts in this state")] | None = None
    offset: Annotated[int, Meta(ge=0, le=2_147_483_647, description="number of hosts to skip")] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_HOSTS, description="max hosts to list")] = 100


class HostResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The host as it is now."""

    p_host_id: Annotated[str, Meta(description="id of the host")]
    state: Annotated[str, Meta(description="state of the host; Removed for a removed one")]


class ListHostsResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A page of hosts."""

    total_count: Annotated[int, Meta(description="number of hosts on all pages")]
    host_set: Annotated[tuple[HostRow, ...], Meta(description="the hosts of the page")]


def register_host(request: RegisterHost, call: Call) -> EnrollTokenResponse:
    topology = call.view.topology()
    for name, known, value in (
        ("Zone", topology.zones, request.zone),
        ("MachineType", topology.machine_types, request.machine_type),
        ("Cluster", topology.clusters, request.cluster),
    ):
        if value not in known:
            raise UnavailableParam(name, detail=f"the catalogue has no {value}; add it with `phimage catalog apply` first")
    if request.cluster not in topology.clusters_of(request.machine_type, (request.zone,)):
        detail = f"{request.zone} does not offer {request.machine_type} on {request.cluster}"
        raise UnavailableParam("MachineType", detail=f"{detail}: correct one of them, or add the offer")
    try:
        check_hint(request.disk)
    except ValueError as error:
        raise UnavailableParam("Disk", detail=str(error)) from None
    id = new_host_id(call.service.random)
    host = Host(
        id=id,
        name=request.name or request.serial_number,
        zone=request.zone,
        machine_type=request.machine_type,
        cluster=request.cluster,
        serial=request.serial_number.strip(),
        macs=tuple(sorted({mac.lower() for mac in request.mac})),
        hint=request.disk,
        created=int(call.time),
    )
    with call.service.change(call) as change:
        twin = hosts.host_with_serial(change.connection, host.serial)
        if twin is not None:
            raise UnavailableParam("SerialNumber", detail=f"{twin.id} has this serial number: remove it first, or use it")
        if HOSTS.had(change.connection, host.id):
            raise ServiceUnavailable(detail="the random id is already in use; try again")
        return _new_token(change, host, call)


def new_enroll_token(request: NewEnrollToken, call: Call) -> EnrollTokenResponse:
    with call.service.change(call) as change:
        return _new_token(change, found_host(change.connection, request.p_host_id), call)


def assign_host(request: AssignHost, call: Call) -> HostResponse:
    with call.service.change(call) as change:
        if PROJECTS.find(change.connection, request.project_id) is None:
            raise UnavailableParam("ProjectId", detail=f"there is no project {request.project_id}")
        before = found_host(change.connection, request.p_host_id)
        try:
            host = assigned(before, request.project_id, int(call.time))
        except WrongState as error:
            raise UnavailableParam("PHostId", detail=str(error)) from None
        HOSTS.put(change, host)
    return HostResponse(p_host_id=host.id, state=host.state.value)


# docs/decisions.md#a-host-can-be-released-in-the-middle
def release_host(request: ReleaseHost, call: Call) -> HostResponse:
    with call.service.change(call) as change:
        before = found_host(change.connection, request.p_host_id)
        order = Order(
            id=new_order_id(call.service.random),
            host=before.id,
            kind=OrderKind.CLEAN,
            created=call.time,
            heard=call.time,
            actor=call.caller.actor,
        )
        try:
            host = released(before, order.id)
        except WrongState as error:
            raise UnavailableParam("PHostId", detail=str(error)) from None
        reason = f"host {host.id} was released by its operator"
        ended = abort_order(change, before, reason)
        if ended is not None and ended.kind is OrderKind.CAPTURE:
            give_up(change, ended.image, reason, ())
        add_order(change.connection, order)
        HOSTS.put(change, host)
    return HostResponse(p_host_id=host.id, state=host.state.value)


def remove_host(request: RemoveHost, call: Call) -> HostResponse:
    with call.service.change(call) as change:
        host = found_host(change.connection, request.p_host_id)
        try:
            check_removable(host)
        except WrongState as error:
            raise UnavailableParam("PHostId", detail=str(error)) from None
        abort_order(change, host, f"host {host.id} was removed by its operator")
        hosts.remove_host_keys(change.connection, host.id)
        hosts.forget_contact(change.connection, host.id)
        HOSTS.withdraw(change, host)
    return HostResponse(p_host_id=host.id, state="Removed")


def list_hosts(request: ListHosts, call: Call) -> ListHostsResponse:
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        operator = call.caller.account.operator
        if operator:
            visible = hosts.all_hosts(connection, call.view.revision if call.view.pinned else None)
        else:
            visible = hosts.hosts_of(connection, call.view.revision, call.project)
        found = [host for host in visible if _is_asked(host, request)]
        if request.image_id and not found and operator and not last_images(connection, [request.image_id]):
            # To an operator "no host" says that a bad image harmed none. A tenant may not learn which ids others have.
            raise UnavailableParam("ImageId", detail=f"there was never an image {request.image_id}")
        page = found[request.offset : request.offset + request.limit]
        rows = host_rows(page, connection, call, with_receipts=bool(request.p_host_id))
    return ListHostsResponse(total_count=len(found), host_set=rows)


def found_host(connection: Connection, id: HostId) -> Host:
    """A host by id. Raises UnavailableParam."""
    host = HOSTS.find(connection, id)
    if host is None:
        raise UnavailableParam("PHostId", detail=f"there is no host {id}: `phimage host ls` lists all")
    return host


def _is_asked(host: Host, request: ListHosts) -> bool:
    return (
        (not request.p_host_id or host.id in request.p_host_id)
        and request.project_id in (None, host.project)  # of a tenant it is the project whose hosts are visible
        and request.image_id in (None, host.image)
        and request.state in (None, host.state)
    )


def _new_token(change: Change, host: Host, call: Call) -> EnrollTokenResponse:
    """Put a host with a new token, whose secret the database has encrypted alone."""
    token = HostKey(
        id=new_enrol_token_id(call.service.random),
        host=host.id,
        is_token=True,
        secret=PrivateKey(new_private_key(call.service.random)),
        boot="",
        created=int(call.time),
        expires=int(call.time) + TOKEN_SECONDS,
    )
    hosts.put_host_key(change.connection, call.service.catalog.key_encryption, token)
    HOSTS.put(change, with_token(host, token.id))
    return EnrollTokenResponse(p_host_id=host.id, enroll_token=f"{token.id}.{token.secret.reveal()}", expire_time=token.expires)


ACTIONS = (
    Action(RegisterHost, EnrollTokenResponse, register_host, Right.OPERATE, changes=True),
    Action(NewEnrollToken, EnrollTokenResponse, new_enroll_token, Right.OPERATE, changes=True),
    Action(AssignHost, HostResponse, assign_host, Right.OPERATE, changes=True),
    Action(ReleaseHost, HostResponse, release_host, Right.OPERATE, changes=True),
    Action(RemoveHost, HostResponse, remove_host, Right.OPERATE, changes=True),
    Action(ListHosts, ListHostsResponse, list_hosts, Right.READ, project=True, any_project=True),
)
