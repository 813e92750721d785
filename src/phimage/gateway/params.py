"""The parameters of a request, verbatim (wire-protocol 1.1 and 2.3).

Values of a form or a query are text. JSON numbers stay the decimal text that the signature covers and never become binary
floats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import unquote

from phimage.errors import MissingAction, TooLargeParam, UnavailableParam

MAX_PARAMS = 512
MAX_DEPTH = 32
MAX_JSON_VALUES = 4096
"""Commas and brackets in the JSON of a stranger: more take milliseconds to parse. 512 parameters need a quarter of them."""
MAX_EXPONENT = 400
_NESTED = (list, dict)


class Number(str):
    """A JSON number as plain decimal text: no exponent, no trailing `.0` (wire-protocol 2.3, rule 13)."""

    __slots__ = ()


Value = str | bool | None | list["Value"] | dict[str, "Value"]
Params = Mapping[str, Value]

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


def read_params(method: str, content_type: str, query: str, body: bytes, *, is_verified: bool = False) -> dict[str, Value]:
    """The parameters of a request: from the body of a POST that has one, else from the query (wire-protocol 1.1, B19).

    Raises MissingAction for malformed ones, UnavailableParam for a repeated name, TooLargeParam for too many. With
    `is_verified`, the caller is known already, and JSON may have any number of values.
    """
    if method != "POST" or not body:
        return _read_form(query)
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == _JSON or (media_type != _FORM and body.lstrip()[:1] == b"{"):
        if not is_verified and body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_JSON_VALUES:
            raise TooLargeParam("request", detail=f"JSON with more than {MAX_JSON_VALUES} commas and brackets")
        return _read_json(body)
    return _read_form(_text(body))


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise MissingAction(detail="the body is not UTF-8") from None


def _read_form(text: str) -> dict[str, Value]:
    if text.count("&") >= MAX_PARAMS:
        raise TooLargeParam("request", detail=f"at most {MAX_PARAMS} parameters")
    try:
        pairs = [_pair(part) for part in text.split("&") if part]
    except UnicodeDecodeError:
        raise MissingAction(detail="a parameter is not UTF-8") from None
    params: dict[str, Value] = dict(pairs)
    if len(params) != len(pairs):
        _refuse_repeated([name for name, _ in pairs])
    return params


def _pair(text: str) -> tuple[str, str]:
    """A name and its value. `parse_qsl` says the same, and takes three times as long."""
    name, _, value = text.partition("=")
    if "+" in text or "%" in text:
        return _unquoted(name), _unquoted(value)
    return name, value


def _unquoted(text: str) -> str:
    return unquote(text.replace("+", " "), encoding="utf-8", errors="strict")


def _read_json(body: bytes) -> dict[str, Value]:
    try:
        params = json.loads(
            _text(body),
            parse_int=_number,
            parse_float=_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise TooLargeParam("request", detail="JSON nested too deeply") from None
    except ValueError as error:
        raise MissingAction(detail=f"the body is not JSON: {error}") from None
    if not isinstance(params, dict):
        raise MissingAction(detail="the body is not a JSON object")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _refuse_depth(params)
    if _SURROGATE.search(body):
        _refuse_half_characters(params)
    if len(params) > MAX_PARAMS:
        raise TooLargeParam("request", detail=f"at most {MAX_PARAMS} parameters")
    return params


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        _refuse_repeated([name for name, _ in pairs])
    return fields


def _refuse_repeated(names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            printable = name.encode("utf-8", "replace").decode("utf-8")  # it may have half of a surrogate pair
            raise UnavailableParam(printable, detail="given twice")
        seen.add(name)


def _refuse_constant(text: str) -> Value:
    raise ValueError(f"{text} is not JSON")


def _refuse_depth(params: dict[str, Value]) -> None:
    """Refuse values nested more deeply than those of any client: signing and decoding are recursive.

    Level by level: a walk into each of 20,000 lists would take five times as long.
    """
    level: list[Any] = [params]
    for _ in range(MAX_DEPTH):
        level = [inner for each in level for inner in (each.values() if type(each) is dict else each) if type(inner) in _NESTED]
        if not level:
            return
    raise TooLargeParam("request", detail=f"JSON nested more than {MAX_DEPTH} deep")


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _refuse_half_characters(params: dict[str, Value]) -> None:
    """Refuse half of a surrogate pair, written as an escape: UTF-8 cannot encode it."""
    try:
        json.dumps(params, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MissingAction(detail="the body has half of a surrogate pair") from None


_INTEGER = re.compile(r"-?[1-9][0-9]*|0")


def _number(text: str) -> Value:
    if _INTEGER.fullmatch(text):
        return Number(text)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("a number is out of range") from None
    if abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError("a number is out of range")
    plain = format(number, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return Number("0" if plain in ("-0", "") else plain)
