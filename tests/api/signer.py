"""Signing requests as the clients do, in their four encodings and both versions.

Written from wire-protocol 2 and RFC 9421, without phimage's own signers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlencode

from tests.examples import PRIVATE_KEY, PUBLIC_KEY

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

Params = Mapping[str, Any]
"""Parameters by name: text, integers, booleans, None, and lists and dictionaries of these."""


class Pair(NamedTuple):
    """A public and a private key."""

    public: str
    private: str


DEMO = Pair(PUBLIC_KEY, PRIVATE_KEY)


class Request(NamedTuple):
    """A request as it goes over the wire."""

    method: str = "POST"
    path: str = "/"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Encoding(Enum):
    """How a client writes its parameters."""

    FORM = "form"
    QUERY = "query"
    FLAT = "flat JSON"
    NESTED = "nested JSON"


def canonical(params: Params) -> str:
    """What is signed, without the private key."""
    return "".join(name + _text(params[name]) for name in sorted(params) if name != "Signature")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "".join(_text(item) for item in value)
    if isinstance(value, dict):
        return "".join(name + _text(value[name]) for name in sorted(value))
    return str(value)


def sign(params: Params, private: str) -> str:
    """The signature of parameters."""
    return hashlib.sha1((canonical(params) + private).encode("utf-8")).hexdigest()


def flatten(params: Params) -> dict[str, str | int | bool | None]:
    """Lists and objects as dotted names, the first index 0."""
    flat: dict[str, str | int | bool | None] = {}
    for name, value in params.items():
        if isinstance(value, list):
            flat |= {f"{name}.{inner}": item for inner, item in flatten({str(i): v for i, v in enumerate(value)}).items()}
        elif isinstance(value, dict):
            flat |= {f"{name}.{inner}": item for inner, item in flatten(value).items()}
        else:
            flat[name] = value
    return flat


def signed(
    action: str, params: Params | None = None, encoding: Encoding = Encoding.FORM, pair: Pair = DEMO, path: str = "/"
) -> Request:
    """A request with the right signature."""
    whole: dict[str, Any] = {"Action": action, **(params or {}), "PublicKey": pair.public}
    if encoding is not Encoding.NESTED:
        whole = dict(flatten(whole))
    if encoding in (Encoding.FORM, Encoding.QUERY):
        whole = {name: _text(value) for name, value in whole.items()}
    return encoded({**whole, "Signature": sign(whole, pair.private)}, encoding, path)


def signed_2(
    action: str,
    params: Params | None = None,
    encoding: Encoding = Encoding.FORM,
    pair: Pair = DEMO,
    path: str = "/",
    query: str = "",
) -> Request:
    """A request with the right signature of version 2. `query` is sent beside a body."""
    whole: dict[str, Any] = {"Action": action, **(params or {})}
    if encoding is not Encoding.NESTED:
        whole = dict(flatten(whole))
    request = encoded(whole, encoding, path)
    return sealed(request._replace(query=query) if query else request, pair)


def sealed(request: Request, pair: Pair = DEMO, *, created: float | None = None, nonce: str | None = None) -> Request:
    """A request as it is, with a signature of version 2 in its header."""
    moment, unique = int(time.time() if created is None else created), nonce or uuid.uuid4().hex
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(request.body).digest()).decode()}:"
    rest = (
        f'("@method" "@path" "@query" "content-digest");created={moment};nonce="{unique}";keyid="{pair.public}";tag="phimage"'
    )
    lines = [
        f'"@method": {request.method}',
        f'"@path": {request.path}',
        f'"@query": ?{request.query}',
        f'"content-digest": {digest}',
        f'"@signature-params": {rest}',
    ]
    made = base64.b64encode(hmac.new(pair.private.encode(), "\n".join(lines).encode(), "sha256").digest()).decode()
    fields = (("Content-Digest", digest), ("Signature-Input", f"sig1={rest}"), ("Signature", f"sig1=:{made}:"))
    return request._replace(headers=(*request.headers, *fields))


def encoded(params: Params, encoding: Encoding = Encoding.FORM, path: str = "/") -> Request:
    """A request with exactly these parameters, signed or not."""
    if encoding in (Encoding.FLAT, Encoding.NESTED):
        body = json.dumps(params, ensure_ascii=False, separators=(",", ":")).encode()
        return Request("POST", path, "", (("Content-Type", JSON),), body)
    text = urlencode({name: _text(value) for name, value in params.items()}, quote_via=quote_plus)
    if encoding is Encoding.QUERY:
        return Request("GET", path, text)
    return Request("POST", path, "", (("Content-Type", FORM),), text.encode("ascii"))
