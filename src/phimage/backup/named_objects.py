"""Objects of a store beside chunks and manifests that belong to an installation: a backup carries them, a restore writes them.

They are read in one place and written in one place: whatever else a store has to carry is added to NAMED_OBJECTS.
"""

from __future__ import annotations

from collections.abc import Iterable

from phimage.backup.record import NamedObject
from phimage.chunks.errors import Absent
from phimage.chunks.store import Store

NAMED_OBJECTS: tuple[str, ...] = ()


def read_named_objects(store: Store, names: Iterable[str] = NAMED_OBJECTS) -> tuple[NamedObject, ...]:
    """The named objects that a store has."""
    found = []
    for name in names:
        try:
            found.append(NamedObject(name, store.get(name)))
        except Absent:
            continue
    return tuple(found)


def write_named_objects(store: Store, objects: Iterable[NamedObject]) -> None:
    """Put the named objects of a backup into a restored store."""
    for found in objects:
        store.put(found.name, found.data)
