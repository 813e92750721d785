"""Restoring withdrawn images, as long as garbage collection has not removed their bytes."""

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
    """Restore a withdrawn or terminated image to its last state, if its bytes are still in the store."""

    image_id: ImageIdParam


class RestorePHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The restored image."""

    image_id: Annotated[str, Meta(description="image id")]
    revision: Annotated[int, Meta(description="the revision that restored it")]


class RefreshedManifests(Struct, frozen=True):
    """The store has all bytes of the `stored` manifests and keeps them until `register_before` (Unix seconds), even during a
    garbage collection. The other `requested` manifests are not in the store."""

    requested: frozenset[ManifestDigest]
    stored: frozenset[ManifestDigest]
    register_before: float

    def has(self, manifest: ManifestDigest) -> bool:
        """Whether the store has the bytes. Raises ServiceUnavailable for a manifest that was not requested."""
        if manifest not in self.requested:
            raise ServiceUnavailable(detail="an image was withdrawn during this request; nothing was changed, try again")
        return manifest in self.stored

    def check(self, now: float) -> None:
        """Raises ServiceUnavailable after `register_before`. Call it in the change that registers the manifests."""
        if now > self.register_before:
            raise ServiceUnavailable(detail="the bytes to restore were checked too long ago; nothing was changed, try again")


def refresh(service: Service, manifests: Iterable[ManifestDigest]) -> RefreshedManifests:
    """Refresh the bytes of manifests that no image references, so that an image can reference them again.

    The order is that of `gc_guard.renew`, which is safe beside a garbage collection: refresh first, then register. Raises
    ServiceUnavailable when the store does not answer.
    """
    requested, stored, register_before = frozenset(manifests), set(), math.inf
    for digest in sorted(requested):
        try:
            _, before = renew(service.store, digest, service.now)
        except BadManifest:
            continue
        except StoreFailure as failure:
            raise ServiceUnavailable(detail=str(failure)) from failure
        stored.add(digest)
        register_before = min(register_before, before)
    return RefreshedManifests(requested, frozenset(stored), register_before)


def is_stored(service: Service, manifest: ManifestDigest) -> bool:
    """Whether a manifest is in the store; garbage collection removes it before its chunks. Raises ServiceUnavailable."""
    try:
        return service.store.find(manifest_name(manifest)) is not None
    except StoreFailure as failure:
        raise ServiceUnavailable(detail=str(failure)) from failure


def restore_phost_image(request: RestorePHostImage, call: Call) -> RestorePHostImageResponse:
    with call.service.catalog.database.read() as connection:
        _, image_bytes = _withdrawn(connection, request.image_id)
    refreshed = refresh(call.service, [image_bytes.manifest] if image_bytes else [])
    with call.service.change(call) as change:
        image, image_bytes = _withdrawn(change.connection, request.image_id)
        if image_bytes is not None and not refreshed.has(image_bytes.manifest):
            raise _refused(f"garbage collection removed the bytes of {image.id}: publish them again as a new image")
        _check_places(change, image)
        refreshed.check(call.service.now())
        IMAGES.add_all(change, [image])
        restore_image_bytes(change, [image_bytes] if image_bytes else [])
    return RestorePHostImageResponse(image_id=image.id, revision=change.number)


def _withdrawn(connection: Connection, id: ImageId) -> tuple[Image, ImageBytes | None]:
    """The last state of a withdrawn image and of its bytes. Raises UnavailableParam when there is nothing to restore."""
    image = last_images(connection, [id]).get(id)
    if image is None:
        raise _refused(f"there was never an image {id}")
    if IMAGES.find(connection, id) is not None:
        raise _refused(f"{id} is not withdrawn: it is {image.state.value}")
    image_bytes = last_image_bytes(connection, [id]).get(id)
    if image_bytes is not None and not image_bytes.stored:
        raise _refused(f"{id} was withdrawn before it was published: publish it again as a new image")
    return image, image_bytes


def _check_places(change: Change, image: Image) -> None:
    """Raises UnavailableParam when the project or a zone of the image no longer exists."""
    if image.project and PROJECTS.find(change.connection, image.project) is None:
        raise _refused(f"its project {image.project} was removed; images cannot be restored without their project")
    missing = [zone for zone in image.zones if ZONES.find(change.connection, zone) is None]
    if missing:
        raise _refused(f"its zone {', '.join(missing)} was withdrawn: first apply a catalogue file that has it")


def _refused(detail: str) -> UnavailableParam:
    return UnavailableParam("ImageId", detail=detail)


ACTIONS = (Action(RestorePHostImage, RestorePHostImageResponse, restore_phost_image, Right.OPERATE, changes=True),)
