"""Heartbeats: the last words of agents that this process received, written into the database together every few seconds."""

from __future__ import annotations

import threading

from phimage.catalog.engine import Database
from phimage.catalog.hosts import AgentContact, note_contacts
from phimage.model.host import ReportedDisk
from phimage.model.ids import HostId, PublicKey

FLUSH_SECONDS = 5.0
"""Seconds between two writes. A host counts as switched off after a minute, so this hides no silence."""


# docs/decisions.md#heartbeats-are-no-revisions
class Heartbeats:
    """The newest word of each agent since the last `flush`. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contacts: dict[HostId, AgentContact] = {}
        self._disks: dict[HostId, tuple[PublicKey, ReportedDisk]] = {}
        """The disk that this process last wrote, and the key of the agent that named it: an enrolment forgets the disk."""

    def note(self, contact: AgentContact) -> None:
        """Remember a word of an agent."""
        with self._lock:
            self._contacts[contact.host] = contact

    def has_new_disk(self, key: PublicKey, contact: AgentContact) -> bool:
        """Whether an agent names another disk than the one that this process last wrote: that cannot wait for a `flush`."""
        with self._lock:
            return contact.disk is not None and self._disks.get(contact.host) != (key, contact.disk)

    def write(self, database: Database, key: PublicKey, contact: AgentContact) -> None:
        """Write one word of an agent now. Raises ServiceUnavailable."""
        with database.write() as connection:
            note_contacts(connection, [contact])
        if contact.disk is not None:
            with self._lock:
                self._disks[contact.host] = (key, contact.disk)

    def flush(self, database: Database) -> int:
        """Write all that is remembered. Returns the number of agents. Raises ServiceUnavailable, and then loses a heartbeat."""
        with self._lock:
            contacts, self._contacts = self._contacts, {}
        if contacts:
            with database.write() as connection:
                note_contacts(connection, contacts.values())
        return len(contacts)
