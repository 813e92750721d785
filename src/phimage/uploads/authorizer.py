"""Who may upload parts, and how many bytes: the protocol of an authorizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from phimage.errors import PhimageError
from phimage.model.ids import AccountId, JobId, ManifestDigest, ProjectId
from phimage.model.image import NO_PROJECT

Method = Literal["GET", "PUT", "POST"]


class UploadAccessRequest(Struct, frozen=True):
    """A request to an upload. `query` is as received; it holds the ticket and is never logged.

    Without `wait` the authorizer must not block: it raises NotCached instead and is called again in a thread.
    """

    job: JobId
    method: Method
    query: str
    address: str
    request_id: str
    wait: bool

    def __repr__(self) -> str:
        return f"UploadAccessRequest({self.method} {self.job} from {self.address}, {self.request_id})"


class Upload(Struct, frozen=True):
    """An upload that accepts parts or chunks, of at most `max_bytes` together.

    `holder` is the project that it is for, or the account; `account` that of the ticket; `project` that of the image,
    NO_PROJECT for a base image.
    """

    job: JobId
    max_bytes: int
    holder: str
    account: AccountId
    project: ProjectId = NO_PROJECT


class UploadClosed(PhimageError):
    """The job accepts no parts. The text is the reason."""

    http_status = 409

    def public_fields(self) -> Mapping[str, object]:
        """The reason."""
        return {"Message": "Upload closed", "Detail": str(self)}


class UploadAuthorizer(Protocol):
    """Decides who may upload."""

    def authorize(self, request: UploadAccessRequest) -> Upload:
        """The upload. Raises RequestError (a ticket that is expired, altered or for another job), UploadClosed and NotCached.

        Called on the event loop without `wait`, and from several threads with it.
        """
        ...

    def manifests(self, upload: Upload) -> Sequence[ManifestDigest]:
        """The disks whose chunks an upload may rely on: those of base images and of its project's images, in the zones of its
        account.

        The likeliest come first: the one that a captured host was installed with, then the newest.

        Called in a thread.
        """
        ...
