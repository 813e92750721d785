"""The rules between the values of a file, and between a file and the catalogue that it is for.

A file may name what it says itself and, unless everything else is to be withdrawn, what the catalogue has. Where a part of
the file could not be read, nothing is said about what may stand there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from phimage.catalog_file.document import DATE, Document
from phimage.catalog_file.mistake import MOST, Mistake, Mistakes, Path, shown
from phimage.catalog_file.past import Past
from phimage.catalog_file.read import Reading
from phimage.catalog_file.records import Source, seconds
from phimage.catalog_file.references import check_references, hidden_sections
from phimage.catalog_file.sources import replaced
from phimage.model.ids import ImageId, RegionId, ZoneId
from phimage.model.image import Image, ImageType
from phimage.model.image_bytes import ImageBytes
from phimage.model.topology import Topology, topology
from phimage.sources.errors import UrlRefused
from phimage.sources.url import read_url


class Surroundings(Struct, frozen=True):
    """What a file meets: the catalogue's places, what is known of the bytes of its base images, the past of the file's ids, and
    how many custom images are in a zone. `spared` are the images that pruning leaves although the file does not name them.
    """

    places: Topology
    contents: Mapping[ImageId, ImageBytes]
    past: Past
    custom_images_in: Callable[[ZoneId], int]
    spared: tuple[Image, ...] = ()


def check(reading: Reading, around: Surroundings, *, prune: bool) -> tuple[Mistake, ...]:
    """All mistakes of a file that was read, those of the reading among them."""
    assert reading.document is not None
    if len(reading.mistakes) > MOST:
        return reading.mistakes
    checker = _Checker(reading, reading.document, around, prune=prune)
    checker.ids()
    checker.numbers()
    checker.defaults()
    checker.images()
    checker.sources()
    checker.zones()
    check_references(reading, reading.document, _NOTHING if prune else around.places, checker.mistakes)
    return checker.mistakes.told()


_NOTHING = topology((), (), (), (), ())


class _Checker:
    def __init__(self, reading: Reading, document: Document, around: Surroundings, *, prune: bool) -> None:
        self.mistakes = Mistakes(reading.mistakes)
        self._reading = reading
        self._document = document
        self._around = around
        self._prune = prune
        self._kept = _NOTHING if prune else around.places
        self._hidden = hidden_sections(reading)
        self._listed = {ZoneId(zone.id) for region in document.regions for zone in region.zones}

    def ids(self) -> None:
        """An id is given once."""
        document = self._document
        self._once("cluster", ((("clusters", at, "id"), doc.id) for at, doc in enumerate(document.clusters)))
        self._once("region", ((("regions", at, "id"), doc.id) for at, doc in enumerate(document.regions)))
        self._once("zone", ((path, id) for path, id, _region in self._zones()))
        self._once("machine type", ((("machine_types", at, "id"), doc.id) for at, doc in enumerate(document.machine_types)))
        self._once("image", ((("images", at, "id"), doc.id) for at, doc in enumerate(document.images)))

    def numbers(self) -> None:
        """A region number belongs to one region."""
        document = self._document
        here = {doc.id for doc in document.regions}
        owners = {region.number: region.id for region in self._kept.regions.values() if region.id not in here}
        for at, doc in enumerate(document.regions):
            path = ("regions", at, "number")
            if path in self._reading.unread:
                continue
            owner = owners.setdefault(doc.number, RegionId(doc.id))
            if owner != doc.id:
                self._tell(path, f"{doc.number} is the number of region {owner}")

    def defaults(self) -> None:
        """There is one default cluster and one default region, as soon as there is any."""
        clusters = [(doc.id, doc.default) for doc in self._document.clusters]
        regions = [(doc.id, doc.default) for doc in self._document.regions]
        self._one_default("cluster", "clusters", clusters, {id: one.default for id, one in self._kept.clusters.items()})
        self._one_default("region", "regions", regions, {id: one.default for id, one in self._kept.regions.items()})

    def images(self) -> None:
        """An id never changes its meaning, and a date is one."""
        for at, doc in enumerate(self._document.images):
            if self._around.past.once_given.get(ImageId(doc.id)) is ImageType.CUSTOM:
                self._tell(("images", at, "id"), "this is or was the id of a custom image; ids are never used again")
            if re.fullmatch(DATE, doc.created, re.ASCII) and not _is_date(doc.created):
                self._tell(("images", at, "created"), f"expected a date from 1970 on; there is no {doc.created}")

    def sources(self) -> None:
        """A source can be fetched, is proved by a digest, and changes no bytes that are here."""
        for at, doc in enumerate(self._document.images):
            path: Path = ("images", at, "source")
            if not doc.source:
                if doc.sha256:
                    self._tell(("images", at, "sha256"), "this is the digest of a source, and no source is given")
                continue
            try:
                read_url(doc.source)
            except UrlRefused as refused:
                self._tell(path, f"{refused.what}; {refused.remedy}")
            if not doc.sha256 and ("images", at, "sha256") not in self._reading.unread:
                self._tell(path, "expected sha256 beside it: the SHA-256 of the file there")
            if doc.state == "Making":
                self._tell(
                    ("images", at, "state"), "expected the state that the image gets with its bytes: Available or Unavailable"
                )
            source = Source(ImageId(doc.id), doc.source, f"sha256:{doc.sha256}")
            if doc.sha256 and replaced(self._around.contents.get(source.image), source):
                self._tell(path, "the bytes of this image are here and never change: publish others under a new id")
            elif doc.sha256 and replaced(self._around.past.contents.get(source.image), source):
                self._tell(path, "this id had other bytes, and an id never changes its meaning: publish these under a new id")

    def zones(self) -> None:
        """A zone with custom images in it stays, and stays where it is."""
        if self._prune and "regions" not in self._hidden:
            for gone in sorted(set(self._around.places.zones) - self._listed):
                self._stays(gone, "be withdrawn", ("regions",), sum(gone in image.zones for image in self._around.spared))
        for path, id, region in self._zones():
            before = self._around.places.zones.get(ZoneId(id))
            if before is not None and region not in ("", before.region):
                self._stays(ZoneId(id), f"move from region {before.region}", path)

    def _stays(self, zone: ZoneId, verb: str, path: Path, spared: int = 0) -> None:
        counts = {"custom": self._around.custom_images_in(zone), "published": spared}
        told = " and ".join(f"{count} {kind} image{'s' * (count > 1)}" for kind, count in counts.items() if count)
        if told:
            self._tell(path, f"zone {zone} cannot {verb}: {told} {'are' if sum(counts.values()) > 1 else 'is'} in it")

    def _zones(self) -> Iterable[tuple[Path, str, str]]:
        for at, region in enumerate(self._document.regions):
            for place, zone in enumerate(region.zones):
                yield ("regions", at, "zones", place, "id"), zone.id, region.id

    def _once(self, noun: str, ids: Iterable[tuple[Path, str]]) -> None:
        first: dict[str, Path] = {}
        for path, id in ids:
            earlier = first.setdefault(id, path)
            if id and earlier is not path:
                line, _ = self._reading.position(earlier)
                where = f" under region {shown(self._document.regions[int(earlier[1])].id)}" if noun == "zone" else ""
                self._tell(path, f"{noun} {shown(id)} is given twice, first in line {line}{where}")

    def _one_default(self, noun: str, section: str, listed: list[tuple[str, bool]], kept: Mapping[str, bool]) -> None:
        if section in self._hidden or any(path[0] == section and path[-1] == "default" for path in self._reading.unread):
            return
        here = {id for id, _ in listed}
        elsewhere = [id for id, default in kept.items() if default and id not in here]
        defaults = [id for id, default in listed if default] + elsewhere
        if not defaults and (listed or kept):
            self._tell((section,), f"no {noun} is the default; expected default: true in one of them")
        if len(defaults) > 1:
            told = ", ".join(f"{id} (in the catalogue)" if id in elsewhere else id for id in defaults)
            for at, (_, default) in enumerate(listed):
                if default:
                    self._tell((section, at, "default"), f"more than one {noun} is the default: {told}")

    def _tell(self, path: Path, message: str) -> None:
        line, column = self._reading.position(path, at_name=len(path) == 1)
        self.mistakes.add(line, column, path, message)


def _is_date(text: str) -> bool:
    try:
        return seconds(text) >= 0
    except ValueError:
        return False
