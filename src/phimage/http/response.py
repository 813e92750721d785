"""Responses with a real HTTP status, for the paths that carry bytes. The gateway answers every Action with 200 instead."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from phimage.errors import PhimageError

RETRY_SECONDS = 2
"""Retry-After of the statuses that pass."""
_PASSING = (429, 503)
_GZIP_REFUSED = re.compile(rb"\s*q=0(\.0*)?\s*")


# docs/decisions.md#no-web-framework-for-the-byte-paths
class JsonResponse(Struct, frozen=True):
    """A status, the fields of a JSON body, and header fields."""

    status: int
    fields: Mapping[str, object]
    headers: Mapping[str, str] = {}

    @property
    def body(self) -> bytes:
        """The fields as JSON."""
        return msgspec.json.encode(self.fields)


class HttpError(PhimageError):
    """Ends a request with a status. `message` names the problem, `detail` the remedy."""

    def __init__(
        self,
        http_status: int,
        message: str,
        detail: str = "",
        *,
        fields: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.http_status = http_status
        self.headers = dict(headers or {})
        self._fields = {"Message": message, "Detail": detail, **(fields or {})}
        super().__init__(message)

    def public_fields(self) -> Mapping[str, object]:
        """Message, detail and the given fields."""
        return self._fields


def error_response(error: PhimageError, fields: Mapping[str, object] | None = None) -> JsonResponse:
    """The response to a request that failed before a byte of its response was sent. `fields` are added to the error's own.

    Raises the error itself when it has no public fields: then it is a defect of the program.
    """
    public = error.public_fields()
    if not public:
        raise error
    headers = error.headers if isinstance(error, HttpError) else {}
    if error.http_status in _PASSING:
        headers = {**headers, "Retry-After": str(RETRY_SECONDS)}
    return JsonResponse(error.http_status, {**public, **(fields or {})}, headers)


def gzipped(content: bytes, accept_encoding: bytes) -> bytes | None:
    """The content as gzip, if the field Accept-Encoding asks for it. `gzip;q=0` refuses it."""
    for choice in accept_encoding.lower().split(b","):
        name, _, weight = choice.partition(b";")
        if name.strip() == b"gzip":
            return None if _GZIP_REFUSED.fullmatch(weight) else gzip.compress(content, 1, mtime=0)
    return None
