"""The exported file: the same bytes for the same catalogue, readable, and read back as what was exported."""

from __future__ import annotations

import random
from typing import Any

import yaml
from hypothesis import given, settings

from phimage.catalog_file import starter
from phimage.catalog_file.conversion import Records, records_in, records_of
from phimage.catalog_file.export import HEADER, export
from phimage.catalog_file.read import read
from phimage.model.image import Image
from phimage.model.topology import Cluster, MachineType, Offer, Region, Topology, Zone, topology
from tests.examples import image
from tests.torture.length import examples
from tests.unit.catalog_file.catalogues import Catalogue, catalogues


def said(text: str) -> Records:
    reading = read(text)
    assert reading.errors == ()
    assert reading.document is not None
    return records_of(reading.document)


def loaded(text: str) -> Catalogue:
    found: Any = said(text)
    places = topology(*(found[noun].values() for noun in ("region", "zone", "cluster", "machine_type", "offer")))
    return places, tuple(found["image"].values())


def shuffled(places: Topology, images: tuple[Image, ...]) -> Catalogue:
    """The same catalogue in another order."""

    def mixed(things: Any) -> list[Any]:
        found = list(things)
        random.Random(7).shuffle(found)
        return found

    regions: list[Region] = mixed(places.regions.values())
    zones: list[Zone] = mixed(places.zones.values())
    clusters: list[Cluster] = mixed(places.clusters.values())
    kinds: list[MachineType] = mixed(places.machine_types.values())
    offers: list[Offer] = mixed(places.offers)
    return topology(regions, zones, clusters, kinds, offers), tuple(mixed(images))


@settings(max_examples=examples(25, 100), deadline=None)
@given(catalogues())
def test_an_export_is_read_back_unchanged(catalogue: Catalogue) -> None:
    text = export(*catalogue)

    assert said(text) == records_in(*catalogue)
    assert export(*loaded(text)) == text
    assert export(*shuffled(*catalogue)) == text, "the order in which things come does not matter"

    found = yaml.safe_load(text)  # another reader finds the same values
    names = {one.id: (one.name, one.version, one.description) for one in catalogue[1]}
    assert {
        one["id"]: (one["name"], one.get("version", ""), one.get("description", "")) for one in found.get("images", ())
    } == names
    assert {one["id"] for one in found.get("machine_types", ())} == set(catalogue[0].machine_types)


def test_exporting_the_starter_catalogue_changes_nothing() -> None:
    text = export(*loaded(starter()))

    assert said(text) == said(starter())
    assert export(*loaded(text)) == text


def test_the_file_looks_as_a_person_would_write_it() -> None:
    written = f"""\
{HEADER}

phimage: 1

clusters:
  - {{id: 1G, description: "Traditional network, 1 Gbit/s"}}
  - {{id: 10G}}
  - {{id: 25G, description: Smart network card, default: true}}

regions:
  - id: cn-bj2
    number: 1000002
    name: {{zh: 华北（北京2）, en: North China (Beijing 2)}}
    default: true
    zones:
      - {{id: cn-bj2-02, name: {{zh: 可用区B, en: Zone B}}}}
      - {{id: cn-bj2-05, name: {{zh: 可用区E, en: Zone E}}}}

machine_types:
  - id: DB-2
    name: {{zh: 基础型-SAS-V3, en: Base SAS V3}}
    disk_class: LocalDisk
    cpu: {{model: Intel E5-2630 v3, frequency: "2.4", count: 2, cores: 32}}
    memory: 64
    disks:
      - {{role: system, type: SATA, size: 1000, count: 2, raid: RAID1}}
      - {{role: data, type: SAS, size: 600}}
    gpu: {{name: NVIDIA T4, count: 2, memory: 16G}}
    raid_supported: true
    scenes: [database, general]
    offers:
      cn-bj2-02: {{1G: 3, 10G: 6, 25G: 0}}
      cn-bj2-05: {{10G: 4}}
  - id: DB-10
    name: {{zh: "", en: "yes"}}
    disk_class: CloudDisk
    cpu: {{model: AMD EPYC 7542, frequency: "3", count: 1, cores: 64}}
    memory: 128

images:
  - id: pimg-cs-second
    name: CentOS 8.9
    family: centos-8
    os_type: CentOS
    os_name: CentOS 8.9 64位
    version: "8.9"
    description: >-
      A text that is too long for one line is folded where there is a single space, so that a change of a word is a
      change of a line or two.
    state: Unavailable
    deprecated: true
    size: 20
    created: "2023-01-01T00:00:00Z"
    zones: [cn-bj2-02, cn-bj2-05]
    support: {{DB-2: [1G, 10G, 25G], DB-10: [25G]}}
  - id: pimg-cs-first
    name: CentOS 8.10
    family: centos-8
    os_type: CentOS
    os_name: CentOS 8.10 64位
    version: "8.10"
    description: |-
      Two lines:
      they stay two lines.
    size: 20
    created: "2023-01-02T00:00:00Z"
"""
    assert export(*loaded(written)) == written


def test_lines_are_not_longer_than_can_be_read() -> None:
    zones = tuple(f"region-with-a-long-name-{number:02}" for number in range(40))
    lines = export(topology((), (), (), (), ()), [image(zones=zones, support=dict.fromkeys(zones, zones[:3]))]).splitlines()

    assert max(len(line) for line in lines) <= 120
    assert len(lines) < 70


def test_an_empty_catalogue_is_a_file_too() -> None:
    text = export(topology((), (), (), (), ()), ())

    assert text == f"{HEADER}\n\nphimage: 1\n"
    assert read(text).errors == ()


def test_custom_images_are_never_exported() -> None:
    assert "images" not in export(topology((), (), (), (), ()), [image(project="org-a")])
