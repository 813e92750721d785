"""Why an image's bytes cannot be had, besides the errors of requests and of chunks.

PhimageError
├── NotPublished        the image is there, its bytes are not
├── Purged              the image was, and its bytes are gone for good
└── StoreFailure
    └── PutAgain        a chunk was put anew while a disk was handed out, and its frame is another one
"""

from __future__ import annotations

from phimage.chunks.errors import StoreFailure
from phimage.chunks.layout import ManifestDigest
from phimage.errors import PhimageError
from phimage.model.ids import ImageId


class NotPublished(PhimageError):
    """The image has no bytes that can be handed out now. `state` says why."""

    def __init__(self, image: ImageId, state: str) -> None:
        self.image = image
        self.state = state
        super().__init__(f"image {image} has no bytes to download: it is {state}")


class Purged(PhimageError):
    """The image was withdrawn. Its bytes do not come back."""

    def __init__(self, image: ImageId) -> None:
        self.image = image
        super().__init__(f"image {image} was withdrawn")


class PutAgain(StoreFailure):
    """A chunk was put anew, after a scrub perhaps, and its frame has another length. Asking again helps."""

    def __init__(self, manifest: ManifestDigest, name: str) -> None:
        self.manifest = manifest
        super().__init__("get", name, "busy", "it was put again meanwhile", passing=True)
