"""Signing requests as the clients do, in their four encodings. Written from wire-protocol 2, without phimage's own signer."""

from __future__ import annotations

import hashlib
import json
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


def encoded(params: Params, encoding: Encoding = Encoding.FORM, path: str = "/") -> Request:
    """A request with exactly these parameters, signed or not."""
    if encoding in (Encoding.FLAT, Encoding.NESTED):
        body = json.dumps(params, ensure_ascii=False, separators=(",", ":")).encode()
        return Request("POST", path, "", (("Content-Type", JSON),), body)
    text = urlencode({name: _text(value) for name, value in params.items()}, quote_via=quote_plus)
    if encoding is Encoding.QUERY:
        return Request("GET", path, text)
    return Request("POST", path, "", (("Content-Type", FORM),), text.encode("ascii"))
