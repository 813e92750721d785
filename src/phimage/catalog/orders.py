"""Orders to the agents of hosts as rows with fences. They change in place; the state of the host is a revision."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from phimage.catalog import jobs, tables
from phimage.catalog.hosts import HOSTS
from phimage.catalog.images import batches
from phimage.catalog.revisions import Change
from phimage.model.host import Host, failed
from phimage.model.ids import HostId, ImageId, ManifestDigest, OrderId
from phimage.model.order import Order, OrderKind, OrderState

_rows = tables.host_order
_columns = [_rows.c[name] for name in Order.__struct_fields__]
_OPEN = _rows.c.state == OrderState.OPEN


class OrderProgress(msgspec.Struct, frozen=True):
    """How far an order is: the bytes of its phase, and those that did and did not cross the network."""

    phase: str
    done: int
    total: int
    sent: int
    reused: int


def add_order(connection: Connection, order: Order) -> None:
    """Add an order in the caller's transaction."""
    connection.execute(insert(_rows), {name: getattr(order, name) for name in Order.__struct_fields__})


def find_order(connection: Connection, id: OrderId) -> Order | None:
    """An order by id."""
    found = _read(connection, _rows.c.id == id) if "\0" not in id else []
    return found[0] if found else None


def order_of_host(connection: Connection, host: HostId) -> Order | None:
    """The open order of a host."""
    found = _read(connection, _rows.c.host == host, _OPEN)
    return found[0] if found else None


def orders_by_id(connection: Connection, ids: Collection[OrderId]) -> dict[OrderId, Order]:
    """Orders by id."""
    found = [order for some in batches(ids) for order in _read(connection, _rows.c.id.in_(some))]
    return {order.id: order for order in found}


def last_receipts(connection: Connection, hosts: Collection[HostId]) -> dict[HostId, Order]:
    """For each host that has one, the last order that it has a receipt for."""
    found = [order for some in batches(hosts) for order in _read(connection, _rows.c.host.in_(some), _rows.c.receipt != "")]
    return {order.host: order for order in sorted(found, key=lambda order: order.ended)}


def open_deployments(connection: Connection, image: ImageId) -> list[Order]:
    """The open orders to deploy an image."""
    return _read(connection, _rows.c.image == image, _rows.c.kind == OrderKind.DEPLOY, _OPEN)


def open_orders(connection: Connection) -> list[Order]:
    """All open orders."""
    return _read(connection, _OPEN)


def capture_of(connection: Connection, image: ImageId) -> Order | None:
    """The newest order to capture an image."""
    found = _read(connection, _rows.c.image == image, _rows.c.kind == OrderKind.CAPTURE)
    return max(found, key=lambda order: order.created, default=None)


def last_capture(connection: Connection, host: HostId) -> Order | None:
    """The newest order to capture a host."""
    found = _read(connection, _rows.c.host == host, _rows.c.kind == OrderKind.CAPTURE)
    return max(found, key=lambda order: order.created, default=None)


def ordered_manifests(connection: Connection) -> set[ManifestDigest]:
    """The manifests that open orders deploy, which garbage collection keeps."""
    manifests = connection.execute(select(_rows.c.manifest).where(_OPEN, _rows.c.manifest != "")).scalars()
    return set(map(ManifestDigest, manifests))


def give_out(connection: Connection, host: HostId, now: float) -> Order | None:
    """Give a host's open order to its agent with a higher fence. None if it has none."""
    mine = and_(_rows.c.host == host, _OPEN)
    connection.execute(update(_rows).where(mine).values(fence=_rows.c.fence + 1, heard=now))
    return order_of_host(connection, host)


def renew(connection: Connection, host: HostId, id: OrderId, fence: int, now: float) -> Order | None:
    """Renew the lease of an order. None, and no change, if the agent has lost it."""
    held = _held(host, id, fence)
    return find_order(connection, id) if _set(connection, held, heard=now) else None


def report(connection: Connection, host: HostId, id: OrderId, fence: int, progress: OrderProgress, now: float) -> bool:
    """Record progress and renew the lease. False, and no change, if the agent has lost the order."""
    return _set(connection, _held(host, id, fence), heard=now, **msgspec.structs.asdict(progress))


def end_order(
    connection: Connection, order: Order, state: OrderState, now: float, *, error: str = "", receipt: str = ""
) -> bool:
    """End an order. False, and no change, if it has ended or was given out again."""
    values = {"state": state, "error": error, "receipt": receipt, "ended": now, "heard": now}
    return _set(connection, _held(order.host, order.id, order.fence), **values)


def abort_order(change: Change, host: Host, reason: str) -> Order | None:
    """End the open order of a host without its agent, whose next report is refused. The host's state is the caller's.

    The job of a capture ends with it; its image is the caller's too. None if the host has no open order.
    """
    order = order_of_host(change.connection, host.id)
    if order is not None:
        now = change.author.time
        _set(change.connection, and_(_rows.c.id == order.id, _OPEN), state=OrderState.ENDED, error=reason, ended=now)
        if order.job:
            jobs.end(change.connection, order.job, reason)
    return order


def end_capture(change: Change, image: ImageId, reason: str) -> None:
    """End the open order that captures an image, whose job has ended or is about to. Its host waits in the rescue system."""
    order = capture_of(change.connection, image)
    if order is None or not order.is_open:
        return
    host = HOSTS.find(change.connection, order.host)
    if host is not None and host.order == order.id:
        abort_order(change, host, reason)
        HOSTS.put(change, failed(host, order.kind, reason))


def silent_orders(connection: Connection, now: float) -> list[Order]:
    """The open orders whose agent was silent for too long."""
    return [order for order in open_orders(connection) if order.is_silent(now)]


def _held(host: HostId, id: OrderId, fence: int) -> ColumnElement[bool]:
    return and_(_rows.c.id == id, _rows.c.host == host, _rows.c.fence == fence, _OPEN)


def _set(connection: Connection, where: ColumnElement[bool], **values: object) -> bool:
    return connection.execute(update(_rows).where(where).values(**values)).rowcount == 1


def _read(connection: Connection, *where: ColumnElement[bool]) -> list[Order]:
    names = Order.__struct_fields__
    rows = connection.execute(select(*_columns).where(*where))
    return [msgspec.convert(dict(zip(names, row, strict=True)), Order) for row in rows]
