"""Random catalogues through files: what was exported is no difference, what was applied is what the file says; and quickly."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from phimage.catalog.images import IMAGES, images_at
from phimage.catalog.places import CLUSTERS, MACHINE_TYPES, OFFERS, REGIONS, ZONES, topology_at
from phimage.catalog.revisions import Author, Change, _write_log
from phimage.catalog.views import Catalog
from phimage.catalog_file.export import export
from phimage.catalog_file.plan import Plan, apply_plan, plan
from phimage.model.ids import Revision
from phimage.model.topology import topology
from tests.examples import cluster, image, machine_type, offer, region, zone
from tests.torture.length import examples
from tests.unit.catalog_file.catalogues import Catalogue, catalogues

ONE_DATABASE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
"""Every example is undone, so all can use the same database; and a loaded machine is no failure."""


def author() -> Author:
    return Author(actor="test", address="127.0.0.1", request_id="r", action="ApplyCatalog", time=1.0)


class Undone(Exception):
    pass


def put(change: Change, catalogue: Catalogue) -> None:
    places, images = catalogue
    REGIONS.add_all(change, places.regions.values())
    ZONES.add_all(change, places.zones.values())
    CLUSTERS.add_all(change, places.clusters.values())
    MACHINE_TYPES.add_all(change, places.machine_types.values())
    OFFERS.add_all(change, places.offers)
    IMAGES.add_all(change, images)
    write_log(change)


def write_log(change: Change) -> None:
    """What the end of a change does: its log makes the images the file's."""
    if change.records:
        _write_log(change.connection, change, time=change.number)


def exported(change: Change) -> str:
    return export(topology_at(change.connection, change.number), images_at(change.connection, change.number))


@settings(max_examples=examples(10, 40), deadline=None, suppress_health_check=ONE_DATABASE)
@given(found=catalogues())
def test_the_plan_of_an_export_is_empty(catalog: Catalog, found: Catalogue) -> None:
    def attempt() -> None:
        with catalog.change(author()) as change:
            put(change, found)
            text = exported(change)

            assert text == export(*found)
            assert plan(change.connection, change.number, text, prune=False) == Plan()
            assert plan(change.connection, change.number, text, prune=True) == Plan()
            raise Undone

    with pytest.raises(Undone):
        attempt()


@settings(max_examples=examples(10, 40), deadline=None, suppress_health_check=ONE_DATABASE)
@given(before=catalogues(), after=catalogues())
def test_what_was_applied_with_pruning_is_what_the_file_says(catalog: Catalog, before: Catalogue, after: Catalogue) -> None:
    def attempt() -> None:
        with catalog.change(author()) as change:
            put(change, before)
            following = Change(change.connection, author(), change.number)
            text = export(*after)
            made = plan(change.connection, change.number, text, prune=True)
            apply_plan(following, made)
            write_log(following)

            assert exported(following) == text
            assert exported(change) == export(*before)
            assert plan(change.connection, following.number, text, prune=True) == Plan()
            raise Undone

    with pytest.raises(Undone):
        attempt()


@pytest.mark.parametrize("count", [200, pytest.param(5000, marks=pytest.mark.more)])
def test_of_a_large_catalogue_only_what_changes_is_written(catalog: Catalog, count: int) -> None:
    kinds = [f"DB-{number}" for number in range(10)]
    zones = [f"cn-{number:02}" for number in range(10)]
    places = topology(
        [region(default=True)],
        [zone(id) for id in zones],
        [cluster("10G"), cluster("25G", default=True)],
        [replace(machine_type(id), disks=()) for id in kinds],
        [offer(kind, zone, "25G") for kind in kinds for zone in zones],
    )
    support = dict.fromkeys(kinds, ("10G", "25G"))
    images = [image(f"pimg-cs-n{number:05}", zones=zones, support=support) for number in range(count)]
    text = export(places, images)
    with catalog.change(author()) as change:
        apply_plan(change, plan(change.connection, Revision(0), text, prune=False))

    with catalog.database.read() as connection:
        assert plan(connection, Revision(1), text, prune=True) == Plan()

    with catalog.change(author()) as change:
        apply_plan(change, plan(change.connection, Revision(1), text.replace("size: 20", "size: 21", 1), prune=False))
        assert [(one.verb, one.noun) for one in change.records] == [("changed", "image")]
