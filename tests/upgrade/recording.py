"""Recorded requests: sending one, what is kept of its response, and the comparison of two responses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from tests.api.gateway import REVISION, Gateway
from tests.delivering import Answered

NEWER = "x-phimage-newer"

VOLATILE = frozenset({"ExpireTime", "UploadUrl", "DaySet", "Store"})
"""Fields whose value depends on the time of the request, or on the folder. A mask takes their place."""
AGES = frozenset({"Age"})
"""Seconds until the request, which may be none. A mask takes their place."""
FOLLOWED = frozenset({"RawUrl", "ZstdUrl", "Qcow2Url", "Sha256Url", "ManifestUrl"})
"""Download URLs. They depend on the time too, so the status and SHA-256 of each download take their place."""
PROSE = frozenset({"Detail", "Error", "Reason", "Remedy", "Notes", "Mistakes", "Errors"})
"""Sentences for people, which a release may reword; masked. `Message` is compared, because programs compare it."""
GROWING = frozenset({"ReasonSet", "Notes"})
"""Lists of an explanation, to which a release may add at the end: it explains more. `Listed` is compared beside them."""
MAPS = frozenset({"Roles", "Members"})
"""Objects whose keys are data, so that an additional key is a change."""
RENAMED: Mapping[str, str] = {"Whose": "Project", "Most": "Limit", "Mistakes": "Errors"}
"""Fields of phimage's own Actions that a later release renamed: old name to new name. UCloud's fields keep theirs."""
RENAMED_VALUES = frozenset(
    {("Roles", "operator", "editor"), ("Members", "operator", "editor"), ("Noun", "content", "image_bytes")}
)
"""Values of such fields that a later release renamed: the field, or the object that holds it, and its old and new value."""

SHOWN_TO_OPERATORS = frozenset({"GetPHostImage", "GetPHostImageDownloadUrl"})
"""Actions that a later release answers to operators for images of all projects, where it said that there is none."""

IMAGES_ALONE = "ChangeSet"
"""The change feed. An earlier release put changes of quotas into it, with a project in place of an image; later ones do not."""

_HEADERS = ("etag", "content-length", "content-range", "content-type")
_BYTES = ("/images/", "/uploads/")


class RecordedRequest(Struct, frozen=True, rename="pascal"):
    """A request as it goes over the wire, and the client's address."""

    name: str
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: str
    client: str


Response = dict[str, Any]
"""The compared parts of a response, as JSON."""


def send(gateway: Gateway, request: RecordedRequest) -> Response:
    """Send a request. Returns its masked response."""
    if request.path.startswith(_BYTES):
        return _fetch(gateway, request)
    body = request.body.encode()
    reply = gateway.send(request.method, request.path, request.query, request.headers, body, client=request.client)
    return {
        "Status": reply.status,
        "Revision": reply.headers.get(REVISION),
        "Newer": reply.headers.get(NEWER),
        "Fields": _masked(gateway, json.loads(reply.body), request.client),
    }


def _fetch(gateway: Gateway, request: RecordedRequest) -> Response:
    url = f"{request.path}?{request.query}"
    answered = gateway.fetch(request.method, url, request.headers, request.body.encode(), client=request.client)
    if answered.status >= 400 or request.path.startswith("/uploads/"):
        return {"Status": answered.status, "Fields": _masked(gateway, json.loads(answered.body), request.client)}
    headers = {name: answered.headers[name] for name in _HEADERS if name in answered.headers}
    return {**_digested(answered), "Headers": headers}


def _digested(answered: Answered) -> Response:
    return {"Status": answered.status, "Whole": answered.whole, "Sha256": hashlib.sha256(answered.body).hexdigest()}


def _masked(gateway: Gateway, value: Any, client: str, name: str = "") -> Any:
    if name in FOLLOWED and isinstance(value, str):
        return _digested(gateway.fetch("GET", value, client=client))
    if name in AGES or (value and name in VOLATILE | PROSE):
        return f"({type(value).__name__})"
    if isinstance(value, list):
        return [_masked(gateway, item, client) for item in value]
    if isinstance(value, dict):
        return {field: _masked(gateway, inner, client, field) for field, inner in value.items()}
    return value


def is_shown_now(name: str, then: Response, now: Response) -> bool:
    """Whether a request, by its name, is one of an operator that a later release answers."""
    words = name.split()
    codes = then["Fields"].get("RetCode"), now["Fields"].get("RetCode")
    return "operator:" in words and not SHOWN_TO_OPERATORS.isdisjoint(words) and codes == (230, 0)


def differences(then: Any, now: Any, place: str = "", renamed: Mapping[str, str] = RENAMED) -> Iterator[str]:
    """Where a response differs from an earlier one.

    An object may have gained fields, a list of an explanation elements at its end; everything else must be equal.
    """
    if place.rpartition(".")[2] in GROWING:
        if then == []:
            return
        now = now[: len(then)]
    if type(then) is not type(now):
        yield f"{place}: was {then!r}, is {now!r}"
    elif isinstance(then, dict):
        for old, value in then.items():
            name = renamed.get(old, old)
            if name in now:
                yield from differences(value, now[name], f"{place}.{name}", renamed)
            else:
                yield f"{place}.{name}: was {value!r}, is absent"
        if place.rpartition(".")[2] in MAPS:
            yield from (f"{place}.{name}: was absent, is {now[name]!r}" for name in now.keys() - then.keys())
    elif isinstance(then, list):
        if place.rpartition(".")[2] == IMAGES_ALONE:
            then = [change for change in then if change["ImageId"].startswith("pimg-")]
        if len(then) != len(now):
            yield f"{place}: had {len(then)} elements, has {len(now)}"
        for number, (old_item, new_item) in enumerate(zip(then, now, strict=False)):
            yield from differences(old_item, new_item, f"{place}[{number}]", renamed)
    elif then != now and not any((name, then, now) in RENAMED_VALUES for name in place.split(".")[-2:]):
        yield f"{place}: was {then!r}, is {now!r}"
