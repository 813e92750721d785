"""Who may put parts, and how many bytes: decided by whoever opens the door to this room."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from phimage.errors import PhimageError
from phimage.model.ids import JobId

Method = Literal["GET", "PUT"]


class UploadAccessRequest(Struct, frozen=True):
    """What is asked of an upload, and by whom. `query` is as it came; it holds the ticket and is never logged.

    Without `wait` the door must not wait for a database: it raises NotCached instead and is asked again in a thread.
    """

    job: JobId
    method: Method
    query: str
    address: str
    request_id: str
    wait: bool

    def __repr__(self) -> str:
        return f"Asked({self.method} {self.job} from {self.address}, {self.request_id})"


class Upload(Struct, frozen=True):
    """An upload that takes parts. All of them together have at most so many bytes."""

    job: JobId
    max_bytes: int


class Closed(PhimageError):
    """The job no longer takes parts, or never did. The text says why."""


class UploadAuthorizer(Protocol):
    """Lets requests in."""

    def open(self, asked: UploadAccessRequest) -> Upload:
        """The upload. Raises RequestError (a ticket that is expired, altered, or not for this job), Closed and NotCached.

        Called from the event loop without `wait`, and from several threads with it.
        """
        ...
