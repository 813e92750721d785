"""The installation that owns a store: one object, `installation/ID`.

The id is the name and not the content, so claiming needs no conditional put: two installations that claim a store concurrently
each put their own object before they list the others, and at least one of them sees both.
"""

from __future__ import annotations

from phimage.chunks.layout import CHUNKS, INSTALLATION, MANIFESTS
from phimage.chunks.store import Store
from phimage.model.ids import InstallationId


def owners(store: Store) -> list[InstallationId]:
    """The ids in the store: none in a new store, usually one, several after an interrupted `adopt`."""
    return sorted(InstallationId(stored.name.rpartition("/")[2]) for stored in store.list(INSTALLATION))


def has_bytes(store: Store) -> bool:
    """Whether the store has any manifest or chunk."""
    return any(next(store.list(folder), None) is not None for folder in (MANIFESTS, CHUNKS))


def claim(store: Store, id: InstallationId) -> bool:
    """Put an id into a store without one. Returns False, without effect, when another id was put concurrently."""
    store.put(_name(id), id.encode())
    if owners(store) == [id]:
        return True
    store.delete(_name(id))
    return False


def adopt(store: Store, id: InstallationId) -> None:
    """Make an id the only one in the store."""
    store.put(_name(id), id.encode())
    for other in owners(store):
        if other != id:
            store.delete(_name(other))


def _name(id: InstallationId) -> str:
    return f"{INSTALLATION}/{id}"
