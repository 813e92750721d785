"""Bringing back images that were withdrawn, as long as no collection has removed their bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.images import ImageIdParam
from phimage.actions.service import Call, Service
from phimage.catalog.accounts import PROJECTS
from phimage.catalog.engine import Connection
from phimage.catalog.image_bytes import last_image_bytes, restore_image_bytes
from phimage.catalog.images import IMAGES, last_images
from phimage.catalog.places import ZONES
from phimage.catalog.revisions import Change
from phimage.chunks.errors import BadManifest, StoreFailure
from phimage.chunks.gc_guard import renew
from phimage.chunks.layout import ManifestDigest, manifest_name
from phimage.errors import ServiceUnavailable, UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ImageId
from phimage.model.image import Image
from phimage.model.image_bytes import ImageBytes


class RestorePHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """Bring back an image that was withdrawn or terminated, as it was, while its bytes are still in the store."""

    image_id: ImageIdParam


class RestorePHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The image that is back."""

    image_id: Annotated[str, Meta(description="image id")]
    revision: Annotated[int, Meta(description="the revision that brought it back")]


class Held(Struct, frozen=True):
    """Of the `asked` manifests, the store has all bytes of the `stored` ones, and keeps them until `register_before`, even if a
    collection is under way."""

    asked: frozenset[str]
    stored: frozenset[str]
    register_before: float

    def has(self, manifest: str) -> bool:
        """Whether the store has the bytes. Raises ServiceUnavailable for a manifest that was not asked for."""
        if manifest not in self.asked:
            raise ServiceUnavailable(detail="an image was withdrawn meanwhile; nothing was changed, try again")
        return manifest in self.stored

    def check(self, now: float) -> None:
        """Called inside the change that registers the manifests. Raises ServiceUnavailable when it comes too late."""
        if now > self.register_before:
            raise ServiceUnavailable(detail="the bytes to restore were checked too long ago; nothing was changed, try again")


def hold(service: Service, manifests: Iterable[str]) -> Held:
    """Refresh the bytes of manifests that no image needs now, so that images can need them again. Missing ones are left out.

    This is `renew`, the protocol that `chunks.collect` proves safe beside a collection: refresh first, register afterwards.
    Raises ServiceUnavailable when the store does not answer.
    """
    asked, stored, register_before = frozenset(manifests), set(), math.inf
    for digest in sorted(asked):
        try:
            _, before = renew(service.store, ManifestDigest(digest), service.now)
        except BadManifest:
            continue
        except StoreFailure as failure:
            raise ServiceUnavailable(detail=str(failure)) from failure
        stored.add(digest)
        register_before = min(register_before, before)
    return Held(asked, frozenset(stored), register_before)


def is_stored(service: Service, manifest: str) -> bool:
    """Whether a manifest is in the store; a collection removes it before any of its chunks. Raises ServiceUnavailable."""
    try:
        return service.store.find(manifest_name(ManifestDigest(manifest))) is not None
    except StoreFailure as failure:
        raise ServiceUnavailable(detail=str(failure)) from failure


def restore_phost_image(request: RestorePHostImage, call: Call) -> RestorePHostImageResponse:
    with call.service.catalog.database.read() as connection:
        _, content = _withdrawn(connection, request.image_id)
    held = hold(call.service, [content.manifest] if content else [])
    with call.service.change(call) as change:
        image, content = _withdrawn(change.connection, request.image_id)
        if content is not None and not held.has(content.manifest):
            raise _refused(f"the bytes of {image.id} were collected: publish them again, as a new image")
        _check_places(change, image)
        held.check(call.service.now())
        IMAGES.add_all(change, [image])
        restore_image_bytes(change, [content] if content else [])
    return RestorePHostImageResponse(image_id=image.id, revision=change.number)


def _withdrawn(connection: Connection, id: ImageId) -> tuple[Image, ImageBytes | None]:
    """An image and its bytes as they were when it was withdrawn. Raises UnavailableParam when there is nothing to restore."""
    image = last_images(connection, [id]).get(id)
    if image is None:
        raise _refused(f"there never was an image {id}")
    if IMAGES.find(connection, id) is not None:
        raise _refused(f"{id} is not withdrawn: it is {image.state.value}")
    content = last_image_bytes(connection, [id]).get(id)
    if content is not None and not content.stored:
        raise _refused(f"{id} was withdrawn before its bytes were whole: publish them again, as a new image")
    return image, content


def _check_places(change: Change, image: Image) -> None:
    """Raises UnavailableParam when what the image belongs to was withdrawn, too."""
    if image.project and PROJECTS.find(change.connection, image.project) is None:
        raise _refused(f"its project {image.project} was removed")
    gone = [zone for zone in image.zones if ZONES.find(change.connection, zone) is None]
    if gone:
        raise _refused(f"it is placed in {', '.join(gone)}, withdrawn since: apply a catalogue file with that zone first")


def _refused(detail: str) -> UnavailableParam:
    return UnavailableParam("ImageId", detail=detail)


ACTIONS = (Action(RestorePHostImage, RestorePHostImageResponse, restore_phost_image, Right.OPERATE, changes=True),)
