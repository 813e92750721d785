"""Tickets: permission to download one image or send one upload until a time, in the query of a URL. The server stores none.

An HMAC covers the purpose, the subject and every field, so a ticket is valid for nothing else.
"""

from __future__ import annotations

import hmac
from typing import Literal
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Struct

from phimage.errors import NotPermitted
from phimage.model.ids import ProjectId, PublicKey

Purpose = Literal["download", "upload"]
Reason = Literal["expired", "altered", "malformed"]

_FIELDS = ("Expires", "ProjectId", "PublicKey", "Ticket")
_MAX_CHARACTERS = 2048
_MAX_FIELDS = 32


class Ticket(Struct, frozen=True):
    """A valid ticket: the key that requested it, the project, the expiry in Unix seconds, and the HMAC over all fields."""

    public_key: PublicKey
    project: ProjectId
    expires: int
    signed: str


# docs/decisions.md#tickets-are-hmacs
def make_ticket(secret: bytes, purpose: Purpose, subject: str, public_key: PublicKey, project: ProjectId, expires: int) -> str:
    """The query of a URL. `subject` is an image id for a download, a job id for an upload."""
    signed = _mac(secret, purpose, subject, str(expires), project, public_key)
    return urlencode({"Expires": expires, "ProjectId": project, "PublicKey": public_key, "Ticket": signed})


def read_ticket(secret: bytes, purpose: Purpose, subject: str, query: str, now: float) -> Ticket:
    """The ticket in a query. Raises NotPermitted whose field `Reason` is `expired`, `altered` or `malformed`, with status 401:
    another ticket may be valid."""
    fields = _read_fields(query)
    expected = _mac(secret, purpose, subject, fields["Expires"], fields["ProjectId"], fields["PublicKey"])
    if not hmac.compare_digest(expected.encode("ascii"), fields["Ticket"].encode("utf-8", "surrogatepass")):
        raise _refused("altered", "the URL was changed, or is for something else; request a new one")
    expires = int(fields["Expires"])
    if now >= expires:
        raise _refused("expired", "the URL has expired; request a new one")
    return Ticket(PublicKey(fields["PublicKey"]), ProjectId(fields["ProjectId"]), expires, expected)


def _read_fields(query: str) -> dict[str, str]:
    """The fields of a ticket, each exactly once. Other fields are ignored."""
    try:
        if len(query) > _MAX_CHARACTERS:
            raise ValueError
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        pairs = []
    present = [(name, value) for name, value in pairs if name in _FIELDS]
    if sorted(name for name, _ in present) != sorted(_FIELDS):
        raise _refused("malformed", f"the URL must have each of {', '.join(_FIELDS)} once; use it exactly as it was given")
    return dict(present)


def _mac(secret: bytes, purpose: Purpose, subject: str, expires: str, project: str, public_key: str) -> str:
    # JSON separates the fields unambiguously
    message = msgspec.json.encode(["phimage-ticket-1", purpose, subject, expires, project, public_key])
    return hmac.new(secret, message, "sha256").hexdigest()


def _refused(reason: Reason, detail: str) -> NotPermitted:
    return NotPermitted(detail=detail, fields={"Reason": reason}, http_status=401)
