"""Images as tenants see them: the list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Protocol

from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from phimage.actions.listing import Part, count, page, parts_of
from phimage.actions.params import RegionParam, ZoneParam, check_zone_allowed, zones_asked
from phimage.actions.service import Call
from phimage.catalog.revisions import BASE, TOPOLOGY, account_scope, project_scope
from phimage.catalog.views import View
from phimage.errors import UnavailableParam
from phimage.fields import by_setting
from phimage.gateway.envelope import Encoded, encoded
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ClusterId, ImageId, MachineTypeId, RegionId, ZoneId
from phimage.model.image import Image, ImageType, Query, State, newer, select, supported_types
from phimage.model.topology import Topology

ImageIdParam = Annotated[ImageId, Meta(max_length=64, description="image id, such as pimg-cs-xev4rz")]
ListZoneParam = Annotated[ZoneParam, Meta(extra=by_setting(required="require_zone"))]
MachineTypeParam = Annotated[
    MachineTypeId, Meta(max_length=64, description="machine type of the zone, such as DB-2: only images that it can run")
]
ClusterParam = Annotated[
    ClusterId,
    Meta(
        max_length=64,
        description="network cluster of the machine, such as 25G. Absent with MachineType: 25G if the zone has the type there, "
        "else any. Alone: images that some machine type of the zone can run on it",
    ),
]


NEWER_HEADER = "X-Phimage-Newer"
"""Tells, in an answer from a past revision, which newer versions of its families are listed now: `family=id, ...`."""
MAX_NEWER = 20


class DescribePHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the images that machines of a zone can run."""

    region: RegionParam
    zone: ListZoneParam | None = None
    image_type: Annotated[ImageType, Meta(description="Base or Custom; absent means both")] | None = None
    image_id: Annotated[tuple[ImageIdParam, ...], Meta(description="only these images; unknown ids are left out")] = ()
    offset: Annotated[int, Meta(ge=0, le=2_147_483_647, description="images to skip")] = 0
    limit: (
        Annotated[
            int,
            Meta(
                ge=0,
                description="max images of the page; 0 returns the count alone",
                extra=by_setting(max="max_limit", default="default_limit"),
            ),
        ]
        | None
    ) = None
    machine_type: MachineTypeParam | None = None
    cluster: ClusterParam | None = None


class PHostImageSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """One image. The types are those that every client decodes (wire-protocol 4.3)."""

    image_id: Annotated[str, Meta(description="image id")]
    image_name: Annotated[str, Meta(description="image name")]
    os_name: Annotated[str, Meta(description="name of the operating system")]
    os_type: Annotated[str, Meta(description="distribution family: CentOS, Ubuntu, Windows, ...")]
    support: Annotated[tuple[str, ...], Meta(description="machine types of the zone that can run it")]
    version: Annotated[str, Meta(description="version that the publisher chose")]
    image_type: Annotated[str, Meta(description="Base or Custom")]
    create_time: Annotated[str, Meta(pattern="^[0-9]+$", description="when it was made: Unix seconds, as digits")]
    state: Annotated[str, Meta(description="Making, Available or Unavailable")]
    image_size: Annotated[int, Meta(ge=0, description="GB of the system disk that it needs")]
    image_description: Annotated[str, Meta(description="description")]


class DescribePHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A page of images."""

    total_count: Annotated[int, Meta(description="how many images meet the conditions, on all pages")]
    image_set: Annotated[tuple[PHostImageSet, ...], Meta(description="the page")]


class _Page(Struct, rename="pascal", frozen=True, kw_only=True):
    """A `DescribePHostImageResponse` whose images are encoded already."""

    total_count: int
    image_set: list[Raw]


def describe_phost_image(request: DescribePHostImage, call: Call) -> Encoded:
    if call.view.pinned:
        _tell_newer(request, call)
        return encoded(_page(request, call))
    # What the answer depends on besides the request: places, base images, the project's own, and the account's zones.
    name = (request, call.project, call.caller.account.id, call.default_limit)
    scopes = (TOPOLOGY, BASE, project_scope(call.project), account_scope(call.caller.account.id))
    return call.view.derived(name, scopes, lambda: encoded(_page(request, call)), len)


def _page(request: DescribePHostImage, call: Call) -> _Page:
    topology = call.view.topology()
    limit = _limit(request.limit, call)
    query = query_of(request, call, topology, request.image_id)
    parts = parts_of(query, call.view)
    operator = call.caller.account.operator
    if operator:  # is told more of an image than others are, so shares nothing encoded with them
        parts = [Part(part.images, {}) for part in parts]

    def encode(image: Image) -> bytes:
        return encoded(on_wire(_explained(image, call.view) if operator else image, query.zones, topology))

    rows = page(parts, request.offset, limit, encode)
    return _Page(total_count=count(parts), image_set=[Raw(row) for row in rows])


def _tell_newer(request: DescribePHostImage, call: Call) -> None:
    query = query_of(request, call, call.view.topology(), request.image_id)
    then, today = (
        select(scope(query, view), replace(query, awaited=view.awaited()), view.topology())
        for view in (call.view, call.service.catalog.now(wait=True))
    )
    hidden = newer(then, today)
    if hidden:
        call.headers[NEWER_HEADER] = ", ".join(f"{family}={image}" for family, image in hidden[:MAX_NEWER])


def _limit(requested: int | None, call: Call) -> int:
    """Max images of a page: Limit, or the one of the path. Never clamped: clients count pages by Limit (wire-protocol B7)."""
    lists = call.service.lists
    if requested is not None:
        return requested
    if call.default_limit is None:
        return lists.default_limit
    if call.default_limit > lists.max_limit:
        raise UnavailableParam("Limit", detail=f"expected a whole number from 0 to {lists.max_limit}")
    return call.default_limit


class Filters(Protocol):
    """The parameters that a list of images and the explanation of it have in common."""

    @property
    def region(self) -> RegionId: ...  # noqa: D102
    @property
    def zone(self) -> ZoneId | None: ...  # noqa: D102
    @property
    def image_type(self) -> ImageType | None: ...  # noqa: D102
    @property
    def machine_type(self) -> MachineTypeId | None: ...  # noqa: D102
    @property
    def cluster(self) -> ClusterId | None: ...  # noqa: D102


def query_of(request: Filters, call: Call, topology: Topology, ids: Iterable[ImageId] = ()) -> Query:
    """What a request asks for. Raises UnavailableParam for names that are not known in the zone, then ZoneRefused."""
    zones = zones_asked(request.region, request.zone, call.caller.tenant, topology)
    if request.cluster is not None and request.cluster not in topology.clusters:
        raise UnavailableParam("Cluster", detail=f"there are {', '.join(topology.clusters)}")
    kind = request.machine_type
    if kind is not None and not any(kind in topology.offered.get(zone, {}) for zone in zones):
        offered = sorted({name for zone in zones for name in topology.offered.get(zone, {})})
        raise UnavailableParam("MachineType", detail=f"offered here: {', '.join(offered) or 'none'}")
    check_zone_allowed(zones, call.caller.tenant)
    return Query(
        project=call.project,
        zones=zones,
        type=request.image_type,
        ids=frozenset(ids),
        machine_type=kind,
        cluster=request.cluster,
        awaited=frozenset() if request.image_type is ImageType.CUSTOM else call.view.awaited(),
        operator=call.caller.account.operator,
    )


def scope(query: Query, view: View) -> tuple[Image, ...]:
    """All images that a query could list: the base images and the custom ones of its project."""
    base = view.base_images() if query.type is not ImageType.CUSTOM else ()
    custom = view.images_of(query.project) if query.type is not ImageType.BASE else ()
    return base + custom


def visible_image(id: ImageId, call: Call) -> Image:
    """An image that the caller's project can see. Raises UnavailableParam, the same for absent and for another's."""
    for images in (call.view.base_images(), call.view.images_of(call.project)):
        for image in images:
            if image.id == id:
                return image
    raise UnavailableParam("ImageId", detail="there is no such image, or this project cannot see it")


def on_wire(image: Image, zones: tuple[ZoneId, ...], topology: Topology) -> PHostImageSet:
    """An image as lists answer it, for machines of these zones."""
    return PHostImageSet(
        image_id=image.id,
        image_name=image.name,
        os_name=image.os_name,
        os_type=image.os_type,
        support=supported_types(image, zones, topology),
        version=image.version,
        image_type=image.type.value,
        create_time=str(image.created),
        state=image.state.value,
        image_size=image.size,
        image_description=image.description,
    )


def _explained(image: Image, view: View) -> Image:
    """For the operator: an image that did not get its bytes says why, in its description."""
    if image.state is not State.UNAVAILABLE:
        return image
    content = view.image_bytes_of(image.project).get(image.id)
    if content is None or not content.failure:
        return image
    return replace(image, description=f"{image.description} [not published: {content.failure}]".lstrip())


ACTIONS = (Action(DescribePHostImage, DescribePHostImageResponse, describe_phost_image, Right.READ, project=True),)
