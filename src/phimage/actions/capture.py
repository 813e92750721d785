"""Images of hosts: CreatePHostImage orders the agent of a stopped host to capture its disk."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from phimage.actions.hosts import HostIdParam
from phimage.actions.params import RegionParam, ZoneParam, check_zone_allowed, zones_asked
from phimage.actions.phosts import check_agent_is_there, own_host
from phimage.actions.publish import DescriptionParam, NameParam
from phimage.actions.publish_checks import check_quota, tenant_of_call
from phimage.actions.service import Call
from phimage.catalog.engine import Connection
from phimage.catalog.hosts import HOSTS
from phimage.catalog.image_bytes import expect_image_bytes
from phimage.catalog.images import IMAGES, last_images, once_given
from phimage.catalog.orders import add_order, last_capture
from phimage.errors import ServiceUnavailable, UnavailableParam
from phimage.formats.table import Format
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.host import Host, WrongState, capturing
from phimage.model.ids import ImageId, OrderId, new_image_id, new_job_id, new_order_id
from phimage.model.image import Image, State, image_of_disk
from phimage.model.job import Job, Origin, new_job
from phimage.model.order import Order, OrderKind


class CreatePHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """Make a custom image of a stopped host of the project: its agent captures the system disk.

    Repeating the request while the image is Making returns the same image. What it runs on, and its operating system, are those
    of the image that the host was installed with; change them with UpdatePHostImage.
    """

    region: RegionParam
    zone: ZoneParam
    p_host_id: HostIdParam
    image_name: NameParam
    image_description: DescriptionParam = ""
    trim: Annotated[
        bool, Meta(description="end the image after the last partition, so that it fits smaller disks; an addition of phimage")
    ] = False


class CreatePHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The image, which is Making until its disk is stored and verified."""

    image_id: Annotated[str, Meta(description="id of the new image")]


def create_phost_image(request: CreatePHostImage, call: Call) -> CreatePHostImageResponse:
    zones = zones_asked(request.region, request.zone, call.caller.tenant, call.view.topology())
    check_zone_allowed(zones, call.caller.tenant)
    with call.service.change(call) as change:
        connection = change.connection
        host, contact = own_host(connection, request.p_host_id, zones, call)
        if same := _same_capture(connection, host, request, call):
            return CreatePHostImageResponse(image_id=same)
        check_agent_is_there(host, contact, call)
        order_id = new_order_id(call.service.random)
        try:
            after = capturing(host, order_id)
        except WrongState as error:
            raise UnavailableParam("PHostId", detail=str(error)) from None
        # docs/decisions.md#a-capture-reserves-the-whole-disk
        reserved = contact.disk.size if contact and contact.disk else 0
        if reserved > call.service.max_original and not request.trim:
            detail = f"its disk has {reserved} bytes and an image at most {call.service.max_original}: set Trim"
            raise UnavailableParam("PHostId", detail=detail)
        reserved = min(reserved, call.service.max_original)
        check_quota(change, call.project, reserved, tenant_of_call(call))
        image = ImageId(new_image_id(call.service.random))
        if once_given(connection, [image]):
            raise ServiceUnavailable(detail="the random id is already in use; try again")
        IMAGES.add_all(change, [_image(image, host, request, connection, call)])
        job = _job(image, host, reserved, call)
        expect_image_bytes(change, job)
        add_order(connection, _order(order_id, host, job, request, call))
        HOSTS.put(change, after)
    return CreatePHostImageResponse(image_id=image)


def _same_capture(connection: Connection, host: Host, request: CreatePHostImage, call: Call) -> ImageId | None:
    """The image of the same request that was made before, while it is Making: clients send it again without a response."""
    order = last_capture(connection, host.id)
    image = IMAGES.find(connection, order.image) if order is not None and order.actor == call.caller.actor else None
    if image is None or (image.project, image.state, image.name) != (call.project, State.MAKING, request.image_name):
        return None
    return image.id


def _image(id: ImageId, host: Host, request: CreatePHostImage, connection: Connection, call: Call) -> Image:
    installed = last_images(connection, [host.image]).get(host.image) if host.image else None
    unknown = {host.machine_type: (host.cluster,)}
    made = image_of_disk(id, call.project, request.image_name, (host.zone,), installed, unknown)
    return replace(made, description=request.image_description, created=int(call.time))


def _job(image: ImageId, host: Host, reserved: int, call: Call) -> Job:
    return new_job(
        id=new_job_id(call.service.random),
        image=image,
        origin=Origin(name=f"{host.id}.raw", host=host.id, format=Format.RAW.value, tenant=tenant_of_call(call)),
        created=call.time,
        project=call.project,
        actor=call.caller.actor,
        reserved=reserved,
    )


def _order(id: OrderId, host: Host, job: Job, request: CreatePHostImage, call: Call) -> Order:
    return Order(
        id=id,
        host=host.id,
        kind=OrderKind.CAPTURE,
        created=call.time,
        heard=call.time,
        image=job.image,
        job=job.id,
        project=call.project,
        account=call.caller.account.id,
        actor=call.caller.actor,
        trim=request.trim,
    )


ACTIONS = (
    Action(
        CreatePHostImage, CreatePHostImageResponse, create_phost_image, Right.CHANGE, project=True, changes=True, ucloud=True
    ),
)
