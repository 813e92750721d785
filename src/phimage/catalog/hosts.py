"""Hosts in SQL: their states as revisions, the credentials and the last words of their agents in place."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec import Struct, convert
from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from phimage.catalog import tables
from phimage.catalog.images import batches
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.revisions import HOSTS as SCOPE
from phimage.catalog.versioned_table import VersionedTable
from phimage.model.host import Host, HostKey, HostState, ReportedDisk
from phimage.model.ids import (
    ClusterId,
    HostId,
    ImageId,
    MachineTypeId,
    ProjectId,
    PublicKey,
    Revision,
    ZoneId,
)
from phimage.model.topology import HostStock

HOSTS = VersionedTable(tables.host, Host, ("id",), lambda host: SCOPE)

_hosts, _keys, _contacts = tables.host, tables.host_key, tables.host_contact


class AgentContact(Struct, frozen=True):
    """The last word of a host's agent: when, in Unix seconds, from where, its version, and the disk that its hint names."""

    host: HostId
    heard: float
    address: str
    version: str = ""
    disk: ReportedDisk | None = None


def hosts_of(connection: Connection, revision: Revision, project: ProjectId) -> list[Host]:
    """The hosts of a project at a revision, by id."""
    return _by_id(HOSTS.at(connection, revision, _hosts.c.project == project))


def all_hosts(connection: Connection, revision: Revision | None = None) -> list[Host]:
    """All hosts, by id: at a revision, or now."""
    return _by_id(HOSTS.live(connection) if revision is None else HOSTS.at(connection, revision))


def hosts_with(connection: Connection, image: ImageId) -> list[Host]:
    """The hosts whose disk has an image now, by id."""
    return _by_id(HOSTS.live(connection, _hosts.c.image == image))


def host_with_serial(connection: Connection, serial: str) -> Host | None:
    """The host with a serial number, compared without regard to case."""
    rows = connection.execute(select(_hosts.c.id, _hosts.c.serial).where(_hosts.c.until == tables.LIVING))
    ids = [HostId(row.id) for row in rows if row.serial.lower() == serial.lower()]  # `lower` of SQLite knows ASCII alone
    return HOSTS.find(connection, ids[0]) if ids else None


def host_stock_at(connection: Connection, revision: Revision) -> HostStock:
    """The number of free hosts where there is any host, at a revision."""
    rows = _hosts.c
    valid = and_(rows.since <= revision, rows.until > revision)
    stock: dict[tuple[MachineTypeId, ZoneId, ClusterId], int] = {}
    for row in connection.execute(select(rows.machine_type, rows.zone, rows.cluster, rows.state, rows.suspended).where(valid)):
        place = (MachineTypeId(row.machine_type), ZoneId(row.zone), ClusterId(row.cluster))
        stock[place] = stock.get(place, 0) + (row.state == HostState.FREE and not row.suspended)
    return stock


def hosts_with_orders_at(connection: Connection, revision: Revision) -> frozenset[HostId]:
    """The hosts that have an open order at a revision."""
    rows = _hosts.c
    valid = and_(rows.since <= revision, rows.until > revision)
    return frozenset(map(HostId, connection.execute(select(rows.id).where(valid, rows.order != "")).scalars()))


def host_keys(connection: Connection, key_encryption: KeyEncryption) -> dict[PublicKey, HostKey]:
    """All credentials of hosts, decrypted."""
    return {found.id: found for found in _read_keys(connection, key_encryption)}


def find_host_key(connection: Connection, key_encryption: KeyEncryption, id: PublicKey) -> HostKey | None:
    """A credential of a host, decrypted; None if there is none of this id."""
    found = _read_keys(connection, key_encryption, _keys.c.id == id) if "\0" not in id else []
    return found[0] if found else None


def put_host_key(connection: Connection, key_encryption: KeyEncryption, key: HostKey) -> None:
    """Add a credential in place of the host's former one of its kind."""
    remove_host_keys(connection, key.host, is_token=key.is_token)
    encrypted = key_encryption.encrypt(key.id, key.secret)
    row = {name: getattr(key, name) for name in ("id", "host", "is_token", "boot", "created", "expires")}
    connection.execute(insert(_keys), {**row, "encrypted": encrypted})


def use_token(connection: Connection, token: HostKey, boot: str) -> None:
    """Record the boot for which an enrol token was used."""
    connection.execute(update(_keys).where(_keys.c.id == token.id).values(boot=boot))


def remove_host_keys(connection: Connection, host: HostId, *, is_token: bool | None = None) -> None:
    """Remove the credentials of a host: its tokens, its agent's key, or without `is_token` both."""
    kind = [] if is_token is None else [_keys.c.is_token == is_token]
    connection.execute(delete(_keys).where(_keys.c.host == host, *kind))


def encrypted_host_keys(connection: Connection) -> list[tuple[PublicKey, bytes]]:
    """The encrypted credentials of all hosts."""
    return [(PublicKey(row.id), row.encrypted) for row in connection.execute(select(_keys.c.id, _keys.c.encrypted))]


def replace_encrypted(connection: Connection, id: PublicKey, encrypted: bytes) -> None:
    """Replace the encrypted form of a credential."""
    connection.execute(update(_keys).where(_keys.c.id == id).values(encrypted=encrypted))


def contacts_of(connection: Connection, hosts: Collection[HostId]) -> dict[HostId, AgentContact]:
    """The last word of each agent that was ever heard."""
    found: dict[HostId, AgentContact] = {}
    for some in batches(hosts):
        for row in connection.execute(select(_contacts).where(_contacts.c.host.in_(some))):
            disk = convert(row.disk, ReportedDisk | None)
            found[HostId(row.host)] = AgentContact(HostId(row.host), row.heard, row.address, row.version, disk)
    return found


def note_contacts(connection: Connection, contacts: Iterable[AgentContact]) -> None:
    """Record the last words of agents. An empty version and no disk leave those that are known."""
    for contact in sorted(contacts, key=lambda contact: contact.host):  # in one order, or two servers could wait for each other
        given = {"heard": contact.heard, "address": contact.address}
        given |= {"version": contact.version} if contact.version else {}
        given |= {"disk": contact.disk} if contact.disk else {}
        connection.execute(update(_contacts).where(_contacts.c.host == contact.host).values(given))


def begin_contact(connection: Connection, contact: AgentContact) -> None:
    """Record the first word of an agent after its enrolment, and forget what its predecessor said."""
    connection.execute(delete(_contacts).where(_contacts.c.host == contact.host))
    fields = {name: getattr(contact, name) for name in contact.__struct_fields__}
    connection.execute(insert(_contacts), fields)


def forget_contact(connection: Connection, host: HostId) -> None:
    """Remove the last word of a removed host's agent."""
    connection.execute(delete(_contacts).where(_contacts.c.host == host))


def _read_keys(connection: Connection, key_encryption: KeyEncryption, *where: ColumnElement[bool]) -> list[HostKey]:
    return [
        HostKey(
            id=PublicKey(row.id),
            host=HostId(row.host),
            is_token=bool(row.is_token),
            secret=key_encryption.decrypt(PublicKey(row.id), row.encrypted),
            boot=row.boot,
            created=row.created,
            expires=row.expires,
        )
        for row in connection.execute(select(_keys).where(*where))
    ]


def _by_id(hosts: Iterable[Host]) -> list[Host]:
    return sorted(hosts, key=lambda host: host.id)
