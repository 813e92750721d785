"""References of a file to zones, clusters and machine types."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from phimage.catalog_file.document import Document
from phimage.catalog_file.errors import MAX_NAME, ErrorList, Path, printable, suggestion
from phimage.catalog_file.read import ParsedFile
from phimage.model.ids import natural
from phimage.model.topology import Topology


class _Names(Struct, frozen=True):
    """The known names of a noun. Not `complete` when errors hide a part of the file that may define more."""

    noun: str
    known: frozenset[str]
    complete: bool


def check_references(parsed: ParsedFile, document: Document, kept: Topology, errors: ErrorList) -> None:
    """Report every name that neither the file nor `kept`, the part of the catalogue that stays, defines."""
    checker = _References(parsed, document, kept, errors)
    for at, kind in enumerate(document.machine_types):
        checker.offers(("machine_types", at, "offers"), kind.offers)
    for at, image in enumerate(document.images):
        checker.zones(("images", at, "zones"), image.zones)
        checker.support(("images", at, "support"), image.support)


def hidden_sections(parsed: ParsedFile) -> frozenset[str]:
    """The sections whose list of ids is uncertain because of errors."""
    return frozenset(str(path[0]) for path in parsed.undecoded if _hides(path))


def _hides(path: Path) -> bool:
    return len(path) <= 2 or path[-1] in ("id", "zones") or path[-2] == "zones"


class _References:
    def __init__(self, parsed: ParsedFile, document: Document, kept: Topology, errors: ErrorList) -> None:
        hidden = hidden_sections(parsed)
        zones = [zone.id for region in document.regions for zone in region.zones]
        clusters = [cluster.id for cluster in document.clusters]
        kinds = [kind.id for kind in document.machine_types]
        self._parsed = parsed
        self._errors = errors
        self._messages: dict[tuple[str, str], str] = {}
        self._zones = _Names("zone", frozenset((*zones, *kept.zones)), "regions" not in hidden)
        self._clusters = _Names("cluster", frozenset((*clusters, *kept.clusters)), "clusters" not in hidden)
        self._kinds = _Names("machine type", frozenset((*kinds, *kept.machine_types)), "machine_types" not in hidden)

    def offers(self, path: Path, offers: dict[str, dict[str, int]]) -> None:
        for zone, stocks in offers.items():
            self._check(self._zones, zone, (*path, zone))
            for cluster in stocks:
                self._check(self._clusters, cluster, (*path, zone, cluster))

    def zones(self, path: Path, zones: tuple[str, ...]) -> None:
        self._check_all(self._zones, zones, path)

    def support(self, path: Path, support: dict[str, tuple[str, ...]]) -> None:
        for kind, clusters in support.items():
            self._check(self._kinds, kind, (*path, kind))
            self._check_all(self._clusters, clusters, (*path, kind))

    def _check_all(self, names: _Names, used: Iterable[str], path: Path) -> None:
        seen: set[str] = set()
        for at, name in enumerate(used):
            if name in seen and name:
                self._report((*path, at), f"{names.noun} {printable(name)} is given twice")
            else:
                self._check(names, name, (*path, at))
            seen.add(name)

    def _check(self, names: _Names, name: str, path: Path) -> None:
        blank = not name and path in self._parsed.undecoded
        if name not in names.known and names.complete and not blank:
            self._report(path, "" if self._errors.is_full else self._unknown(names, name))

    def _unknown(self, names: _Names, name: str) -> str:
        """The message about an unknown name. Made once: comparing it with all others takes milliseconds, under the lock of an
        apply."""
        key = (names.noun, name)
        if key not in self._messages:
            known = sorted((known for known in names.known if 0 < len(known) <= MAX_NAME), key=natural)
            self._messages[key] = f"there is no {names.noun} {printable(name)}: {suggestion(name, known)}"
        return self._messages[key]

    def _report(self, path: Path, message: str) -> None:
        line, column = self._parsed.position(path, at_name=True)
        self._errors.add(line, column, path, message)
