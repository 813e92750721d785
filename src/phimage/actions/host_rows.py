"""Hosts with everything that phimage knows about them: state, agent, order, and what the disk has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.service import Call
from phimage.catalog.engine import Connection
from phimage.catalog.hosts import AgentContact, contacts_of
from phimage.catalog.images import last_images
from phimage.catalog.orders import last_receipts, orders_by_id
from phimage.model.host import Host
from phimage.model.ids import HostId, ImageId
from phimage.model.image import Image
from phimage.model.order import LEASE_SECONDS, Order


class HostOrderSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """The open order of a host."""

    order_id: Annotated[str, Meta(description="id of the order")]
    kind: Annotated[str, Meta(description="deploy, capture or clean")]
    image_id: Annotated[str, Meta(description="image to deploy or to make; empty for clean")]
    phase: Annotated[str, Meta(description="what the agent does; empty before its first report")]
    done: Annotated[int, Meta(description="processed bytes of the phase")]
    total: Annotated[int, Meta(description="all bytes of the phase; 0 if unknown")]
    fence: Annotated[int, Meta(description="how often the order was given out; 0 while no agent took it")]
    age: Annotated[int, Meta(description="seconds since the order was made")]
    silence: Annotated[int, Meta(description="seconds since its agent last named it")]


class HostRow(Struct, rename="pascal", frozen=True, kw_only=True):
    """One host. Times are Unix seconds."""

    p_host_id: Annotated[str, Meta(description="id of the host")]
    name: Annotated[str, Meta(description="name of the host: the tenant's, or that which it was registered with")]
    state: Annotated[
        str,
        Meta(description="Registered, Free, Rescue, Capturing, Deploying, Running, Failed, Cleaning or Dirty"),
    ]
    suspended: Annotated[str, Meta(description="why the host gets no orders until it has a new enrol token; else empty")]
    zone: Annotated[str, Meta(description="zone")]
    machine_type: Annotated[str, Meta(description="machine type")]
    cluster: Annotated[str, Meta(description="network cluster")]
    serial_number: Annotated[str, Meta(description="serial number of the machine")]
    mac: Annotated[tuple[str, ...], Meta(description="MAC addresses that it was registered with")]
    disk: Annotated[str, Meta(description="hint that names its system disk")]
    disk_size: Annotated[
        int, Meta(description="bytes of the disk that the hint names; 0 until it is reported, and in the past")
    ]
    project_id: Annotated[str, Meta(description="project that it belongs to; empty for none")]
    create_time: Annotated[int, Meta(description="when it was registered")]
    image_id: Annotated[str, Meta(description="image that phimage deployed to its disk; empty if unknown")]
    image_name: Annotated[str, Meta(description="name of this image")]
    manifest: Annotated[str, Meta(description="SHA-256 of the manifest of this image")]
    deploy_time: Annotated[int, Meta(description="since when the disk has it; 0 if unknown")]
    receipt: Annotated[
        str, Meta(description="receipt of what its disk has, as its agent sent it; for hosts listed by id, else empty")
    ]
    failure: Annotated[str, Meta(description="why its last order failed; empty after a later one began")]
    order: Annotated[HostOrderSet | None, Meta(description="the open order; null for none")]
    heard: Annotated[int, Meta(description="when its agent was heard last; 0 for never, and in the past")]
    silence: Annotated[int, Meta(description="seconds since then; 0 for never, and in the past")]
    is_on: Annotated[bool, Meta(description="whether its agent was heard within a minute; false in the past")]
    agent_address: Annotated[str, Meta(description="network address of its agent; empty for tenants, and in the past")]
    agent_version: Annotated[str, Meta(description="version of its agent; empty in the past")]


def host_rows(found: Sequence[Host], connection: Connection, call: Call, *, with_receipts: bool = False) -> tuple[HostRow, ...]:
    """The rows of some hosts, in their order."""
    ids = [host.id for host in found]
    contacts = seen_contacts(connection, ids, call)
    orders = orders_by_id(connection, [host.order for host in found if host.order])
    receipts = last_receipts(connection, ids) if with_receipts else {}
    images = seen_images(connection, found, call)
    return tuple(
        _row(
            host,
            contacts.get(host.id),
            orders.get(host.order),
            receipts.get(host.id),
            images.get(host.image),
            call,
        )
        for host in found
    )


def seen_contacts(connection: Connection, hosts: Collection[HostId], call: Call) -> dict[HostId, AgentContact]:
    """The last word of each agent. None at a past revision: only the present one is kept, and another project may have the
    host by now."""
    return {} if call.view.pinned else contacts_of(connection, hosts)


def seen_images(connection: Connection, hosts: Iterable[Host], call: Call) -> dict[ImageId, Image]:
    """The images that hosts have, as they are at the revision of the call."""
    revision = call.view.revision if call.view.pinned else None
    return last_images(connection, {host.image for host in hosts if host.image}, revision)


def is_on(contact: AgentContact | None, now: float) -> bool:
    """Whether an agent was heard within the length of a lease."""
    return contact is not None and now - contact.heard <= LEASE_SECONDS


def contact_of(connection: Connection, host: HostId) -> AgentContact | None:
    """The last word of a host's agent; None if it was never heard."""
    return contacts_of(connection, [host]).get(host)


def _row(
    host: Host,
    contact: AgentContact | None,
    order: Order | None,
    receipt: Order | None,
    image: Image | None,
    call: Call,
) -> HostRow:
    now = call.time
    return HostRow(
        p_host_id=host.id,
        name=host.tenant_name or host.name,
        state=host.state.value,
        suspended=_suspended(host, call),
        zone=host.zone,
        machine_type=host.machine_type,
        cluster=host.cluster,
        serial_number=host.serial,
        mac=host.macs,
        disk=host.hint,
        disk_size=contact.disk.size if contact and contact.disk else 0,
        project_id=host.project,
        create_time=host.created,
        image_id=host.image,
        image_name=image.name if image else "",
        manifest=host.manifest,
        deploy_time=host.deployed,
        receipt=receipt.receipt if receipt and _is_of_disk(receipt, host) else "",
        failure=host.failure,
        order=_order(order, now) if order else None,
        heard=int(contact.heard) if contact else 0,
        silence=max(0, int(now - contact.heard)) if contact else 0,
        is_on=is_on(contact, now),
        agent_address=contact.address if contact and call.caller.account.operator else "",
        agent_version=contact.version if contact else "",
    )


def _is_of_disk(receipt: Order, host: Host) -> bool:
    """Whether a receipt is of what the host has, and not of another project before, or after in a past catalogue."""
    return (receipt.project, receipt.image, int(receipt.ended)) == (host.project, host.image, host.deployed)


def _suspended(host: Host, call: Call) -> str:
    """The reason has the address of an agent, which is for operators."""
    return host.suspended if call.caller.account.operator or not host.suspended else "its credential was used twice"


def _order(order: Order, now: float) -> HostOrderSet:
    return HostOrderSet(
        order_id=order.id,
        kind=order.kind.value,
        image_id=order.image,
        phase=order.phase,
        done=order.done,
        total=order.total,
        fence=order.fence,
        age=max(0, int(now - order.created)),
        silence=max(0, int(now - order.heard)),
    )
