"""Why a list has an image, or does not have it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.images import (
    ClusterParam,
    ImageIdParam,
    ListZoneParam,
    MachineTypeParam,
    find_visible_image,
    query_of,
    scope,
)
from phimage.actions.params import RegionParam
from phimage.actions.service import Call
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.explain import Reason, explain
from phimage.model.ids import ImageId
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
    image = seen_image(request.image_id, call)
    query = query_of(request, call, topology, image=image)
    stored = image is None or is_stored(image, call)
    explanation = explain(request.image_id, image, scope(query, call.view), query, topology, stored=stored)
    return ExplainPHostImageResponse(
        image_id=request.image_id,
        listed=explanation.listed,
        position=explanation.position,
        total_count=explanation.total,
        reason_set=reason_set(explanation.reasons),
        notes=(*explanation.notes, *(f"the parameter {hint} is unknown and was ignored" for hint in call.hints)),
    )


def reason_set(reasons: Iterable[Reason]) -> tuple[ReasonSet, ...]:
    """Reasons on the wire."""
    return tuple(ReasonSet(rule=reason.rule, reason=reason.why, remedy=reason.remedy) for reason in reasons)


def is_stored(image: Image, call: Call) -> bool:
    """Whether the bytes of an image are in the store."""
    image_bytes = call.view.image_bytes_of(image.project).get(image.id)
    return image_bytes is not None and image_bytes.stored


# docs/decisions.md#explanations-reach-the-other-projects-of-the-account
def seen_image(id: ImageId, call: Call) -> Image | None:
    """The image, or None when there is none or the caller may not see it in any project.

    An operator account may see every image, a caller those of the projects of its account in which it may list.
    """
    tenant, user = call.caller.tenant, call.caller.user
    found = find_visible_image(id, call.view, call.project, tenant.account)
    own = {project for project in tenant.projects if tenant.right(user, project) >= Right.READ}
    if found is not None or tenant.account.operator or own <= {call.project}:
        return found
    found = call.view.image(id)
    return found if found is not None and found.project in own else None


ACTIONS = (Action(ExplainPHostImage, ExplainPHostImageResponse, explain_phost_image, Right.READ, project=True),)
