"""The matrix of images and machines: for each machine type on each cluster, whether a list has the image."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.explain import ExplainPHostImage, ReasonSet, reason_set, seen_image
from phimage.actions.images import DescribePHostImage, ImageIdParam, OffsetParam, query_of
from phimage.actions.listing import sections_of
from phimage.actions.params import RegionParam, ZoneParam
from phimage.actions.service import Call
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.explain import UNSEEN, matrix, reasons
from phimage.model.image import Image, ImageType, Query, meant_clusters
from phimage.model.topology import Topology

MANY_CELLS = 200
"""More take milliseconds, which would stop the event loop: a thread evaluates them."""


class GetPHostImageMatrix(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show for each machine type on each cluster whether DescribePHostImage lists an image, and if not why."""

    region: RegionParam
    zone: Annotated[ZoneParam | None, Meta(description="zone of the region; absent means all that the account may use")] = None
    image_id: ImageIdParam


class MatrixSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """One machine type on one cluster."""

    machine_type: Annotated[str, Meta(description="name of the machine type")]
    cluster: Annotated[str, Meta(description="name of the cluster")]
    offered: Annotated[bool, Meta(description="whether one of the zones offers the machine type on the cluster")]
    supported: Annotated[bool, Meta(description="whether the image supports the machine type on the cluster")]
    listed: Annotated[bool, Meta(description="whether a list with this MachineType and Cluster has the image")]
    rule: Annotated[str, Meta(description="name of the first listing rule that excludes it; empty if it is listed")]


class GetPHostImageMatrixResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The matrix: every machine type that the zones offer or the image supports, on every cluster."""

    image_id: Annotated[str, Meta(description="id of the image")]
    zones: Annotated[tuple[str, ...], Meta(description="zones that were asked for")]
    matrix_set: Annotated[tuple[MatrixSet, ...], Meta(description="the cells, by machine type, then by cluster")]
    reason_set: Annotated[
        tuple[ReasonSet, ...],
        Meta(description="reasons why no list of these zones has it, whatever the machine type; empty if there is none"),
    ]


def get_phost_image_matrix(request: GetPHostImageMatrix, call: Call) -> GetPHostImageMatrixResponse:
    topology = call.view.topology()
    query = query_of(ExplainPHostImage(region=request.region, zone=request.zone, image_id=request.image_id), call, topology)
    image = seen_image(request.image_id, call)
    if image is None:
        raise UnavailableParam("ImageId", detail=UNSEEN[0])
    return GetPHostImageMatrixResponse(
        image_id=image.id,
        zones=query.zones,
        matrix_set=tuple(
            MatrixSet(
                machine_type=cell.machine_type,
                cluster=cell.cluster,
                offered=cell.offered,
                supported=cell.supported,
                listed=cell.listed,
                rule=cell.failing,
            )
            for cell in matrix(image, query, topology)
        ),
        reason_set=reason_set(reasons(image, query, topology)),
    )


class ListPHostImageMatrices(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show for a page of images whether lists of a zone have them, for each machine type that the zone offers.

    The images are those that DescribePHostImage lists without MachineType.
    """

    region: RegionParam
    zone: ZoneParam
    family: Annotated[str, Meta(max_length=64, description="images of this family alone")] | None = None
    image_type: Annotated[ImageType, Meta(description="Base or Custom; absent means both")] | None = None
    offset: OffsetParam = 0
    limit: Annotated[int, Meta(ge=0, le=200, description="max images of the page")] = 50


class MatrixColumn(Struct, rename="pascal", frozen=True, kw_only=True):
    """A machine type on a cluster on which the zone offers it."""

    machine_type: Annotated[str, Meta(description="name of the machine type")]
    cluster: Annotated[str, Meta(description="name of the cluster")]
    is_default: Annotated[bool, Meta(description="whether a list of the machine type means it where it names no cluster")]


class MatrixRow(Struct, rename="pascal", frozen=True, kw_only=True):
    """An image."""

    image_id: Annotated[str, Meta(description="image id")]
    image_name: Annotated[str, Meta(description="name of the image")]
    family: Annotated[str, Meta(description="name that all versions of the image share; empty for none")]
    image_type: Annotated[str, Meta(description="Base or Custom")]
    state: Annotated[str, Meta(description="Making, Available or Unavailable")]
    rules: Annotated[
        tuple[str, ...],
        Meta(description="for each column, the first listing rule that excludes the image; empty if it is listed"),
    ]


class ListPHostImageMatricesResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A page of images, with a value for each column."""

    total_count: Annotated[int, Meta(description="number of images on all pages")]
    column_set: Annotated[tuple[MatrixColumn, ...], Meta(description="the columns, by machine type, then by cluster")]
    row_set: Annotated[tuple[MatrixRow, ...], Meta(description="the images of the page, in the order of the list")]


def list_phost_image_matrices(request: ListPHostImageMatrices, call: Call) -> ListPHostImageMatricesResponse:
    topology = call.view.topology()
    asked = DescribePHostImage(region=request.region, zone=request.zone, image_type=request.image_type)
    query = query_of(asked, call, topology)
    found = [
        image
        for section in sections_of(query, call.view, call.cache)
        for image in section.images
        if request.family in (None, image.family)
    ]
    page = found[request.offset : request.offset + request.limit]
    columns = tuple(
        MatrixColumn(
            machine_type=kind, cluster=cluster, is_default=cluster in meant_clusters(request.zone, kind, None, topology)
        )
        for kind in sorted(topology.offered.get(request.zone, {}))
        for cluster in topology.clusters_of(kind, query.zones)
    )
    if len(page) * len(columns) > MANY_CELLS:
        call.view.may_take_time()
    return ListPHostImageMatricesResponse(
        total_count=len(found), column_set=columns, row_set=tuple(_row(image, query, columns, topology) for image in page)
    )


def _row(image: Image, query: Query, columns: tuple[MatrixColumn, ...], topology: Topology) -> MatrixRow:
    failing: dict[tuple[str, str], str] = {
        (cell.machine_type, cell.cluster): cell.failing for cell in matrix(image, query, topology)
    }
    return MatrixRow(
        image_id=image.id,
        image_name=image.name,
        family=image.family,
        image_type=image.type.value,
        state=image.state.value,
        rules=tuple(failing[column.machine_type, column.cluster] for column in columns),
    )


ACTIONS = (
    Action(GetPHostImageMatrix, GetPHostImageMatrixResponse, get_phost_image_matrix, Right.READ, project=True),
    Action(ListPHostImageMatrices, ListPHostImageMatricesResponse, list_phost_image_matrices, Right.READ, project=True),
)
