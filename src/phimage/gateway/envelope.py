"""The bytes of a response: one JSON object at HTTP 200 (wire-protocol 1.2)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from phimage.errors import RequestError
from phimage.model.ids import Revision


class RawResponse(Struct, frozen=True):
    """A response at HTTP 200. `revision` is the one that it reflects, None when no catalogue was read.

    `action` is empty for a request without a known Action.
    """

    body: bytes
    ret_code: int
    revision: Revision | None
    headers: dict[str, str] = {}
    action: str = ""


class Encoded(bytes):
    """A whole successful response, as JSON. It is the response to the same request until a revision touches its scopes, if it
    has some."""

    scopes: tuple[str, ...] = ()


_encoder = msgspec.json.Encoder(order=None)


def encoded(action: str, response: Struct, scopes: tuple[str, ...] = ()) -> Encoded:
    """An Action's response encoded in advance, so that it can be cached and is sent without a copy."""
    found = Encoded(success(action, response))
    found.scopes = scopes
    return found


def success(action: str, response: Struct | Encoded) -> bytes:
    """A successful response: RetCode 0, the Action's name with the suffix `Response`, then the response's own fields."""
    if isinstance(response, Encoded):
        return response
    fields = _encoder.encode(response)
    start = b'{"RetCode":0,"Action":"%sResponse"' % action.encode("ascii")
    return start + (b"}" if fields == b"{}" else b"," + fields[1:])


def failure(action: str, error: RequestError) -> bytes:
    """The response to a failed request. Clients ignore `Detail`, which is for people. An unknown Action is left out."""
    fields: dict[str, Any] = {"RetCode": error.ret_code}
    if action:
        fields["Action"] = f"{action}Response"
    fields["Message"] = error.message
    if error.detail:
        # docs/decisions.md#messages-stay-details-explain
        fields["Detail"] = error.detail
    fields.update(error.fields)
    return _encoder.encode(fields)
