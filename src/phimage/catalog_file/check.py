"""The rules between the values of a file, and between a file and the catalogue that it changes.

A file may refer to what it defines and, unless pruning withdraws it, to what the catalogue has. Values that cannot be decoded
cause no further errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from phimage.catalog_file.conversion import DeclaredSource, seconds
from phimage.catalog_file.document import DATE, IMAGE_ID, Document
from phimage.catalog_file.errors import MAX_ERRORS, ErrorList, FileError, Path, printable, suggestion
from phimage.catalog_file.history import IdHistory
from phimage.catalog_file.image_sources import changes_bytes
from phimage.catalog_file.read import ParsedFile
from phimage.catalog_file.references import check_references, hidden_sections
from phimage.model.ids import ImageId, RegionId, ZoneId
from phimage.model.image import LABEL_KEY, LABEL_KEY_FORM, MAX_LABELS, Image, ImageType
from phimage.model.image_bytes import ImageBytes
from phimage.model.topology import Topology, topology
from phimage.sources.errors import UrlRefused
from phimage.sources.url import read_url


class CatalogState(Struct, frozen=True):
    """The catalogue that a file changes: its places, the bytes of its base images, the history of the file's ids, and the
    number of custom images in a zone. `spared` are the images that the file does not name and that pruning leaves.
    """

    places: Topology
    image_bytes: Mapping[ImageId, ImageBytes]
    history: IdHistory
    custom_images_in: Callable[[ZoneId], int]
    spared: tuple[Image, ...] = ()


def check(parsed: ParsedFile, catalog: CatalogState, *, prune: bool) -> tuple[FileError, ...]:
    """All errors of a parsed file, those of the parser among them."""
    assert parsed.document is not None
    if len(parsed.errors) > MAX_ERRORS:
        return parsed.errors
    checker = _Checker(parsed, parsed.document, catalog, prune=prune)
    checker.ids()
    checker.numbers()
    checker.defaults()
    checker.images()
    checker.successors()
    checker.labels()
    checker.sources()
    checker.zones()
    check_references(parsed, parsed.document, _NOTHING if prune else catalog.places, checker.errors)
    return checker.errors.in_order()


_NOTHING = topology((), (), (), (), ())


class _Checker:
    def __init__(self, parsed: ParsedFile, document: Document, catalog: CatalogState, *, prune: bool) -> None:
        self.errors = ErrorList(parsed.errors)
        self._parsed = parsed
        self._document = document
        self._catalog = catalog
        self._prune = prune
        self._kept = _NOTHING if prune else catalog.places
        self._hidden = hidden_sections(parsed)
        self._listed = {ZoneId(zone.id) for region in document.regions for zone in region.zones}

    def ids(self) -> None:
        """Ids are unique."""
        document = self._document
        self._once("cluster", ((("clusters", at, "id"), doc.id) for at, doc in enumerate(document.clusters)))
        self._once("region", ((("regions", at, "id"), doc.id) for at, doc in enumerate(document.regions)))
        self._once("zone", ((path, id) for path, id, _region in self._zones()))
        self._once("machine type", ((("machine_types", at, "id"), doc.id) for at, doc in enumerate(document.machine_types)))
        self._once("image", ((("images", at, "id"), doc.id) for at, doc in enumerate(document.images)))

    def numbers(self) -> None:
        """Region numbers are unique."""
        document = self._document
        listed = {doc.id for doc in document.regions}
        owners = {region.number: region.id for region in self._kept.regions.values() if region.id not in listed}
        for at, doc in enumerate(document.regions):
            path = ("regions", at, "number")
            if path in self._parsed.undecoded:
                continue
            owner = owners.setdefault(doc.number, RegionId(doc.id))
            if owner != doc.id:
                self._report(path, f"{doc.number} is the number of region {owner}")

    def defaults(self) -> None:
        """If there are clusters, exactly one is the default; the same for regions."""
        clusters = [(doc.id, doc.default) for doc in self._document.clusters]
        regions = [(doc.id, doc.default) for doc in self._document.regions]
        self._one_default("cluster", "clusters", clusters, {id: one.default for id, one in self._kept.clusters.items()})
        self._one_default("region", "regions", regions, {id: one.default for id, one in self._kept.regions.items()})

    def images(self) -> None:
        """An id of a custom image is not reused, and dates exist."""
        for at, doc in enumerate(self._document.images):
            if self._catalog.history.once_given.get(ImageId(doc.id)) is ImageType.CUSTOM:
                self._report(("images", at, "id"), "this is or was the id of a custom image; choose another one")
            for name, date in (("created", doc.created), ("deprecation_time", doc.deprecation_time)):
                if re.fullmatch(DATE, date, re.ASCII) and not _is_date(date):
                    self._report(("images", at, name), f"expected a date from 1970 on; there is no {date}")

    def successors(self) -> None:
        """A successor is another base image: one of the file, or one that the catalogue has or had."""
        given = self._catalog.history.once_given
        known = {doc.id for doc in self._document.images}
        messages: dict[str, str] = {}  # each is made once: comparing an id with thousands takes a tenth of a second
        for at, doc in enumerate(self._document.images):
            path = ("images", at, "successor")
            if not doc.successor or not re.fullmatch(IMAGE_ID, doc.successor):
                continue
            if doc.successor == doc.id:
                self._report(path, "an image cannot be its own successor: expected the id of another image")
            elif doc.successor not in known and given.get(ImageId(doc.successor)) is not ImageType.BASE:
                if doc.successor not in messages and not self.errors.is_full:
                    messages[doc.successor] = f"there is no base image {doc.successor}: {suggestion(doc.successor, known)}"
                self._report(path, messages.get(doc.successor, ""))

    def labels(self) -> None:
        """Labels are few, and their keys are valid."""
        for at, doc in enumerate(self._document.images):
            path = ("images", at, "labels")
            if len(doc.labels) > MAX_LABELS:
                self._report(path, f"expected at most {MAX_LABELS} labels; found {len(doc.labels)}")
            for key in doc.labels:
                if not re.fullmatch(LABEL_KEY, key):
                    self._report((*path, key), f"expected {LABEL_KEY_FORM} as the key of a label; found {printable(key)}")

    def sources(self) -> None:
        """A source has a valid URL and a digest, and does not change the bytes of a published image."""
        for at, doc in enumerate(self._document.images):
            path: Path = ("images", at, "source")
            if not doc.source:
                if doc.sha256:
                    self._report(("images", at, "sha256"), "this is the digest of a source; add the source too")
                continue
            try:
                read_url(doc.source)
            except UrlRefused as refused:
                self._report(path, f"{refused.what}; {refused.remedy}")
            if not doc.sha256 and ("images", at, "sha256") not in self._parsed.undecoded:
                self._report(path, "expected sha256 beside it: the SHA-256 of the file at the URL")
            if doc.state == "Making":
                self._report(("images", at, "state"), "expected the state after publication: Available or Unavailable")
            source = DeclaredSource(ImageId(doc.id), doc.source, f"sha256:{doc.sha256}")
            if doc.sha256 and changes_bytes(self._catalog.image_bytes.get(source.image), source):
                self._report(path, "this image is published and its bytes never change: publish others under a new id")
            elif doc.sha256 and changes_bytes(self._catalog.history.image_bytes.get(source.image), source):
                self._report(path, "this id had other bytes, and ids are never reused: publish these under a new id")

    def zones(self) -> None:
        """A zone that has custom images is neither withdrawn nor moved."""
        if self._prune and "regions" not in self._hidden:
            for withdrawn in sorted(set(self._catalog.places.zones) - self._listed):
                self._check_zone_stays(
                    withdrawn, "be withdrawn", ("regions",), sum(withdrawn in image.zones for image in self._catalog.spared)
                )
        for path, id, region in self._zones():
            before = self._catalog.places.zones.get(ZoneId(id))
            if before is not None and region not in ("", before.region):
                self._check_zone_stays(ZoneId(id), f"move from region {before.region}", path)

    def _check_zone_stays(self, zone: ZoneId, verb: str, path: Path, spared: int = 0) -> None:
        counts = {"custom": self._catalog.custom_images_in(zone), "published": spared}
        images = " and ".join(f"{count} {kind} image{'s' * (count > 1)}" for kind, count in counts.items() if count)
        if images:
            self._report(path, f"zone {zone} cannot {verb}: {images} {'are' if sum(counts.values()) > 1 else 'is'} in it")

    def _zones(self) -> Iterable[tuple[Path, str, str]]:
        for at, region in enumerate(self._document.regions):
            for place, zone in enumerate(region.zones):
                yield ("regions", at, "zones", place, "id"), zone.id, region.id

    def _once(self, noun: str, ids: Iterable[tuple[Path, str]]) -> None:
        first: dict[str, Path] = {}
        for path, id in ids:
            earlier = first.setdefault(id, path)
            if id and earlier is not path:
                line, _ = self._parsed.position(earlier)
                where = f" under region {printable(self._document.regions[int(earlier[1])].id)}" if noun == "zone" else ""
                self._report(path, f"{noun} {printable(id)} is given twice, first in line {line}{where}")

    def _one_default(self, noun: str, section: str, listed: list[tuple[str, bool]], kept: Mapping[str, bool]) -> None:
        if section in self._hidden or any(path[0] == section and path[-1] == "default" for path in self._parsed.undecoded):
            return
        ids = {id for id, _ in listed}
        elsewhere = [id for id, default in kept.items() if default and id not in ids]
        defaults = [id for id, default in listed if default] + elsewhere
        if not defaults and (listed or kept):
            self._report((section,), f"no {noun} is the default; expected default: true in one of them")
        if len(defaults) > 1:
            names = ", ".join(f"{id} (in the catalogue)" if id in elsewhere else id for id in defaults)
            for at, (_, default) in enumerate(listed):
                if default:
                    self._report((section, at, "default"), f"more than one {noun} is the default: {names}")

    def _report(self, path: Path, message: str) -> None:
        line, column = self._parsed.position(path, at_name=len(path) == 1)
        self.errors.add(line, column, path, message)


def _is_date(text: str) -> bool:
    try:
        return seconds(text) >= 0
    except ValueError:
        return False
