"""Random requests, signed by signers that share no code with phimage, in every encoding: accepted as they are, refused when a
single character is another one."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ucloud.core.auth import Credential

from phimage.gateway.params import Params, Value, read_params
from phimage.gateway.signature import canonical, sign, verify
from phimage.model.account import PrivateKey
from tests.examples import PRIVATE_KEY, PUBLIC_KEY
from tests.torture.length import examples

KEY = PrivateKey(PRIVATE_KEY)
HEX = "0123456789abcdef"

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name not in ("Signature", "PublicKey")
)
REAL_NAMES = st.sampled_from(
    ["Action", "Region", "Zone", "ProjectId", "ImageType", "Offset", "Limit", "MachineType", "base-url"]
)
INDICES = st.builds("ImageId.{}".format, st.integers(0, 120))
REQUESTS = st.dictionaries(NAMES | REAL_NAMES | INDICES, TEXT, max_size=12)


# a signer of our own


def text_of(value: Any) -> str:
    """A value as the documentation wants it signed."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Decimal():
            return plain(value)
        case list():
            return "".join(map(text_of, value))
        case dict():
            return "".join(name + text_of(value[name]) for name in sorted(value))
    return str(value)


def plain(number: Decimal) -> str:
    """Digits without exponent, without trailing zeros after a point, without a sign before zero."""
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    if exponent >= 0:
        whole, rest = text + "0" * exponent, ""
    else:
        text = text.rjust(1 - exponent, "0")
        whole, rest = text[:exponent], text[exponent:].rstrip("0")
    whole = whole.lstrip("0") or "0"
    found = f"{whole}.{rest}" if rest else whole
    return f"-{found}" if sign and found != "0" else found


def signed_by_us(request: dict[str, Any]) -> dict[str, Any]:
    whole = {**request, "PublicKey": PUBLIC_KEY}
    text = "".join(name + text_of(whole[name]) for name in sorted(whole)) + PRIVATE_KEY
    return {**whole, "Signature": hashlib.sha1(text.encode("utf-8")).hexdigest()}


def signed_by_the_sdk(request: dict[str, str]) -> dict[str, Any]:
    whole: dict[str, Any] = dict(request)
    signature = Credential(PUBLIC_KEY, PRIVATE_KEY).verify_ac(whole)
    return {**whole, "Signature": signature}


# encodings


def as_form(sent: dict[str, str]) -> Params:
    return read_params("POST", "application/x-www-form-urlencoded", "Action=Evil", urlencode(sent).encode())


def as_fully_escaped_form(sent: dict[str, str]) -> Params:
    body = "&".join("=".join("".join(f"%{byte:02x}" for byte in part.encode()) for part in pair) for pair in sent.items())
    return read_params("POST", "", "", body.encode())


def as_query(sent: dict[str, str]) -> Params:
    return read_params("GET", "", urlencode(sent, quote_via=quote), b"")


def as_query_of_a_post(sent: dict[str, str]) -> Params:
    return read_params("POST", "application/json", urlencode(sent, quote_via=quote_plus), b"")


def as_json(sent: dict[str, str]) -> Params:
    return read_params("POST", "application/json; charset=utf-8", "foo=bar", json.dumps(sent, ensure_ascii=False).encode())


def as_escaped_json(sent: dict[str, str]) -> Params:
    return read_params("POST", "", "", b"\n" + json.dumps(sent, ensure_ascii=True, indent=1).encode())


ENCODINGS = [as_form, as_fully_escaped_form, as_query, as_query_of_a_post, as_json, as_escaped_json]
SIGNERS = [signed_by_us, signed_by_the_sdk]


def accepted(params: Params) -> bool:
    signature = params.get("Signature")
    return isinstance(signature, str) and verify(params, signature, KEY)


@pytest.mark.parametrize("encode", ENCODINGS)
@pytest.mark.parametrize("signer", SIGNERS)
@given(request=REQUESTS)
def test_what_another_signer_signed_is_accepted_in_every_encoding(signer: Any, encode: Any, request: dict[str, str]) -> None:
    sent = signer(request)

    params = encode(sent)

    assert params == sent
    assert accepted(params)


@given(request=REQUESTS)
def test_the_signers_agree(request: dict[str, str]) -> None:
    assert signed_by_us(request) == signed_by_the_sdk(request)
    assert sign({**request, "PublicKey": PUBLIC_KEY}, KEY) == signed_by_us(request)["Signature"]


@pytest.mark.parametrize("encode", ENCODINGS)
@given(data=st.data(), request=REQUESTS)
def test_any_one_other_character_in_a_value_is_refused(encode: Any, data: st.DataObject, request: dict[str, str]) -> None:
    sent = signed_by_us(request)
    name = data.draw(st.sampled_from([name for name in sent if sent[name]]))
    place = data.draw(st.integers(0, len(sent[name]) - 1))
    other = data.draw(st.sampled_from(HEX) if name == "Signature" else st.characters(exclude_categories=["Cs"]))
    assume(other != sent[name][place])

    changed = {**sent, name: sent[name][:place] + other + sent[name][place + 1 :]}

    assert not accepted(encode(changed))


@given(data=st.data(), request=REQUESTS)
def test_a_value_longer_or_shorter_by_one_character_is_refused(data: st.DataObject, request: dict[str, str]) -> None:
    sent = signed_by_us(request)
    name = data.draw(st.sampled_from(sorted(sent)))
    text = sent[name]
    place = data.draw(st.integers(0, len(text)))

    assert not accepted(
        as_form({**sent, name: text[:place] + data.draw(st.characters(exclude_categories=["Cs"])) + text[place:]})
    )
    if text:
        assert not accepted(as_form({**sent, name: text[:-1]}))


@given(data=st.data(), request=REQUESTS)
def test_a_parameter_more_or_less_is_refused(data: st.DataObject, request: dict[str, str]) -> None:
    sent = signed_by_us(request)
    extra = data.draw(NAMES.filter(lambda name: name not in sent))
    gone = data.draw(st.sampled_from(sorted(sent)))

    assert not accepted(as_form({**sent, extra: data.draw(TEXT)}))
    assert not accepted(as_form({name: value for name, value in sent.items() if name != gone}))


@given(request=REQUESTS, order=st.randoms())
def test_the_order_of_parameters_does_not_matter(request: dict[str, str], order: Any) -> None:
    pairs = list(signed_by_us(request).items())
    order.shuffle(pairs)

    assert accepted(as_form(dict(pairs)))
    assert accepted(as_json(dict(pairs)))


# JSON with its own types

NUMBERS = st.integers(-(10**30), 10**30).map(Decimal) | st.decimals(
    allow_nan=False, allow_infinity=False, min_value=Decimal("-1e40"), max_value=Decimal("1e40")
).filter(lambda number: abs(number.adjusted()) < 60)
VALUES = st.recursive(
    st.none() | st.booleans() | TEXT | NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def spelled(value: Any, data: st.DataObject) -> str:
    """A value as JSON, its numbers spelled in one of the ways that mean the same."""
    match value:
        case Decimal():
            return data.draw(st.sampled_from(spellings(value)))
        case list():
            return "[" + ",".join(spelled(item, data) for item in value) + "]"
        case dict():
            return "{" + ",".join(f"{json.dumps(name)}:{spelled(value[name], data)}" for name in value) + "}"
    return json.dumps(value, ensure_ascii=data.draw(st.booleans()))


def spellings(number: Decimal) -> list[str]:
    sign, digits, exponent = number.as_tuple()
    whole = "".join(map(str, digits)).lstrip("0") or "0"
    minus = "-" if sign else ""
    fixed = format(number, "f")
    return [
        fixed,
        f"{fixed}0" if "." in fixed else f"{fixed}.0",
        f"{minus}{whole}e{exponent}",
        f"{minus}{whole}.00E{exponent:+d}" if isinstance(exponent, int) else fixed,
    ]


@given(data=st.data(), request=st.dictionaries(NAMES, VALUES, max_size=6))
def test_json_values_of_every_kind_are_signed_as_the_documentation_says(data: st.DataObject, request: dict[str, Any]) -> None:
    body = spelled(signed_by_us(request), data)

    params = read_params("POST", "application/json", "", body.encode("utf-8"))

    assert accepted(params)


def has_text(value: Any) -> bool:
    """Whether a JSON value has a character in it."""
    match value:
        case list():
            return any(map(has_text, value))
        case dict():
            return any(map(has_text, value.values()))
    return isinstance(value, str | Decimal) and bool(value)


def changed_once(value: Value, data: st.DataObject) -> Value:
    """A JSON value that has texts, with one character of one of them replaced."""
    if isinstance(value, str):
        place = data.draw(st.integers(0, len(value) - 1))
        return value[:place] + data.draw(st.characters(exclude_categories=["Cs"])) + value[place + 1 :]
    if isinstance(value, list):
        place = data.draw(st.sampled_from([place for place, inner in enumerate(value) if has_text(inner)]))
        return [*value[:place], changed_once(value[place], data), *value[place + 1 :]]
    if isinstance(value, dict):
        name = data.draw(st.sampled_from(sorted(name for name, inner in value.items() if has_text(inner))))
        return {**value, name: changed_once(value[name], data)}
    return value


WITH_TEXT = st.dictionaries(NAMES, VALUES, max_size=4).map(
    lambda request: request if has_text(request) else {**request, "Name": "text"}
)
"""Requests in which a character can be changed: to throw away those without one would be most of the work."""


@given(data=st.data(), request=WITH_TEXT)
def test_any_one_other_character_inside_a_json_value_is_refused(data: st.DataObject, request: dict[str, Any]) -> None:
    params = read_params("POST", "application/json", "", spelled(signed_by_us(request), data).encode())
    name = data.draw(st.sampled_from(sorted(name for name in request if has_text(params[name]))))
    other = {**params, name: changed_once(params[name], data)}
    assume(other != params)

    assert canonical(other) != canonical(params)
    assert not accepted(other)


@settings(max_examples=examples(100, 300))
@given(number=NUMBERS)
def test_every_spelling_of_a_number_is_signed_the_same(number: Decimal) -> None:
    for spelling in spellings(number):
        found = read_params("POST", "application/json", "", f'{{"a":{spelling}}}'.encode())["a"]

        assert found == plain(number), spelling
        assert Decimal(str(found)) == number
