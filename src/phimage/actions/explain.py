"""Why a list has an image, or does not have it."""

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
    """Explain whether DescribePHostImage lists an image: its position, or every reason against it with its remedy."""

    region: RegionParam
    zone: ListZoneParam | None = None
    image_id: ImageIdParam
    image_type: Annotated[ImageType, Meta(description="Base or Custom; absent means both")] | None = None
    machine_type: MachineTypeParam | None = None
    cluster: ClusterParam | None = None


class ReasonSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A reason why an image is not listed."""

    rule: Annotated[str, Meta(description="name of the listing rule that excludes the image")]
    reason: Annotated[str, Meta(description="the reason in words")]
    remedy: Annotated[str, Meta(description="the remedy")]


class ExplainPHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The explanation. For an image that the caller may not see, it is the same as for one that does not exist."""

    image_id: Annotated[str, Meta(description="id of the image")]
    listed: Annotated[bool, Meta(description="whether it is listed")]
    position: Annotated[
        int | None,
        Meta(description="position in the list, from 0; null when it is not listed"),
    ]
    total_count: Annotated[int, Meta(description="number of images in the list")]
    reason_set: Annotated[tuple[ReasonSet, ...], Meta(description="reasons why it is not listed; empty when it is")]
    notes: Annotated[tuple[str, ...], Meta(description="further remarks, also on a listed image")]


def explain_phost_image(request: ExplainPHostImage, call: Call) -> ExplainPHostImageResponse:
    topology = call.view.topology()
    query = query_of(request, call, topology)
    images = scope(query, call.view)
    explanation = explain(request.image_id, _visible(request, call), images, query, topology)
    return ExplainPHostImageResponse(
        image_id=request.image_id,
        listed=explanation.listed,
        position=explanation.position,
        total_count=explanation.total,
        reason_set=tuple(ReasonSet(rule=r.rule, reason=r.why, remedy=r.remedy) for r in explanation.reasons),
        notes=(*explanation.notes, *(f"the parameter {hint} is unknown and was ignored" for hint in call.hints)),
    )


def _visible(request: ExplainPHostImage, call: Call) -> Image | None:
    """The image, or None when there is none or the caller may not see it. An operator account may see every image."""
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
