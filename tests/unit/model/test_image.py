"""The listing rule, one named predicate after the other (wire-protocol 5 and B8, B9, B10, B13)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from phimage.model.ids import ClusterId, ImageId, MachineTypeId, ProjectId, ZoneId
from phimage.model.image import (
    NO_PROJECT,
    RULES,
    Image,
    ImageType,
    Query,
    State,
    listed,
    meant_clusters,
    select,
    supported_types,
)
from phimage.model.topology import Topology
from tests.examples import image, offer, offering

HERE, THERE = "cn-bj2-02", "cn-bj2-03"
TOPOLOGY = offering(
    offer("DB-2", HERE, "25G"),
    offer("DB-2", HERE, "10G"),
    offer("SSD-1", HERE, "1G"),
    offer("SSD-1", HERE, "10G"),
    offer("SSD-1", THERE, "25G"),
    offer("GPU-1", THERE, "25G"),
)


def query(
    *,
    project: str = "org-a",
    zones: tuple[str, ...] = (HERE,),
    type: ImageType | None = None,
    ids: tuple[str, ...] = (),
    machine_type: str | None = None,
    cluster: str | None = None,
) -> Query:
    return Query(
        project=ProjectId(project),
        zones=tuple(ZoneId(zone) for zone in zones),
        type=type,
        ids=frozenset(ImageId(id) for id in ids),
        machine_type=None if machine_type is None else MachineTypeId(machine_type),
        cluster=None if cluster is None else ClusterId(cluster),
    )


def failing(image: Image, query: Query, topology: Topology = TOPOLOGY) -> list[str]:
    """Names of the rules that keep an image out of a list."""
    return [rule.name for rule in RULES if not rule.holds(image, query, topology)]


def test_every_rule_has_a_name_of_its_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_a_plain_query_lists_a_plain_image() -> None:
    assert failing(image(), query()) == []
    assert listed(image(), query(), TOPOLOGY)


# visible


@pytest.mark.parametrize("project", ["org-a", "org-b", NO_PROJECT])
def test_a_base_image_is_visible_in_every_project(project: str) -> None:
    assert failing(image(), query(project=project)) == []


def test_a_custom_image_is_visible_in_its_own_project() -> None:
    assert failing(image(project="org-a"), query(project="org-a")) == []


@pytest.mark.parametrize("project", ["org-b", "ORG-A", "org-a ", NO_PROJECT])
def test_a_custom_image_is_not_visible_in_any_other_project(project: str) -> None:
    assert failing(image(project="org-a"), query(project=project)) == ["visible"]


def test_knowing_the_id_of_another_projects_image_does_not_make_it_visible() -> None:
    assert failing(image("pimg-a", project="org-a"), query(project="org-b", ids=("pimg-a",))) == ["visible"]


# asked


def test_no_ids_means_every_image() -> None:
    assert failing(image("pimg-a"), query(ids=())) == []


def test_ids_list_only_the_images_that_they_name() -> None:
    asked = query(ids=("pimg-a", "pimg-b", "pimg-unknown"))

    assert [found.id for found in select([image("pimg-a"), image("pimg-b"), image("pimg-c")], asked, TOPOLOGY)] == [
        "pimg-a",
        "pimg-b",
    ]
    assert failing(image("pimg-c"), asked) == ["asked"]


def test_ids_and_the_other_conditions_hold_together() -> None:
    assert failing(image("pimg-a"), query(ids=("pimg-a",), type=ImageType.CUSTOM)) == ["type"]


# type


@pytest.mark.parametrize(
    ("asked", "project", "kept_out"),
    [
        (None, NO_PROJECT, []),
        (None, "org-a", []),
        (ImageType.BASE, NO_PROJECT, []),
        (ImageType.BASE, "org-a", ["type"]),
        (ImageType.CUSTOM, NO_PROJECT, ["type"]),
        (ImageType.CUSTOM, "org-a", []),
    ],
)
def test_the_type_keeps_out_the_other_type_and_no_type_keeps_both(
    asked: ImageType | None, project: str, kept_out: list[str]
) -> None:
    assert failing(image(project=project), query(type=asked)) == kept_out


# current


def test_a_deprecated_image_is_not_listed() -> None:
    assert failing(image(deprecated=True), query()) == ["current"]


def test_a_deprecated_image_answers_when_it_is_asked_for_by_its_id() -> None:
    assert failing(image("pimg-a", deprecated=True), query(ids=("pimg-b", "pimg-a"))) == []


def test_asking_for_another_id_does_not_list_a_deprecated_image() -> None:
    assert failing(image("pimg-a", deprecated=True), query(ids=("pimg-b",))) == ["asked", "current"]


@pytest.mark.parametrize("state", list(State))
def test_images_of_every_state_are_listed(state: State) -> None:
    assert failing(image(state=state), query()) == []


# placed


def test_an_image_is_listed_only_where_it_is_placed() -> None:
    assert failing(image(zones=(HERE,)), query(zones=(HERE,))) == []
    assert failing(image(zones=(THERE,)), query(zones=(HERE,))) == ["placed"]
    assert failing(image(zones=()), query(zones=(HERE,))) == ["placed"]


def test_one_of_several_zones_is_enough() -> None:
    assert failing(image(zones=(THERE,)), query(zones=(HERE, THERE))) == []
    assert failing(image(zones=(HERE, THERE)), query(zones=(THERE,))) == []


def test_no_zone_lists_nothing() -> None:
    assert failing(image(), query(zones=())) == ["placed"]


# runs: a machine type alone


def test_a_machine_type_alone_means_its_default_cluster() -> None:
    assert failing(image(support={"DB-2": ("25G",)}), query(machine_type="DB-2")) == []
    assert failing(image(support={"DB-2": ("10G", "25G")}), query(machine_type="DB-2")) == []
    assert failing(image(support={"DB-2": ("10G",)}), query(machine_type="DB-2")) == ["runs"]


@pytest.mark.parametrize("on", ["1G", "10G"])
def test_a_machine_type_without_the_default_cluster_in_the_zone_means_any_cluster_it_has_there(on: str) -> None:
    assert failing(image(support={"SSD-1": (on,)}), query(machine_type="SSD-1")) == []


def test_the_default_cluster_of_the_type_in_another_zone_does_not_count() -> None:
    assert failing(image(support={"SSD-1": ("25G",)}), query(machine_type="SSD-1")) == ["runs"]


def test_a_machine_type_that_the_zone_does_not_offer_lists_nothing() -> None:
    assert failing(image(support={"GPU-1": ("25G",)}), query(machine_type="GPU-1")) == ["runs"]


def test_a_machine_type_that_the_image_does_not_support_does_not_run_it() -> None:
    assert failing(image(support={"SSD-1": ("1G", "10G", "25G")}), query(machine_type="DB-2")) == ["runs"]
    assert failing(image(support={}), query(machine_type="DB-2")) == ["runs"]
    assert failing(image(support={"DB-2": ()}), query(machine_type="DB-2")) == ["runs"]


def test_machine_types_are_compared_exactly() -> None:
    assert failing(image(support={"DB-2": ("25G",)}), query(machine_type="db-2")) == ["runs"]


def test_without_a_default_cluster_a_machine_type_means_any_cluster_it_has() -> None:
    topology = offering(offer("DB-2", HERE, "25G"), offer("DB-2", HERE, "10G"), default=None)

    assert failing(image(support={"DB-2": ("10G",)}), query(machine_type="DB-2"), topology) == []


def test_the_default_cluster_is_the_one_that_the_catalogue_names() -> None:
    topology = offering(offer("DB-2", HERE, "25G"), offer("DB-2", HERE, "10G"), default="10G")

    assert failing(image(support={"DB-2": ("10G",)}), query(machine_type="DB-2"), topology) == []
    assert failing(image(support={"DB-2": ("25G",)}), query(machine_type="DB-2"), topology) == ["runs"]


# runs: a machine type on a cluster


@pytest.mark.parametrize(
    ("supports", "asked", "kept_out"),
    [
        (("25G",), "25G", []),
        (("10G",), "10G", []),
        (("25G",), "10G", ["runs"]),
        (("10G",), "25G", ["runs"]),
        (("1G",), "1G", ["runs"]),  # the zone has no DB-2 on 1G
    ],
)
def test_a_given_cluster_means_exactly_itself(supports: tuple[str, ...], asked: str, kept_out: list[str]) -> None:
    assert failing(image(support={"DB-2": supports}), query(machine_type="DB-2", cluster=asked)) == kept_out


def test_the_cluster_and_the_machine_type_must_fit_each_other() -> None:
    supports = {"DB-2": ("25G",), "SSD-1": ("10G",)}

    assert failing(image(support=supports), query(machine_type="DB-2", cluster="10G")) == ["runs"]


# runs: a cluster alone


def test_a_cluster_alone_lists_what_some_machine_type_of_the_zone_runs_on_it() -> None:
    assert failing(image(support={"SSD-1": ("1G",)}), query(cluster="1G")) == []
    assert failing(image(support={"DB-2": ("25G",), "SSD-1": ("1G",)}), query(cluster="1G")) == []


def test_a_cluster_alone_does_not_count_machine_types_that_the_zone_lacks_on_it() -> None:
    assert failing(image(support={"DB-2": ("1G",)}), query(cluster="1G")) == ["runs"]
    assert failing(image(support={"GPU-1": ("25G",)}), query(cluster="25G")) == ["runs"]


def test_a_cluster_alone_does_not_mix_two_machine_types() -> None:
    assert failing(image(support={"DB-2": ("1G",), "SSD-1": ("25G",)}), query(cluster="1G")) == ["runs"]


# runs: several zones


def test_of_several_zones_one_must_both_hold_the_image_and_run_it() -> None:
    gpu: Mapping[str, tuple[str, ...]] = {"GPU-1": ("25G",)}

    assert failing(image(zones=(THERE,), support=gpu), query(zones=(HERE, THERE), machine_type="GPU-1")) == []
    assert failing(image(zones=(HERE,), support=gpu), query(zones=(HERE, THERE), machine_type="GPU-1")) == ["runs"]


def test_each_zone_has_its_own_meaning_of_a_machine_type_alone() -> None:
    supports = {"SSD-1": ("1G",)}  # any cluster here, the default one there

    assert failing(image(zones=(HERE,), support=supports), query(zones=(HERE, THERE), machine_type="SSD-1")) == []
    assert failing(image(zones=(THERE,), support=supports), query(zones=(HERE, THERE), machine_type="SSD-1")) == ["runs"]


def test_without_machine_type_and_cluster_an_image_that_nothing_runs_is_listed() -> None:
    assert failing(image(support={}), query()) == []


def test_sold_out_machines_still_count() -> None:
    topology = offering(offer("DB-2", HERE, "25G", stock=0))

    assert failing(image(support={"DB-2": ("25G",)}), query(machine_type="DB-2"), topology) == []


@pytest.mark.parametrize(
    ("kind", "asked", "meant"),
    [
        ("DB-2", None, {"25G"}),
        ("DB-2", "10G", {"10G"}),
        ("DB-2", "1G", set()),
        ("SSD-1", None, {"1G", "10G"}),
        ("SSD-1", "25G", set()),
        ("GPU-1", None, set()),
        ("unknown", None, set()),
    ],
)
def test_the_clusters_that_a_machine_type_means(kind: str, asked: str | None, meant: set[str]) -> None:
    found = meant_clusters(ZoneId(HERE), MachineTypeId(kind), None if asked is None else ClusterId(asked), TOPOLOGY)

    assert found == meant


# order


def test_lists_have_base_images_first_then_the_newest_then_by_id() -> None:
    images = [
        image("pimg-d", created=5),
        image("pimg-z", created=9, project="org-a"),
        image("pimg-c", created=7),
        image("pimg-b", created=7),
        image("pimg-y", created=99, project="org-a"),
        image("pimg-a", created=1),
    ]

    found = [found.id for found in select(images, query(), TOPOLOGY)]

    assert found == ["pimg-b", "pimg-c", "pimg-d", "pimg-a", "pimg-y", "pimg-z"]
    assert [found.id for found in select(reversed(images), query(), TOPOLOGY)] == found


def test_ids_are_ordered_by_code_point_so_every_database_agrees() -> None:
    images = [image(id) for id in ("pimg-b", "pimg-B", "pimg-10", "pimg-2", "pimg-_")]

    assert [found.id for found in select(images, query(), TOPOLOGY)] == ["pimg-10", "pimg-2", "pimg-B", "pimg-_", "pimg-b"]


# Support


def test_support_names_the_machine_types_of_the_zone_that_can_run_the_image_there() -> None:
    found = image(zones=(HERE, THERE), support={"SSD-1": ("10G",), "DB-2": ("10G",), "GPU-1": ("25G",)})

    assert supported_types(found, (ZoneId(HERE),), TOPOLOGY) == ("DB-2", "SSD-1")
    assert supported_types(found, (ZoneId(THERE),), TOPOLOGY) == ("GPU-1",)


def test_support_over_several_zones_names_each_machine_type_once_in_order() -> None:
    found = image(zones=(HERE, THERE), support={"SSD-1": ("10G", "25G"), "GPU-1": ("25G",)})

    assert supported_types(found, (ZoneId(THERE), ZoneId(HERE)), TOPOLOGY) == ("GPU-1", "SSD-1")


def test_support_is_empty_where_the_image_is_not_placed_or_nothing_runs_it() -> None:
    assert supported_types(image(zones=(THERE,), support={"SSD-1": ("1G",)}), (ZoneId(HERE),), TOPOLOGY) == ()
    assert supported_types(image(zones=(HERE,), support={"DB-2": ("1G",)}), (ZoneId(HERE),), TOPOLOGY) == ()
    assert supported_types(image(zones=(HERE,), support={}), (ZoneId(HERE),), TOPOLOGY) == ()
    assert supported_types(image(zones=("cn-xx",)), (ZoneId("cn-xx"),), TOPOLOGY) == ()
