"""Changing what an image is called, where it is placed and what runs it: a project its own custom images, an operator any."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import replace

from phimage.actions.image_hosts import DryRunParam, ImageHosts, hosts_of_image
from phimage.actions.images import ImageIdParam
from phimage.actions.params import MAX_TIME, RegionParam, ZoneParam, check_zone_allowed, zones_asked
from phimage.actions.publish import ImageTexts
from phimage.actions.publish_checks import LabelsParam, SupportParam, support_of, tenant_of_call, with_labels
from phimage.actions.service import Call
from phimage.catalog.engine import Connection
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES
from phimage.errors import MissingParam, NotPermitted, UnavailableParam
from phimage.fields import fields_of, with_controls
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ImageId, ZoneId
from phimage.model.image import LABEL_KEY, LABEL_KEY_FORM, Image, ImageType, State


class ModifyPHostImageInfo(Struct, rename="pascal", frozen=True, kw_only=True):
    """Change the name or the description of a custom image of the project. A blank value is an absent one."""

    region: RegionParam
    zone: ZoneParam
    image_id: ImageIdParam
    name: Annotated[str, Meta(max_length=128, description="ImageName: name of the image, for people")] | None = None
    remark: (
        Annotated[str, Meta(max_length=1024, description="ImageDescription: free text", extra=with_controls("lines"))] | None
    ) = None


class ModifyPHostImageInfoResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The changed image."""

    image_id: Annotated[str, Meta(description="image id")]


class SettableState(StrEnum):
    """The states that an operator sets. A publication alone makes an image Making."""

    AVAILABLE = "Available"
    UNAVAILABLE = "Unavailable"


class Clearable(StrEnum):
    """What an image can do without."""

    VERSION = "Version"
    FAMILY = "Family"
    DESCRIPTION = "Description"
    SUPPORT = "Support"
    SUCCESSOR = "Successor"
    LABEL = "Label"


# docs/decisions.md#one-action-changes-an-image
class UpdatePHostImage(ImageTexts, rename="pascal", frozen=True, kw_only=True):
    """Change an image. Absent parameters leave it as it is; Clear names what becomes empty.

    Tenants change custom images of their project; operators any image, and its state. An image of the catalogue file gets the
    values of the file again when the file is applied.
    """

    image_id: ImageIdParam
    zone: Annotated[tuple[ZoneId, ...], Meta(description="the zones where the image is available from now on")] = ()
    support: SupportParam = ()
    deprecated: (
        Annotated[bool, Meta(description="true: no longer listed, from now on; false: listed again, and no date is kept")]
        | None
    ) = None
    deprecation_time: (
        Annotated[
            int, Meta(ge=1, le=MAX_TIME, description="when it is, or was, deprecated, Unix seconds; in place of Deprecated")
        ]
        | None
    ) = None
    successor: Annotated[ImageId, Meta(max_length=64, description="id of the image to use instead")] | None = None
    label: LabelsParam = ()
    remove_label: Annotated[
        tuple[Annotated[str, Meta(max_length=64)], ...], Meta(description="keys of labels to remove, if they are set")
    ] = ()
    state: Annotated[SettableState, Meta(description="Available or Unavailable; operators only")] | None = None
    clear: Annotated[tuple[Clearable, ...], Meta(description="names of parameters whose values become empty")] = ()
    dry_run: DryRunParam = False


class UpdatePHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The changed image."""

    image_id: Annotated[str, Meta(description="image id")]
    changed: Annotated[tuple[str, ...], Meta(description="names of the parameters whose values changed; empty for none")]
    revision: Annotated[int, Meta(description="number of the revision that changes the image; 0 if nothing changed")]
    host_set: ImageHosts


def modify_phost_image_info(request: ModifyPHostImageInfo, call: Call) -> ModifyPHostImageInfoResponse:
    if request.name is None and request.remark is None:
        raise MissingParam("Name", detail="give Name, Remark or both; a blank value is an absent one")
    check_zone_allowed(zones_asked(request.region, request.zone, call.caller.tenant, call.view.topology()), call.caller.tenant)
    with call.service.change(call) as change:
        image = _custom_image(change.connection, request.image_id, call)
        name = image.name if request.name is None else request.name
        description = image.description if request.remark is None else request.remark
        IMAGES.put(change, replace(image, name=name, description=description))
    return ModifyPHostImageInfoResponse(image_id=request.image_id)


def update_phost_image(request: UpdatePHostImage, call: Call) -> UpdatePHostImageResponse:
    _check(request, call)
    with call.service.change(call) as change:
        image = _changeable(change.connection, request.image_id, call)
        after = _updated(image, request, call, change.connection)
        changed = tuple(_NAMES[field] for field in _NAMES if getattr(after, field) != getattr(image, field))
        hosts = hosts_of_image(change.connection, image.id, call)
        revision = change.number if not request.dry_run and IMAGES.put(change, after) else 0
    return UpdatePHostImageResponse(image_id=request.image_id, changed=changed, revision=revision, host_set=hosts)


_NAMES = {field.attribute: field.name for field in fields_of(UpdatePHostImage) if field.attribute in Image.__struct_fields__}
_NAMES |= {"zones": "Zone", "labels": "Label"}
"""The parameters by the fields of an image that they change."""


def _check(request: UpdatePHostImage, call: Call) -> None:
    """Raises RequestError for what needs no image to be refused."""
    if request.state is not None and tenant_of_call(call):
        raise NotPermitted(detail="State needs a key of an operator account: leave it out, or ask your operator")
    given = {name for name in request.__struct_fields__ if getattr(request, name) not in (None, ())} - {"image_id", "dry_run"}
    if not given:
        raise MissingParam("Name", detail="nothing to change: give Name, Description or another parameter")
    for cleared in request.clear:
        if cleared.value.lower() in given or (cleared is Clearable.LABEL and "remove_label" in given):
            raise UnavailableParam("Clear", detail=f"{cleared.value} is also given: leave one of the two out")
    if request.deprecated is not None and request.deprecation_time is not None:
        raise UnavailableParam("DeprecationTime", detail="give Deprecated or DeprecationTime, not both")
    for name in ("label", "remove_label"):
        for text in getattr(request, name):
            if not re.fullmatch(LABEL_KEY, text.partition("=")[0]) or ("=" in text) != (name == "label"):
                form = f"key=value, whose key is {LABEL_KEY_FORM}" if name == "label" else f"a key: {LABEL_KEY_FORM}"
                raise UnavailableParam("Label" if name == "label" else "RemoveLabel", detail=f"expected {form}")


def _changeable(connection: Connection, id: ImageId, call: Call) -> Image:
    """An image that the caller may change. Raises UnavailableParam like `_custom_image`."""
    if tenant_of_call(call):
        return _custom_image(connection, id, call)
    image = IMAGES.find(connection, id)
    if image is None:
        raise _unavailable(id)
    return image


def _custom_image(connection: Connection, id: ImageId, call: Call) -> Image:
    """A custom image of the project. Raises the same UnavailableParam for all others (wire-protocol B4)."""
    image = IMAGES.find(connection, id)
    if image is None or image.type is not ImageType.CUSTOM or image.project != call.project:
        raise _unavailable(id)
    return image


def _unavailable(id: ImageId) -> UnavailableParam:
    return UnavailableParam("ImageId", detail=f"there is no image {id} to change")


def _updated(image: Image, request: UpdatePHostImage, call: Call, connection: Connection) -> Image:
    """The image as requested. Raises RequestError for what does not fit the image."""
    values: dict[str, Any] = {
        name: value for name in ImageTexts.__struct_fields__ if (value := getattr(request, name)) is not None
    }
    values |= {field: "" for field in ImageTexts.__struct_fields__ if _NAMES[field] in request.clear}
    if request.zone or request.support:
        zones = request.zone or image.zones
        support = support_of(request.support, zones, call.view.topology())
        values |= {"zones": tuple(sorted(set(zones)))} | ({"support": support} if request.support else {})
        if tenant_of_call(call):
            check_zone_allowed(request.zone, call.caller.tenant)
    if Clearable.SUPPORT in request.clear:
        values["support"] = {}
    values["labels"] = _labels(image.labels, request)
    values |= _deprecation(image, request, int(call.time))
    values["successor"] = _successor(image, request, connection)
    if request.state is not None:
        values["state"] = _state(image, request.state, connection)
    return replace(image, **values)


def _labels(before: Mapping[str, str], request: UpdatePHostImage) -> dict[str, str]:
    removed = before if Clearable.LABEL in request.clear else request.remove_label
    return with_labels({key: value for key, value in before.items() if key not in removed}, request.label)


# docs/decisions.md#a-deprecation-with-a-date-is-a-revision
def _deprecation(image: Image, request: UpdatePHostImage, now: int) -> dict[str, Any]:
    if request.deprecation_time is not None:
        return {"deprecated": request.deprecation_time <= now, "deprecation_time": request.deprecation_time}
    if request.deprecated is None or (request.deprecated and image.deprecated):
        return {}
    return {"deprecated": request.deprecated, "deprecation_time": now if request.deprecated else 0}


def _successor(image: Image, request: UpdatePHostImage, connection: Connection) -> ImageId:
    """The image to use instead. It is visible to everyone who sees the image itself."""
    if Clearable.SUCCESSOR in request.clear:
        return ImageId("")
    if request.successor is None:
        return image.successor
    if request.successor == image.id:
        raise UnavailableParam("Successor", detail="an image cannot be its own successor: name another image")
    found = IMAGES.find(connection, request.successor)
    if found is None or (found.type is ImageType.CUSTOM and found.project != image.project):
        whose = "base image" if image.type is ImageType.BASE else "base image or custom image of its project"
        raise UnavailableParam("Successor", detail=f"there is no {whose} {request.successor}")
    return found.id


def _state(image: Image, wanted: SettableState, connection: Connection) -> State:
    content = IMAGE_BYTES.find(connection, image.id)
    if content is not None and not content.stored:
        why = "its publication failed" if content.failure else "it is being published"
        raise UnavailableParam("State", detail=f"{why}: an image has a state of its own once its bytes are stored")
    return State(wanted.value)


ACTIONS = (
    Action(
        ModifyPHostImageInfo,
        ModifyPHostImageInfoResponse,
        modify_phost_image_info,
        Right.CHANGE,
        project=True,
        changes=True,
        ucloud=True,
    ),
    Action(
        UpdatePHostImage,
        UpdatePHostImageResponse,
        update_phost_image,
        Right.CHANGE,
        project=True,
        any_project=True,
        changes=True,
    ),
)
