"""Who may download an image: the protocol of an authorizer, and its errors besides RequestError.

PhimageError
├── NotPublished        the image exists, its bytes do not yet
└── Purged              the image was withdrawn, its bytes are gone for good
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

from phimage.errors import PhimageError
from phimage.model.ids import ImageId
from phimage.model.image_bytes import ImageBytes

Method = Literal["GET", "HEAD"]


class DownloadAccessRequest(Struct, frozen=True):
    """A request to download an image. `query` is as received; it may hold a ticket or a signature and is never logged.

    Without `wait` the authorizer must not block: it raises NotCached instead and is called again in a thread.
    """

    image: ImageId
    method: Method
    path: str
    query: str
    address: str
    request_id: str
    wait: bool

    def __repr__(self) -> str:
        return f"DownloadAccessRequest({self.method} {self.path} from {self.address}, {self.request_id})"


class DownloadGrant(Struct, frozen=True):
    """A permitted download. `holder` is the project that it is for, or the account; `permit` the ticket or the signature."""

    image_bytes: ImageBytes
    account: str
    holder: str
    permit: str

    def __repr__(self) -> str:
        return f"DownloadGrant({self.image_bytes.image} for {self.holder})"


class DownloadAuthorizer(Protocol):
    """Decides who may download an image."""

    def authorize(self, request: DownloadAccessRequest) -> DownloadGrant:
        """The download of the image's bytes. Raises RequestError, NotPublished, Purged and NotCached.

        Called on the event loop without `wait`, and from several threads with it.
        """
        ...


class NotPublished(PhimageError):
    """The image has no bytes to download. `state` is the reason, unless `detail` is another one."""

    http_status = 409

    def __init__(self, image: ImageId, state: str, detail: str = "") -> None:
        self.image = image
        self.state = state
        self.detail = detail or f"it is {state}; ask again when it is Available"
        super().__init__(f"image {image} has no bytes to download: it is {state}")

    def public_fields(self) -> Mapping[str, object]:
        """The state, and a remedy."""
        return {"Message": "Image not published", "Detail": self.detail, "State": self.state}


class Purged(PhimageError):
    """The image was withdrawn. Its bytes do not come back."""

    http_status = 410

    def __init__(self, image: ImageId) -> None:
        self.image = image
        super().__init__(f"image {image} was withdrawn")

    def public_fields(self) -> Mapping[str, object]:
        """A remedy."""
        return {"Message": "Image withdrawn", "Detail": "its bytes do not come back; choose another image"}
