"""The catalogue as a file, in the same bytes whenever it says the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from phimage.catalog_file import notation
from phimage.catalog_file.document import FORMAT
from phimage.catalog_file.natural import natural
from phimage.catalog_file.records import cluster_doc, image_doc, machine_type_doc, region_doc
from phimage.catalog_file.sources import given
from phimage.model.ids import ImageId, MachineTypeId, RegionId
from phimage.model.image import Image, ImageType
from phimage.model.image_bytes import ImageBytes
from phimage.model.topology import Offer, Topology, Zone

HEADER = "# yaml-language-server: $schema=catalog.schema.json"
"""Tells editors where the schema is (`phimage catalog schema > catalog.schema.json`)."""


def export(topology: Topology, images: Iterable[Image], contents: Mapping[ImageId, ImageBytes] | None = None) -> str:
    """The places, machine types and base images as a catalogue file; `plan` of it shows no difference.

    An image that waits for its bytes has the state that it gets with them.
    """
    zones: dict[RegionId, list[Zone]] = {}
    for zone in topology.zones.values():
        zones.setdefault(zone.region, []).append(zone)
    offers: dict[MachineTypeId, list[Offer]] = {}
    for offer in topology.offers:
        offers.setdefault(offer.machine_type, []).append(offer)
    clusters = sorted(topology.clusters.values(), key=lambda cluster: natural(cluster.id))
    regions = sorted(topology.regions.values(), key=lambda region: region.number)
    kinds = sorted(topology.machine_types.values(), key=lambda kind: natural(kind.id))
    base = sorted((image for image in given(images, contents or {}) if image.type is ImageType.BASE), key=_order)
    lines = [HEADER, "", f"phimage: {FORMAT}"]
    lines += _section("clusters", [cluster_doc(cluster) for cluster in clusters], roomy=False)
    lines += _section("regions", [region_doc(region, zones.get(region.id, ())) for region in regions], roomy=True)
    lines += _section("machine_types", [machine_type_doc(kind, offers.get(kind.id, ())) for kind in kinds], roomy=True)
    lines += _section("images", [image_doc(image, (contents or {}).get(image.id)) for image in base], roomy=True)
    return "\n".join(lines) + "\n"


def _order(image: Image) -> tuple[object, ...]:
    return natural(image.family), natural(image.version), natural(image.id)


def _section(name: str, docs: list[Any], *, roomy: bool) -> list[str]:
    if not docs:
        return []
    return ["", f"{name}:", *(line for doc in docs for line in notation.item(_said(doc), 2, roomy=roomy))]


def _said(value: Any) -> Any:
    """A value of the file as plain data, without the fields that have their default."""
    if isinstance(value, Struct):
        given = {field.name: (field, getattr(value, field.name)) for field in _fields(type(value))}
        return {name: _said(inner) for name, (field, inner) in given.items() if inner != _default(field)}
    if isinstance(value, tuple):
        return [_said(inner) for inner in value]
    return value


_fields = cache(fields)
"""msgspec evaluates the annotations anew at every call, which took longer than everything else."""


def _default(field: Any) -> object:
    return field.default_factory() if field.default_factory is not NODEFAULT else field.default
