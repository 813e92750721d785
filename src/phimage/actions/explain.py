"""Why an image is, or is not, in a list."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.images import ClusterParam, ImageIdParam, ListZoneParam, MachineTypeParam, query_of, scope
from phimage.actions.params import RegionParam
from phimage.actions.service import Call
from phimage.catalog.images import find_image
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.explain import explain
from phimage.model.image import Image, ImageType


class ExplainPHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """Say whether DescribePHostImage lists an image, at which position, and if not, every reason and what would change it."""

    region: RegionParam
    zone: ListZoneParam | None = None
    image_id: ImageIdParam
    image_type: Annotated[ImageType | None, Meta(description="as in the list")] = None
    machine_type: MachineTypeParam | None = None
    cluster: ClusterParam | None = None


class ReasonSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """One reason why an image is not listed."""

    rule: Annotated[str, Meta(description="name of the listing rule that does not hold")]
    reason: Annotated[str, Meta(description="why, in words")]
    remedy: Annotated[str, Meta(description="what would change it")]


class ExplainPHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The explanation. An image that the caller may not see is explained like one that does not exist."""

    image_id: Annotated[str, Meta(description="the image that was asked about")]
    listed: Annotated[bool, Meta(description="whether the list has it")]
    position: Annotated[int | None, Meta(description="place in the list, from 0: the Offset that starts a page with it")]
    total_count: Annotated[int, Meta(description="how many images the list has")]
    reason_set: Annotated[tuple[ReasonSet, ...], Meta(description="why it is not listed; empty when it is")]
    notes: Annotated[tuple[str, ...], Meta(description="what else to know, also of a listed image")]


def explain_phost_image(request: ExplainPHostImage, call: Call) -> ExplainPHostImageResponse:
    topology = call.view.topology()
    query = query_of(request, call, topology)
    images = scope(query, call.view)
    found = _known(request, call)
    told = explain(request.image_id, found, images, query, topology)
    return ExplainPHostImageResponse(
        image_id=request.image_id,
        listed=told.listed,
        position=told.position,
        total_count=told.total,
        reason_set=tuple(ReasonSet(rule=r.rule, reason=r.why, remedy=r.remedy) for r in told.reasons),
        notes=told.notes,
    )


def _known(request: ExplainPHostImage, call: Call) -> Image | None:
    """The image, if the caller may know of it: the operator may know of all."""
    for images in (call.view.base_images(), call.view.images_of(call.project)):
        for image in images:
            if image.id == request.image_id:
                return image
    if not call.caller.account.operator:
        return None
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        return find_image(connection, call.view.revision, request.image_id)


ACTIONS = (Action(ExplainPHostImage, ExplainPHostImageResponse, explain_phost_image, Right.READ, project=True),)
