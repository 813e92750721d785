"""The bytes of an image: where they come from, and what they are once they are here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from phimage.model.ids import ImageId, ManifestDigest, ProjectId
from phimage.model.image import Image, State

GIB = 1 << 30


class ImageBytes(Struct, frozen=True):
    """The bytes of one image. Until they are whole and verified `manifest` is empty; then they never change.

    `project` is the image's. `source` is the URL that they come from, empty for an upload. `source_digest` is that of the
    original file (`sha256:<hex>`): before, what is expected of it, empty for trust on first use, and afterwards what it
    has; `digest_origin` tells people why that is believed. `overrides` are the findings that the operator took the blame
    for. `target_state` is the state that the image gets with its bytes, `failure` why it did not get them.

    `manifest` names the bytes in the store, `sha256` and `size` are those of the raw disk, in hexadecimal and in bytes;
    `published` is Unix seconds; `facts` is what is known of the disk, for everyone who may see the image. `findings` are what
    the inspection remarked, as `id: text`, for the operator.
    """

    image: ImageId
    project: ProjectId
    source: str = ""
    source_digest: str = ""
    digest_origin: str = ""
    format: str = ""
    overrides: tuple[str, ...] = ()
    target_state: State = State.AVAILABLE
    manifest: ManifestDigest = ManifestDigest("")
    sha256: str = ""
    size: int = 0
    published: int = 0
    failure: str = ""
    findings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = {}

    @property
    def stored(self) -> bool:
        """Whether the bytes are whole, verified and stored."""
        return bool(self.manifest)


def image_size(size: int) -> int:
    """ImageSize of a raw disk of so many bytes: GiB, rounded up (wire-protocol B12)."""
    return -(-size // GIB)


def in_target_state(image: Image, content: ImageBytes | None) -> Image:
    """The image as its publisher wants it: its bytes may still be on their way."""
    if content is None or content.stored:
        return image
    return replace(image, state=content.target_state)
