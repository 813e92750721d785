"""Download URLs: they need no signature and expire."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.images import ImageIdParam, visible_image
from phimage.actions.service import Call
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.explain import no_bytes
from phimage.model.image import Image, State
from phimage.model.image_bytes import ImageBytes

MAX_SECONDS = 7 * 24 * 3600


class GetPHostImageDownloadUrl(Struct, rename="pascal", frozen=True, kw_only=True):
    """Return download URLs of an image that need no signature. Anyone who has such a URL can download the image."""

    image_id: ImageIdParam
    seconds: Annotated[int, Meta(ge=1, le=MAX_SECONDS, description="seconds until the URLs expire")] = 3600


class GetPHostImageDownloadUrlResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """URLs of one disk in several forms. Revoking the key of the request invalidates them."""

    raw_url: Annotated[str, Meta(description="the raw disk; supports range requests")]
    zstd_url: Annotated[str, Meta(description="the raw disk as a zstd file")]
    qcow2_url: Annotated[str, Meta(description="the disk as qcow2")]
    sha256_url: Annotated[str, Meta(description="the SHA-256 of the raw disk, in the format of sha256sum")]
    manifest_url: Annotated[str, Meta(description="the manifest: every chunk with its SHA-256, and facts about the disk")]
    digest: Annotated[str, Meta(description="sha256:<hex> of the raw disk")]
    disk_size: Annotated[int, Meta(description="size of the raw disk in bytes")]
    expire_time: Annotated[int, Meta(description="when the URLs expire, Unix seconds")]


def get_phost_image_download_url(request: GetPHostImageDownloadUrl, call: Call) -> GetPHostImageDownloadUrlResponse:
    image_bytes = downloadable(visible_image(request.image_id, call), call)
    expires = int(call.time) + request.seconds

    def url(form: str) -> str:
        return call.service.download_url(image_bytes.image, form, call, expires)

    return GetPHostImageDownloadUrlResponse(
        raw_url=url(".raw"),
        zstd_url=url(".raw.zst"),
        qcow2_url=url(".qcow2"),
        sha256_url=url(".sha256"),
        manifest_url=url("/manifest"),
        digest=f"sha256:{image_bytes.sha256}",
        disk_size=image_bytes.size,
        expire_time=expires,
    )


def downloadable(image: Image, call: Call) -> ImageBytes:
    """The bytes of a downloadable image. Raises UnavailableParam for an image without bytes or in another state than Available;
    an operator account may download any state."""
    image_bytes = call.view.image_bytes_of(image.project).get(image.id)
    if image_bytes is None or not image_bytes.stored:
        raise UnavailableParam("ImageId", detail=no_bytes(image.type, image.state))
    if image.state is not State.AVAILABLE and not call.caller.account.operator:
        raise UnavailableParam("ImageId", detail=f"the image is {image.state.value} and cannot be downloaded")
    return image_bytes


ACTIONS = (
    Action(
        GetPHostImageDownloadUrl,
        GetPHostImageDownloadUrlResponse,
        get_phost_image_download_url,
        Right.READ,
        project=True,
        any_project=True,
    ),
)
