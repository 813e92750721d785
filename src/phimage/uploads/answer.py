"""What is answered, and the HTTP status of everything that can go wrong."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from phimage.chunks.errors import StoreFailure
from phimage.errors import (
    AddressRefused,
    MissingSignature,
    NotPermitted,
    RateLimited,
    RequestError,
    ServiceUnavailable,
    TooLargeParam,
    UnknownProject,
    UnknownToken,
    UnknownUser,
    WrongSignature,
    ZoneRefused,
)

_STATUS: dict[type[RequestError], int] = {
    MissingSignature: 401,
    WrongSignature: 401,
    UnknownUser: 401,
    UnknownToken: 401,
    NotPermitted: 403,
    AddressRefused: 403,
    UnknownProject: 403,
    ZoneRefused: 403,
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


class Refused(Exception):
    """Not an error of ours: the request gets this answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer.status)


def refusal(status: int, message: str, detail: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """An answer that says what is wrong."""
    return Answer(status, {"Message": message, "Detail": detail}, headers or {})


def again_later(message: str, detail: str, status: int = 503) -> Answer:
    """An answer for what passes."""
    return refusal(status, message, detail, {"Retry-After": _AGAIN_SECONDS})


def of_request_error(error: RequestError) -> Answer:
    """The answer to a request that was not let in."""
    status = 401 if "Reason" in error.fields else _STATUS.get(type(error), 400)  # a ticket's: another one may be good
    if status in (429, 503):
        return again_later(error.message, error.detail, status)
    return refusal(status, error.message, error.detail)


def of_store_failure(failure: StoreFailure) -> Answer:
    """The answer when the store did not take or give something. What is wrong inside is for the log."""
    if failure.reason == "no space":
        return refusal(507, "No space", "the store is full; ask its operator, then send the part again")
    if failure.passing:
        return again_later("Store unavailable", "the store did not answer; send the part again")
    return refusal(500, "Store failed", f"the store failed: {failure.reason}; ask its operator")
