"""The answer: one JSON object at HTTP 200 (wire-protocol 1.2)."""

from __future__ import annotations

from typing import Any

import msgspec

from phimage.errors import RequestError


class Encoded(bytes):
    """The fields of an answer, as JSON."""


_encoder = msgspec.json.Encoder(order=None)


def encoded(answer: msgspec.Struct) -> Encoded:
    """An answer encoded ahead, so that it can be remembered and sent again."""
    return Encoded(_encoder.encode(answer))


def success(action: str, answer: msgspec.Struct | Encoded) -> bytes:
    """The bytes of a good answer: RetCode 0, the Action's name with `Response`, then the answer's own fields."""
    fields = answer if isinstance(answer, bytes) else _encoder.encode(answer)
    start = b'{"RetCode":0,"Action":"%sResponse"' % action.encode("ascii")
    return start + (b"}" if fields == b"{}" else b"," + fields[1:])


def failure(action: str, error: RequestError) -> bytes:
    """The bytes of an error. `Detail` helps a person; clients ignore it. No Action is named before it is known."""
    fields: dict[str, Any] = {"RetCode": error.ret_code}
    if action:
        fields["Action"] = f"{action}Response"
    fields["Message"] = error.message
    if error.detail:
        fields["Detail"] = error.detail
    fields.update(error.fields)
    return _encoder.encode(fields)
