"""The list of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from phimage.actions.listing import ID_BYTES, ListSection, count, page, sections_of
from phimage.actions.params import RegionParam, ZoneParam, check_zone_allowed, zones_asked
from phimage.actions.service import Call
from phimage.catalog.revisions import BASE, TOPOLOGY, account_scope, project_scope
from phimage.catalog.views import View
from phimage.errors import UnavailableParam
from phimage.fields import by_setting
from phimage.gateway.envelope import Encoded, encoded
from phimage.gateway.registry import Action
from phimage.model.account import Account, Right
from phimage.model.explain import unknown_cluster, unknown_machine_type
from phimage.model.ids import ClusterId, ImageId, MachineTypeId, ProjectId, RegionId, ZoneId
from phimage.model.image import NO_PROJECT, Image, ImageType, Query, State, newer, select, supported_types
from phimage.model.topology import Topology

ImageIdParam = Annotated[ImageId, Meta(max_length=64, description="image id, such as pimg-cs-xev4rz")]
ListZoneParam = Annotated[ZoneParam, Meta(extra=by_setting(required="require_zone"))]
MachineTypeParam = Annotated[
    MachineTypeId, Meta(max_length=64, description="machine type of the zone, such as DB-2: list only images that it can run")
]
ClusterParam = Annotated[
    ClusterId,
    Meta(
        max_length=64,
        description="network cluster of the machine, such as 25G. The default with MachineType is 25G if the zone offers the "
        "type on it, else any. Without MachineType: list images that some machine type of the zone can run on this cluster",
    ),
]
OffsetParam = Annotated[int, Meta(ge=0, le=2_147_483_647, description="number of images to skip")]
LimitParam = Annotated[
    int,
    Meta(
        ge=0,
        description="max images of the page; 0 for TotalCount alone",
        extra=by_setting(max="max_limit", default="default_limit"),
    ),
]


NEWER_HEADER = "X-Phimage-Newer"
"""Header of a response from a past revision: newer versions of the listed families, as `family=id, ...`."""
MAX_NEWER = 20
"""Max images in the header."""


class DescribePHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the images that machines of a zone can run."""

    region: RegionParam
    zone: ListZoneParam | None = None
    image_type: Annotated[ImageType, Meta(description="Base or Custom; absent means both")] | None = None
    image_id: Annotated[tuple[ImageIdParam, ...], Meta(description="ids of the images to list; unknown ids are ignored")] = ()
    offset: OffsetParam = 0
    limit: LimitParam | None = None
    machine_type: MachineTypeParam | None = None
    cluster: ClusterParam | None = None


class PHostImageSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """One image. The types are those that every client decodes (wire-protocol 4.3)."""

    image_id: Annotated[str, Meta(description="image id")]
    image_name: Annotated[str, Meta(description="name of the image")]
    os_name: Annotated[str, Meta(description="operating system, for people")]
    os_type: Annotated[str, Meta(description="operating system family: CentOS, Ubuntu, Windows, ...")]
    support: Annotated[tuple[str, ...], Meta(description="machine types of the zone that can run it")]
    version: Annotated[str, Meta(description="version, free text")]
    image_type: Annotated[str, Meta(description="Base or Custom")]
    create_time: Annotated[str, Meta(pattern="^[0-9]+$", description="creation time: Unix seconds, as text")]
    state: Annotated[str, Meta(description="Making, Available or Unavailable")]
    image_size: Annotated[int, Meta(ge=0, description="min size of the system disk in GB")]
    image_description: Annotated[str, Meta(description="description, free text")]


class DescribePHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A page of images."""

    total_count: Annotated[int, Meta(description="number of matching images on all pages")]
    image_set: Annotated[tuple[PHostImageSet, ...], Meta(description="the images of the page")]


_row = msgspec.json.Encoder(order=None)


class _Page(Struct, rename="pascal", frozen=True, kw_only=True):
    """A `DescribePHostImageResponse` with encoded images."""

    total_count: int
    image_set: list[Raw]


def describe_phost_image(request: DescribePHostImage, call: Call) -> Encoded:
    if call.view.pinned:
        name_newer_versions(call, lambda view: _listed(request, call, view))
        return encoded(call.action, _page(request, call))
    # The response depends on the request, the places, the base images, the project's images and the account's zones.
    account = call.caller.account.id
    name = (request, call.project, account, call.default_limit)
    scopes = (TOPOLOGY, BASE, project_scope(call.project), account_scope(account))
    # docs/decisions.md#encoded-lists-name-their-dependencies
    return call.cache.get_or_make(
        name,
        call.view,
        scopes,
        lambda: encoded(call.action, _page(request, call), scopes),
        lambda page: len(page) + ID_BYTES * len(request.image_id),
    )


def _page(request: DescribePHostImage, call: Call) -> _Page:
    topology = call.view.topology()
    limit = limit_of(request.limit, call)
    query = query_of(request, call, topology, request.image_id)
    sections = sections_of(query, call.view, call.cache)
    operator = call.caller.account.operator
    if operator:  # an operator's descriptions have failures in them, so no encoded image is shared with tenants
        sections = [ListSection(section.images, {}) for section in sections]

    def encode(image: Image) -> bytes:
        return _row.encode(on_wire(_with_failure(image, call.view) if operator else image, query.zones, topology))

    rows = page(sections, request.offset, limit, encode)
    return _Page(total_count=count(sections), image_set=[Raw(row) for row in rows])


def _listed(request: DescribePHostImage, call: Call, view: View) -> list[Image]:
    query = query_of(request, call, call.view.topology(), request.image_id)
    return select(scope(query, view), replace(query, awaited=view.awaited()), view.topology())


def name_newer_versions(call: Call, listed: Callable[[View], Iterable[Image]]) -> None:
    """Name in a header the newer versions of listed families that the pin hides. `listed` is the list of a view."""
    hidden = newer(listed(call.view), listed(call.service.catalog.now(wait=True)))
    if hidden:
        call.headers[NEWER_HEADER] = ", ".join(f"{family}={image}" for family, image in hidden[:MAX_NEWER])


def limit_of(requested: int | None, call: Call) -> int:
    """Max images of a page: Limit, or its default. Not clamped, because clients count pages by it (wire-protocol B7)."""
    if requested is not None:
        return requested
    lists = call.service.lists
    limit = lists.default_limit if call.default_limit is None else call.default_limit
    if limit > lists.max_limit:
        raise UnavailableParam("Limit", detail=f"expected a whole number from 0 to {lists.max_limit}")
    return limit


class MachineFilters(Protocol):
    """The parameters that all lists of images share."""

    @property
    def image_type(self) -> ImageType | None: ...  # noqa: D102
    @property
    def machine_type(self) -> MachineTypeId | None: ...  # noqa: D102
    @property
    def cluster(self) -> ClusterId | None: ...  # noqa: D102


class Filters(MachineFilters, Protocol):
    """The parameters that the list of images and its explanation share."""

    @property
    def region(self) -> RegionId: ...  # noqa: D102
    @property
    def zone(self) -> ZoneId | None: ...  # noqa: D102


def query_of(
    request: Filters, call: Call, topology: Topology, ids: Iterable[ImageId] = (), image: Image | None = None
) -> Query:
    """The query of a request. Raises UnavailableParam for an unknown name, then ZoneRefused.

    The error about a machine type or a cluster says what `image` supports, when the caller asks about one that it may see.
    """
    zones = zones_asked(request.region, request.zone, call.caller.tenant, topology)
    return query_in(zones, request, call, topology, ids, image)


def query_in(
    zones: tuple[ZoneId, ...],
    request: MachineFilters,
    call: Call,
    topology: Topology,
    ids: Iterable[ImageId] = (),
    image: Image | None = None,
) -> Query:
    """The query of a request in these zones. Raises UnavailableParam for an unknown name, then ZoneRefused."""
    kind = request.machine_type
    if request.cluster is not None and request.cluster not in topology.clusters:
        raise UnavailableParam("Cluster", detail=unknown_cluster(kind, zones, topology, image))
    if kind is not None and not topology.clusters_of(kind, zones):
        raise UnavailableParam("MachineType", detail=unknown_machine_type(kind, zones, topology, image))
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
    """The images that a query filters: the base images and the custom images of its project."""
    base = view.base_images() if query.type is not ImageType.CUSTOM else ()
    custom = view.images_of(query.project) if query.type is not ImageType.BASE else ()
    return base + custom


def visible_image(id: ImageId, call: Call) -> Image:
    """An image that the caller's project can see; any image for an operator account.

    Raises the same UnavailableParam for unknown and for invisible images.
    """
    found = find_visible_image(id, call.view, call.project, call.caller.account)
    if found is not None:
        return found
    raise UnavailableParam("ImageId", detail="there is no such image, or this project cannot see it")


# docs/decisions.md#operators-see-every-image-by-its-id
def find_visible_image(id: ImageId, view: View, project: ProjectId, account: Account) -> Image | None:
    """An image that a project can see, or that exists, for an operator account."""
    for images in (view.base_images(), view.images_of(project) if project != NO_PROJECT else ()):
        for image in images:
            if image.id == id:
                return image
    return view.image(id) if account.operator else None


def on_wire(image: Image, zones: tuple[ZoneId, ...], topology: Topology) -> PHostImageSet:
    """An image in a list for machines of these zones."""
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


def _with_failure(image: Image, view: View) -> Image:
    """The image with the failure of its publication in the description."""
    if image.state is not State.UNAVAILABLE:
        return image
    image_bytes = view.image_bytes_of(image.project).get(image.id)
    if image_bytes is None or not image_bytes.failure:
        return image
    return replace(image, description=f"{image.description} [not published: {image_bytes.failure}]".lstrip())


ACTIONS = (Action(DescribePHostImage, DescribePHostImageResponse, describe_phost_image, Right.READ, project=True),)
