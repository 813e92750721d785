"""What is answered when there are no bytes to send, and the HTTP status of everything that can go wrong."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from phimage.chunks.errors import BadChunk, BadManifest, StoreFailure
from phimage.delivery.errors import NotPublished, Purged
from phimage.errors import (
    AddressRefused,
    MissingAction,
    MissingSignature,
    NotPermitted,
    PhimageError,
    RateLimited,
    RequestError,
    ServiceUnavailable,
    UnavailableParam,
    UnknownProject,
    UnknownToken,
    UnknownUser,
    WrongSignature,
    ZoneRefused,
)
from phimage.model.ids import ImageId

_STATUS: dict[type[RequestError], int] = {
    MissingAction: 401,
    MissingSignature: 401,
    WrongSignature: 401,
    UnknownUser: 401,
    UnknownToken: 401,
    ZoneRefused: 403,
    AddressRefused: 403,
    NotPermitted: 403,
    UnknownProject: 404,
    RateLimited: 429,
    ServiceUnavailable: 503,
}
_AGAIN_SECONDS = "2"


class Answer(Struct, frozen=True):
    """A status, the fields of the JSON body, and more header fields."""

    status: int
    fields: Mapping[str, object]
    headers: Mapping[str, str] = {}

    @property
    def body(self) -> bytes:
        """The body."""
        return msgspec.json.encode(self.fields)


def refusal(
    status: int,
    message: str,
    detail: str,
    fields: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An answer that says what is wrong."""
    return Answer(status, {"Message": message, "Detail": detail, **(fields or {})}, headers or {})


def again_later(message: str, detail: str, image: ImageId, status: int = 503) -> Answer:
    """An answer for what passes."""
    return refusal(status, message, detail, {"ImageId": image}, {"Retry-After": _AGAIN_SECONDS})


def of_error(error: PhimageError, image: ImageId) -> Answer:
    """The answer to a request for an image's bytes that went wrong before the first byte."""
    about = {"ImageId": image}
    match error:
        case RequestError():
            return _of_request_error(error, image)
        case NotPublished():
            detail = f"it is {error.state}; ask again when it is Available"
            return refusal(409, "Image not published", detail, {**about, "State": error.state})
        case Purged():
            return refusal(410, "Image withdrawn", "its bytes do not come back; choose another image", about)
        case BadChunk():
            detail = f"chunk {error.index} at offset {error.offset} is {error.kind}; tell the operator to verify the image"
            place = {"Chunk": error.chunk, "Index": error.index, "Offset": error.offset}
            return refusal(500, "Image damaged", detail, {**about, **place})
        case BadManifest():
            detail = "its manifest cannot be used; tell the operator to verify the image"
            return refusal(500, "Image damaged", detail, {**about, "Manifest": error.digest})
        case StoreFailure() if error.passing:
            return again_later("Store unavailable", "the store did not answer; ask again", image)
        case StoreFailure():
            return refusal(500, "Store failed", f"the store failed: {error.reason}; tell the operator", about)
        case _:
            raise error


def _of_request_error(error: RequestError, image: ImageId) -> Answer:
    fields = {"ImageId": image, **error.fields}
    if isinstance(error, UnavailableParam) and error.message == UnavailableParam("ImageId").message:
        return refusal(404, error.message, error.detail, fields)
    status = _STATUS.get(type(error), 400)
    if status in (429, 503):
        return again_later(error.message, error.detail, image, status)
    return refusal(status, error.message, error.detail, fields)
