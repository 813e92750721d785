"""The matrix of an image: for each machine type on each cluster, whether a list has it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.explain import ExplainPHostImage, ReasonSet, reason_set, seen_image
from phimage.actions.images import ImageIdParam, query_of
from phimage.actions.params import RegionParam, ZoneParam
from phimage.actions.service import Call
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.explain import UNSEEN, matrix, reasons


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


ACTIONS = (Action(GetPHostImageMatrix, GetPHostImageMatrixResponse, get_phost_image_matrix, Right.READ, project=True),)
