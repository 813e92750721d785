"""Who may have an image's bytes: decided by whoever opens the door to this room."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from phimage.model.ids import ImageId
from phimage.model.image_bytes import ImageBytes

Method = Literal["GET", "HEAD"]


class DownloadAccessRequest(Struct, frozen=True):
    """What is asked for, and by whom. `query` is as it came; it may hold a ticket or a signature and is never logged.

    Without `wait` the door must not wait for a database: it raises NotCached instead and is asked again in a thread.
    """

    image: ImageId
    method: Method
    path: str
    query: str
    address: str
    request_id: str
    wait: bool

    def __repr__(self) -> str:
        return f"Asked({self.method} {self.path} from {self.address}, {self.request_id})"


class DownloadAuthorizer(Protocol):
    """Lets requests in."""

    def open(self, asked: DownloadAccessRequest) -> ImageBytes:
        """What the image's bytes are. Raises RequestError, NotPublished, Purged and NotCached.

        Called from the event loop without `wait`, and from several threads with it.
        """
        ...
