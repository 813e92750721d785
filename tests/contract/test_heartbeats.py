"""Heartbeats as servers write them, many at once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from phimage.catalog.hosts import AgentContact, begin_contact, contacts_of, note_contacts
from phimage.catalog.views import Catalog
from phimage.model.ids import HostId

FIRST, LAST = HostId("upm-a"), HostId("upm-b")


def test_all_servers_lock_the_rows_of_hosts_in_one_order_so_that_none_waits_for_another_in_a_circle(catalog: Catalog) -> None:
    written: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        written.extend(host for host in (FIRST, LAST) if statement.startswith("UPDATE") and host in str(parameters))

    with catalog.database.write() as connection:
        for host in (FIRST, LAST):
            begin_contact(connection, AgentContact(host, 1.0, "192.0.2.1"))
    event.listen(catalog.database.engine, "before_cursor_execute", note)
    with catalog.database.write() as connection:
        note_contacts(connection, [AgentContact(LAST, 2.0, "192.0.2.1"), AgentContact(FIRST, 3.0, "192.0.2.1")])
    assert written == [FIRST, LAST]
    with catalog.database.read() as connection:
        assert {host: one.heard for host, one in contacts_of(connection, [FIRST, LAST]).items()} == {FIRST: 3.0, LAST: 2.0}
