"""Refusals with a real HTTP status, for the paths that carry bytes: these are not the gateway, whose every answer is a 200."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from phimage.errors import (
    AddressRefused,
    MissingAction,
    MissingSignature,
    NotPermitted,
    RateLimited,
    RequestError,
    ServiceUnavailable,
    TooLargeParam,
    UnavailableParam,
    UnknownProject,
    UnknownToken,
    UnknownUser,
    WrongSignature,
    ZoneRefused,
)

_STATUS: dict[type[RequestError], int] = {
    MissingAction: 401,
    MissingSignature: 401,
    WrongSignature: 401,
    UnknownUser: 401,
    UnknownToken: 401,
    NotPermitted: 403,
    AddressRefused: 403,
    ZoneRefused: 403,
    UnknownProject: 404,
    TooLargeParam: 413,
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
    detail: str = "",
    fields: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An answer that says what is wrong."""
    return Answer(status, {"Message": message, "Detail": detail, **(fields or {})}, headers or {})


def again_later(message: str, detail: str, fields: Mapping[str, object] | None = None, status: int = 503) -> Answer:
    """An answer for what passes."""
    return refusal(status, message, detail, fields, {"Retry-After": _AGAIN_SECONDS})


def of_request_error(error: RequestError, fields: Mapping[str, object] | None = None) -> Answer:
    """The answer to a request that was not let in. `fields` say what it was about."""
    about = {**(fields or {}), **error.fields}
    status = _STATUS.get(type(error), 400)
    if "Reason" in error.fields:
        status = 401  # a ticket is no good; another one may be
    elif isinstance(error, UnavailableParam) and error.message == UnavailableParam("ImageId").message:
        status = 404
    if status in (429, 503):
        return again_later(error.message, error.detail, about, status)
    return refusal(status, error.message, error.detail, about)
