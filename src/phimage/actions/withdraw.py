"""Withdrawing images: an operator any image, a project its own.

The image disappears from lists and downloads at once. A later garbage collection removes its bytes, unless another image needs
them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.image_hosts import DryRunParam, ImageHosts, hosts_of_image
from phimage.actions.images import ImageIdParam
from phimage.actions.params import RegionParam, ZoneParam, check_zone_allowed, zones_asked
from phimage.actions.service import Call
from phimage.catalog.image_bytes import withdraw_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import Change
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ImageId
from phimage.model.image import Image, ImageType


class WithdrawPHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """Withdraw a base or custom image, and cancel its publication. The id is never reused for another image.

    Hosts keep what is on their disks, and one that is being installed with the image is installed to the end.
    """

    image_id: ImageIdParam
    dry_run: DryRunParam = False


class TerminatePHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """Withdraw a custom image of the project."""

    region: RegionParam
    zone: ZoneParam
    image_id: ImageIdParam
    dry_run: DryRunParam = False


class WithdrawnResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The withdrawn image."""

    image_id: Annotated[str, Meta(description="image id")]
    host_set: ImageHosts


def withdraw_phost_image(request: WithdrawPHostImage, call: Call) -> WithdrawnResponse:
    with call.service.change(call) as change:
        image = IMAGES.find(change.connection, request.image_id)
        if image is None:
            raise _unavailable(request.image_id)
        hosts = hosts_of_image(change.connection, image.id, call)
        if not request.dry_run:
            _withdraw(change, image)
    return WithdrawnResponse(image_id=request.image_id, host_set=hosts)


def terminate_phost_image(request: TerminatePHostImage, call: Call) -> WithdrawnResponse:
    check_zone_allowed(zones_asked(request.region, request.zone, call.caller.tenant, call.view.topology()), call.caller.tenant)
    with call.service.change(call) as change:
        image = IMAGES.find(change.connection, request.image_id)
        if image is None or image.type is not ImageType.CUSTOM or image.project != call.project:
            raise _unavailable(request.image_id)
        hosts = hosts_of_image(change.connection, image.id, call)
        if not request.dry_run:
            _withdraw(change, image)
    return WithdrawnResponse(image_id=request.image_id, host_set=hosts)


def _withdraw(change: Change, image: Image) -> None:
    withdraw_image_bytes(change, [image.id], "the image was withdrawn")
    IMAGES.withdraw(change, image)


def _unavailable(image: ImageId) -> UnavailableParam:
    """The same error for an unknown image, a withdrawn one and one of another project (wire-protocol B4)."""
    return UnavailableParam("ImageId", detail=f"there is no image {image} to withdraw")


ACTIONS = (
    Action(WithdrawPHostImage, WithdrawnResponse, withdraw_phost_image, Right.OPERATE, changes=True),
    Action(
        TerminatePHostImage, WithdrawnResponse, terminate_phost_image, Right.CHANGE, project=True, changes=True, ucloud=True
    ),
)
