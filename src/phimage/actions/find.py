"""Finding images: all that a caller can see, through filters beside those of the list, with all details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from phimage.actions.details import PHostImageDetails, details_of, jobs_of
from phimage.actions.images import (
    ClusterParam,
    ImageIdParam,
    LimitParam,
    MachineTypeParam,
    OffsetParam,
    limit_of,
    name_newer_versions,
    query_in,
    scope,
)
from phimage.actions.listing import ID_BYTES
from phimage.actions.params import zones_anywhere
from phimage.actions.service import Call
from phimage.catalog.accounts import PROJECTS
from phimage.catalog.revisions import BASE, TOPOLOGY, project_scope
from phimage.catalog.views import View
from phimage.errors import NotPermitted, UnknownProject
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ImageId, ProjectId, RegionId, ZoneId
from phimage.model.image import LABEL_KEY, MAX_LABEL_VALUE, NO_PROJECT, Image, ImageType, Query, State
from phimage.model.image_bytes import ImageBytes
from phimage.model.search import Deprecation, Search, SortOrder, find, label_filter
from phimage.model.topology import Topology

ALL = "all"
"""The ProjectId that stands for every project."""
MANY = 2000
"""More images take milliseconds to filter or to encode, which would stop the event loop: a thread does it."""
MANY_ROWS = 200
ROW_BYTES = 600
"""Approximate size of an image that only a cached result holds."""


class FindPHostImages(Struct, rename="pascal", frozen=True, kw_only=True):
    """Find images among all that the caller can see, in one zone or in all, with all details of each.

    All given filters must hold. The order is that of DescribePHostImage unless Sort is given.
    """

    text: Annotated[
        str,
        Meta(max_length=255, description="text in the id, name, description, OsName or family; upper and lower case are equal"),
    ] = ""
    family: Annotated[str, Meta(max_length=64, description="name that all versions of an image share")] | None = None
    os_type: (
        Annotated[str, Meta(max_length=64, description="operating system family, such as CentOS, in upper or lower case")]
        | None
    ) = None
    state: Annotated[State | None, Meta(description="Making, Available or Unavailable")] = None
    has_bytes: Annotated[bool | None, Meta(description="whether the disk of the image is stored")] = None
    label: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=LABEL_KEY.removesuffix("$") + rf"(=.{{0,{MAX_LABEL_VALUE}}})?$",
                    description="a label as key or key=value, such as team=storage",
                ),
            ],
            ...,
        ],
        Meta(description="labels that it must all have: key for any value, or key=value"),
    ] = ()
    deprecated: Annotated[
        Deprecation, Meta(description="exclude, include or only deprecated images; one that ImageId names is never excluded")
    ] = Deprecation.EXCLUDE
    image_type: Annotated[ImageType, Meta(description="Base or Custom; absent means both")] | None = None
    image_id: Annotated[tuple[ImageIdParam, ...], Meta(description="ids of the images to find; unknown ids are ignored")] = ()
    region: Annotated[RegionId | None, Meta(description="region, such as cn-bj2; absent means every region")] = None
    zone: Annotated[
        ZoneId | None,
        Meta(description="availability zone, such as cn-bj2-02; absent means every zone, and images that are in none"),
    ] = None
    machine_type: MachineTypeParam | None = None
    cluster: ClusterParam | None = None
    project_id: (
        Annotated[
            ProjectId,
            Meta(
                max_length=64,
                description="the project whose custom images are found; by default the default project, and required for a "
                f"sub-user. For operators, with signature version 2, a project of any account, or {ALL} for every project",
            ),
        ]
        | None
    ) = None
    sort: Annotated[
        SortOrder | None,
        Meta(description="order, descending with a minus; version, name and family in natural order: 8.9 before 8.10"),
    ] = None
    offset: OffsetParam = 0
    limit: LimitParam | None = None


class FindPHostImagesResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A page of found images."""

    total_count: Annotated[int, Meta(description="number of found images on all pages")]
    image_set: Annotated[
        tuple[PHostImageDetails, ...], Meta(description="the images of the page, each as GetPHostImage shows it")
    ]


def find_phost_images(request: FindPHostImages, call: Call) -> FindPHostImagesResponse:
    topology = call.view.topology()
    if call.view.pinned and not topology.regions:  # no name of a place could be right before there are any
        return FindPHostImagesResponse(total_count=0, image_set=())
    limit = limit_of(request.limit, call)
    search = _search(request, call, topology)
    if limit == 0 and not call.view.pinned:
        return FindPHostImagesResponse(total_count=_count(search, call), image_set=())
    found = _found(search, call)
    if call.view.pinned:
        name_newer_versions(call, lambda view: _find(replace(search, query=_as_of(view, search.query)), view))
    page = found[request.offset : request.offset + limit]
    if len(page) > MANY_ROWS:
        call.view.may_take_time()
    records = _image_bytes(search, call.view) if page else {}
    known = [(image, records[_owner(image, search)].get(image.id)) for image in page]
    jobs = jobs_of([image for image, image_bytes in known if image_bytes], call)
    zones = None if search.anywhere else search.query.zones
    rows = tuple(details_of(image, image_bytes, jobs.get(image.id), call, zones) for image, image_bytes in known)
    return FindPHostImagesResponse(total_count=len(found), image_set=rows)


def _search(request: FindPHostImages, call: Call, topology: Topology) -> Search:
    zones = zones_anywhere(request.region, request.zone, call.caller.tenant, topology)
    query = replace(query_in(zones, request, call, topology, request.image_id), project=_project(request, call))
    return Search(
        query=query,
        text=request.text,
        family=request.family,
        os_type=request.os_type,
        state=request.state,
        has_bytes=request.has_bytes,
        labels=tuple(map(label_filter, request.label)),
        deprecation=request.deprecated,
        anywhere=request.region is None and request.zone is None and not call.caller.account.zones,
        any_owner=request.project_id == ALL,
        sort=request.sort,
    )


def _project(request: FindPHostImages, call: Call) -> ProjectId:
    """The project whose custom images are found; NO_PROJECT for every project. Raises NotPermitted or UnknownProject."""
    tenant, asked = call.caller.tenant, request.project_id
    if not call.caller.account.operator:
        return call.project  # the gateway has checked the role in it
    if asked is None:
        default = tenant.default_project()
        return default.id if default else NO_PROJECT
    if asked in tenant.projects:
        return asked
    # docs/decisions.md#two-versions-of-signatures
    if not call.caller.signs_requests:
        detail = f"{asked} needs signature version 2 (HTTP Message Signatures, RFC 9421): use phimage's commands"
        raise NotPermitted(detail=f"ProjectId={detail}")
    if asked == ALL:
        return NO_PROJECT
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        if PROJECTS.find(connection, asked) is None:
            raise UnknownProject(asked)
    return asked


def _found(search: Search, call: Call) -> tuple[Image, ...]:
    """All found images, cached until something that they depend on changes, so that every page costs the same."""
    scopes = (TOPOLOGY, BASE, project_scope(search.query.project))
    key = ("found", search, call.view.revision if search.any_owner else None)
    return call.cache.get_or_make(
        key,
        call.view,
        scopes,
        lambda: tuple(_find(search, call.view)),
        lambda found: ROW_BYTES * len(found) + _key_bytes(search),
    )


def _count(search: Search, call: Call) -> int:
    """The number of found images, cached like them; that of a large catalogue fits into the cache where its images do not."""
    scopes = (TOPOLOGY, BASE, project_scope(search.query.project))
    key = ("count", search, call.view.revision if search.any_owner else None)
    return call.cache.get_or_make(key, call.view, scopes, lambda: len(_found(search, call)), lambda _: _key_bytes(search))


def _key_bytes(search: Search) -> int:
    """Approximate size of what a request named, which the cache keeps with its result."""
    return ID_BYTES * (len(search.query.ids) + len(search.labels))


def _find(search: Search, view: View) -> list[Image]:
    images = _images(search, view)
    if len(images) > MANY:
        view.may_take_time()
    records = _image_bytes(search, view) if search.has_bytes is not None else {}

    def stored(image: Image) -> bool:
        record = records[_owner(image, search)].get(image.id)
        return record is not None and record.stored

    return find(images, search, view.topology(), stored)


def _images(search: Search, view: View) -> tuple[Image, ...]:
    if not search.any_owner:
        return scope(search.query, view)
    base = view.base_images() if search.query.type is not ImageType.CUSTOM else ()
    return base + view.custom_images() if search.query.type is not ImageType.BASE else base


def _image_bytes(search: Search, view: View) -> dict[ProjectId, Mapping[ImageId, ImageBytes]]:
    """The bytes of images by the owner of `_owner`, read at once: a large catalogue's are not cached."""
    records: dict[ProjectId, Mapping[ImageId, ImageBytes]] = {}
    if search.query.type is not ImageType.CUSTOM:
        records[NO_PROJECT] = view.image_bytes_of(NO_PROJECT)
    if search.query.type is not ImageType.BASE:
        custom = view.custom_image_bytes() if search.any_owner else view.image_bytes_of(search.query.project)
        records[ProjectId(ALL) if search.any_owner else search.query.project] = custom
    return records


def _owner(image: Image, search: Search) -> ProjectId:
    return ProjectId(ALL) if image.project and search.any_owner else image.project


def _as_of(view: View, query: Query) -> Query:
    return replace(query, awaited=frozenset() if query.type is ImageType.CUSTOM else view.awaited())


ACTIONS = (Action(FindPHostImages, FindPHostImagesResponse, find_phost_images, Right.READ, project=True, any_project=True),)
