"""Export: the catalogue as a file, byte for byte the same for the same catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from phimage.catalog_file import yaml_writer
from phimage.catalog_file.conversion import cluster_doc, image_doc, machine_type_doc, region_doc
from phimage.catalog_file.document import FORMAT
from phimage.catalog_file.image_sources import in_target_states
from phimage.fields import fields_of
from phimage.model.ids import ImageId, MachineTypeId, RegionId, natural
from phimage.model.image import Image, ImageType
from phimage.model.image_bytes import ImageBytes
from phimage.model.topology import Offer, Topology, Zone

HEADER = "# yaml-language-server: $schema=catalog.schema.json"
"""Refers editors to the schema (`phimage catalog schema > catalog.schema.json`)."""


def export(topology: Topology, images: Iterable[Image], image_bytes: Mapping[ImageId, ImageBytes] | None = None) -> str:
    """The places, machine types and base images as a catalogue file, whose plan has no differences.

    An image that waits for its bytes has the state that its publication gives it.
    """
    known = image_bytes or {}
    zones: dict[RegionId, list[Zone]] = {}
    for zone in topology.zones.values():
        zones.setdefault(zone.region, []).append(zone)
    offers: dict[MachineTypeId, list[Offer]] = {}
    for offer in topology.offers:
        offers.setdefault(offer.machine_type, []).append(offer)
    clusters = sorted(topology.clusters.values(), key=lambda cluster: natural(cluster.id))
    regions = sorted(topology.regions.values(), key=lambda region: region.number)
    kinds = sorted(topology.machine_types.values(), key=lambda kind: natural(kind.id))
    base = sorted((image for image in in_target_states(images, known) if image.type is ImageType.BASE), key=_order)
    lines = [HEADER, "", f"phimage: {FORMAT}"]
    lines += _section("clusters", [cluster_doc(cluster) for cluster in clusters], roomy=False)
    lines += _section("regions", [region_doc(region, zones.get(region.id, ())) for region in regions], roomy=True)
    lines += _section("machine_types", [machine_type_doc(kind, offers.get(kind.id, ())) for kind in kinds], roomy=True)
    lines += _section("images", [image_doc(image, known.get(image.id)) for image in base], roomy=True)
    return "\n".join(lines) + "\n"


def _order(image: Image) -> tuple[object, ...]:
    return natural(image.family), natural(image.version), natural(image.id)


def _section(name: str, docs: list[Any], *, roomy: bool) -> list[str]:
    if not docs:
        return []
    return ["", f"{name}:", *(line for doc in docs for line in yaml_writer.item(_plain(doc), 2, roomy=roomy))]


def _plain(value: Any) -> Any:
    """A value of the file as plain data, without optional fields that have their default."""
    if isinstance(value, Struct):
        given = ((field, getattr(value, field.attribute)) for field in fields_of(type(value)))
        return {field.name: _plain(inner) for field, inner in given if field.required or inner != field.default}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value
