"""The explanation and the list cannot disagree."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from phimage.model.explain import _TEXTS, explain, matrix
from phimage.model.ids import ClusterId, ImageId, MachineTypeId, ProjectId, ZoneId
from phimage.model.image import NO_PROJECT, RULES, Image, ImageType, Query, State, select
from phimage.model.topology import Topology
from tests.examples import offer, offering
from tests.property.test_listing_property import Asked, Stored, naive_list
from tests.property.test_listing_property import State as Naive

ZONES = ("cn-bj2-02", "cn-bj2-03")
TYPES = ("DB-2", "Base-SSD-V5", "Gone")
CLUSTERS = ("1G", "10G", "25G")
PROJECTS = ("org-a", "org-b")

topologies = st.lists(
    st.builds(offer, st.sampled_from(TYPES), st.sampled_from(ZONES), st.sampled_from(CLUSTERS)), max_size=8
).map(lambda offers: offering(*offers))


@st.composite
def images(draw: st.DrawFn, number: int) -> Image:
    type_ = draw(st.sampled_from(ImageType))
    support = draw(st.dictionaries(st.sampled_from(TYPES), st.sets(st.sampled_from(CLUSTERS), min_size=1), max_size=3))
    return Image(
        id=ImageId(f"pimg-x-{number}"),
        type=type_,
        project=NO_PROJECT if type_ is ImageType.BASE else ProjectId(draw(st.sampled_from(PROJECTS))),
        family="f",
        name="n",
        os_type="Ubuntu",
        os_name="Ubuntu",
        version="1",
        description="",
        state=draw(st.sampled_from(State)),
        deprecated=draw(st.booleans()),
        size=20,
        created=draw(st.integers(0, 3)),
        zones=tuple(ZoneId(zone) for zone in draw(st.lists(st.sampled_from(ZONES), unique=True))),
        support={MachineTypeId(kind): tuple(ClusterId(c) for c in sorted(found)) for kind, found in support.items()},
    )


catalogues = st.integers(1, 6).flatmap(lambda size: st.tuples(*(images(number) for number in range(size))))
queries = st.builds(
    Query,
    project=st.sampled_from(PROJECTS).map(ProjectId),
    zones=st.sampled_from([(ZONES[0],), ZONES]).map(lambda zones: tuple(ZoneId(zone) for zone in zones)),
    type=st.none() | st.sampled_from(ImageType),
    ids=st.sets(st.sampled_from(["pimg-x-0", "pimg-x-1"]).map(ImageId)).map(frozenset),
    machine_type=st.none() | st.sampled_from(TYPES).map(MachineTypeId),
    cluster=st.none() | st.sampled_from(CLUSTERS).map(ClusterId),
    awaited=st.sets(st.sampled_from(["pimg-x-0", "pimg-x-2"]).map(ImageId)).map(frozenset),
    operator=st.booleans(),
)


@given(catalogues, queries, topologies)
def test_an_image_is_listed_exactly_when_no_reason_speaks_against_it(
    catalogue: tuple[Image, ...], query: Query, topology: Topology
) -> None:
    listed = select(catalogue, query, topology)
    for image in catalogue:
        told = explain(image.id, image, catalogue, query, topology)
        assert told.listed == (image in listed) == (not told.reasons)
        assert told.total == len(listed)
        if told.listed:
            assert told.position is not None
            assert listed[told.position] is image
        assert all(reason.why and reason.remedy for reason in told.reasons)


@given(catalogues, queries, topologies)
def test_what_may_not_be_seen_is_explained_like_what_does_not_exist(
    catalogue: tuple[Image, ...], query: Query, topology: Topology
) -> None:
    seen = [image for image in catalogue if image.type is ImageType.BASE or image.project == query.project]
    absent = explain(ImageId("pimg-x-none"), None, seen, query, topology)
    for image in catalogue:
        if image not in seen:
            assert explain(image.id, None, seen, query, topology) == absent


@given(catalogues, queries, topologies)
def test_the_matrix_is_the_naive_list_for_every_machine_type_on_every_cluster(
    catalogue: tuple[Image, ...], query: Query, topology: Topology
) -> None:
    base = {image.id for image in catalogue if image.type is ImageType.BASE}
    query = replace(query, awaited=query.awaited & base)  # a view awaits the bytes of base images alone
    naive = _naive(catalogue, query, topology)
    for image in catalogue:
        cells = {(str(cell.machine_type), str(cell.cluster)): cell for cell in matrix(image, query, topology)}
        offered = {(kind, on) for kind, zone, on in naive.offers if zone in query.zones}
        supported = {(kind, on) for kind, clusters in naive.images[image.id].support.items() for on in clusters}
        assert cells.keys() == {(kind, on) for kind, _ in offered | supported for on in CLUSTERS}
        assert {pair for pair, cell in cells.items() if cell.offered} == offered
        assert {pair for pair, cell in cells.items() if cell.supported} == supported
        for (kind, on), cell in cells.items():
            asked = Asked(query.project, query.zones, query.type, query.ids, kind, on, query.operator)
            assert cell.listed == (image.id in [id for id, _ in naive_list(naive, asked)])
            told = explain(
                image.id, image, (), replace(query, machine_type=cell.machine_type, cluster=cell.cluster), topology
            ).reasons
            assert cell.failing == (told[0].rule if told else "")


def _naive(catalogue: tuple[Image, ...], query: Query, topology: Topology) -> Naive:
    naive = Naive()
    naive.offers = {(str(one.machine_type), str(one.zone), str(one.cluster)) for one in topology.offers}
    naive.default = topology.default_cluster() or ""
    for image in catalogue:
        support = {str(kind): tuple(map(str, clusters)) for kind, clusters in image.support.items()}
        known = "awaited" if image.id in query.awaited else "whole"
        naive.images[image.id] = Stored(image.project, image.zones, support, image.created, image.deprecated, known)
    return naive


def test_every_rule_has_words() -> None:
    assert set(_TEXTS) == {rule.name for rule in RULES}
