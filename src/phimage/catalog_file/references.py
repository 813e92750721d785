"""What a file names exists: zones, clusters and machine types."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from phimage.catalog_file.document import Document
from phimage.catalog_file.mistake import Mistakes, Path, instead, shown
from phimage.catalog_file.natural import natural
from phimage.catalog_file.read import Reading
from phimage.model.topology import Topology


class _Names(Struct, frozen=True):
    """The names that can be referred to. They are not `complete` when a part of the file that may say more was not read."""

    noun: str
    known: frozenset[str]
    complete: bool


def check_references(reading: Reading, document: Document, kept: Topology, mistakes: Mistakes) -> None:
    """Note every name of something that neither the file has nor what is kept of the catalogue."""
    checker = _References(reading, document, kept, mistakes)
    for at, kind in enumerate(document.machine_types):
        checker.offers(("machine_types", at, "offers"), kind.offers)
    for at, image in enumerate(document.images):
        checker.placed(("images", at, "zones"), image.zones)
        checker.supports(("images", at, "support"), image.support)


def hidden_sections(reading: Reading) -> frozenset[str]:
    """The sections of which it is not known what they list."""
    return frozenset(str(path[0]) for path in reading.unread if _hides(path))


def _hides(path: Path) -> bool:
    return len(path) <= 2 or path[-1] in ("id", "zones") or path[-2] == "zones"


class _References:
    def __init__(self, reading: Reading, document: Document, kept: Topology, mistakes: Mistakes) -> None:
        hidden = hidden_sections(reading)
        zones = [zone.id for region in document.regions for zone in region.zones]
        clusters = [cluster.id for cluster in document.clusters]
        kinds = [kind.id for kind in document.machine_types]
        self._reading = reading
        self._mistakes = mistakes
        self._zones = _Names("zone", frozenset((*zones, *kept.zones)), "regions" not in hidden)
        self._clusters = _Names("cluster", frozenset((*clusters, *kept.clusters)), "clusters" not in hidden)
        self._kinds = _Names("machine type", frozenset((*kinds, *kept.machine_types)), "machine_types" not in hidden)

    def offers(self, path: Path, offers: dict[str, dict[str, int]]) -> None:
        for zone, stocks in offers.items():
            self._one(self._zones, zone, (*path, zone))
            for cluster in stocks:
                self._one(self._clusters, cluster, (*path, zone, cluster))

    def placed(self, path: Path, zones: tuple[str, ...]) -> None:
        self._each(self._zones, zones, path)

    def supports(self, path: Path, support: dict[str, tuple[str, ...]]) -> None:
        for kind, clusters in support.items():
            self._one(self._kinds, kind, (*path, kind))
            self._each(self._clusters, clusters, (*path, kind))

    def _each(self, names: _Names, used: Iterable[str], path: Path) -> None:
        seen: set[str] = set()
        for at, name in enumerate(used):
            if name in seen and name:
                self._tell((*path, at), f"{names.noun} {shown(name)} is given twice")
            else:
                self._one(names, name, (*path, at))
            seen.add(name)

    def _one(self, names: _Names, name: str, path: Path) -> None:
        blank = not name and path in self._reading.unread
        if name not in names.known and names.complete and not blank:
            known = sorted(names.known - {""}, key=natural)
            self._tell(path, f"there is no {names.noun} {shown(name)}: {instead(name, known)}")

    def _tell(self, path: Path, message: str) -> None:
        line, column = self._reading.position(path, at_name=True)
        self._mistakes.add(line, column, path, message)
