"""Where the bytes of an image can be had: addresses that work for a while and need no signature."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.images import ImageIdParam, visible_image
from phimage.actions.service import Call
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.image import Image, State
from phimage.model.image_bytes import ImageBytes

LONGEST_SECONDS = 7 * 24 * 3600


class GetPHostImageDownloadUrl(Struct, rename="pascal", frozen=True, kw_only=True):
    """Give addresses for the bytes of an image, for a provisioner that cannot sign. Who has one can download the image."""

    image_id: ImageIdParam
    seconds: Annotated[int, Meta(ge=1, le=LONGEST_SECONDS, description="how long they work, 7 days at most")] = 3600


class GetPHostImageDownloadUrlResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """Addresses of one disk in several forms. They stop working when the key that asked is revoked."""

    raw_url: Annotated[str, Meta(description="the raw disk; ranges can be asked for")]
    zstd_url: Annotated[str, Meta(description="the raw disk as a zstd file")]
    qcow2_url: Annotated[str, Meta(description="the disk as qcow2, for qemu and tools that want one")]
    sha256_url: Annotated[str, Meta(description="the SHA-256 of the raw disk, as sha256sum writes it")]
    manifest_url: Annotated[str, Meta(description="the manifest: every chunk with its SHA-256, and what is known of the disk")]
    digest: Annotated[str, Meta(description="sha256:<hex> of the raw disk")]
    disk_size: Annotated[int, Meta(description="bytes of the raw disk")]
    expire_time: Annotated[int, Meta(description="until when the addresses work, Unix seconds")]


def get_phost_image_download_url(request: GetPHostImageDownloadUrl, call: Call) -> GetPHostImageDownloadUrlResponse:
    content = downloadable(visible_image(request.image_id, call), call)
    expires = int(call.time) + request.seconds

    def url(form: str) -> str:
        return call.service.download_url(content.image, form, call, expires)

    return GetPHostImageDownloadUrlResponse(
        raw_url=url(".raw"),
        zstd_url=url(".raw.zst"),
        qcow2_url=url(".qcow2"),
        sha256_url=url(".sha256"),
        manifest_url=url("/manifest"),
        digest=f"sha256:{content.sha256}",
        disk_size=content.size,
        expire_time=expires,
    )


def downloadable(image: Image, call: Call) -> ImageBytes:
    """The bytes of an image that may be handed out. Raises UnavailableParam when there are none, or not for this caller."""
    content = call.view.image_bytes_of(image.project).get(image.id)
    if content is None or not content.stored:
        raise UnavailableParam("ImageId", detail=f"the image has no bytes to download; it is {image.state.value}")
    if image.state is not State.AVAILABLE and not call.caller.account.operator:
        raise UnavailableParam("ImageId", detail=f"the image is {image.state.value}")
    return content


ACTIONS = (
    Action(GetPHostImageDownloadUrl, GetPHostImageDownloadUrlResponse, get_phost_image_download_url, Right.READ, project=True),
)
