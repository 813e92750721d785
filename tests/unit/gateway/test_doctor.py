"""The signature doctor names the mistake that a signer made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest

from phimage.gateway.doctor import UNKNOWN, diagnose
from phimage.gateway.params import Number, Value
from phimage.gateway.signature import canonical, sign
from phimage.model.account import PrivateKey

KEY = PrivateKey("46f09bb9fab4f12dfc160dae12273d5332b5debe")
PARAMS: dict[str, Value] = {
    "Zone": "",
    "Action": "DescribePHostImage",
    "PublicKey": "someone@example.com",
    "Limit": "20",
    "ImageId.2": "a b",
    "ImageId.10": "c",
    "cluster": "10G",
}


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def _joined(names: list[str]) -> str:
    return "".join(f"{name}{PARAMS[name]}" for name in names)


SECRET = KEY.reveal()
CASES: dict[str, Callable[[], str]] = {
    "blank dropped": lambda: _sha1(canonical({name: value for name, value in PARAMS.items() if value}) + SECRET),
    "not sorted": lambda: _sha1(_joined(list(PARAMS)) + SECRET),
    "without regard to case": lambda: _sha1(_joined(sorted(PARAMS, key=str.lower)) + SECRET),
    "percent-encoded": lambda: _sha1(canonical({name: quote(str(value), safe="") for name, value in PARAMS.items()}) + SECRET),
    ".0": lambda: _sha1(canonical({**PARAMS, "Limit": "20.0"}) + SECRET),
    "one less": lambda: _sha1(
        canonical({**{n: v for n, v in PARAMS.items() if "ImageId" not in n}, "ImageId.1": "a b", "ImageId.9": "c"}) + SECRET
    ),
    "upper-case": lambda: _sha1(canonical(PARAMS) + SECRET).upper(),
    "not appended": lambda: _sha1(canonical(PARAMS)),
    "public key was used": lambda: _sha1(canonical(PARAMS) + "someone@example.com"),
    "SHA-256": lambda: hashlib.sha256((canonical(PARAMS) + SECRET).encode()).hexdigest(),
    "cluster was sent but not signed": lambda: _sha1(
        canonical({name: value for name, value in PARAMS.items() if name != "cluster"}) + SECRET
    ),
}


@pytest.mark.parametrize("words", CASES)
def test_a_usual_mistake_is_named(words: str) -> None:
    assert words in diagnose(PARAMS, CASES[words](), KEY).likely


def test_a_right_signature_is_called_right() -> None:
    assert "right" in diagnose(PARAMS, sign(PARAMS, KEY), KEY).likely


def test_an_unusual_mistake_is_not_guessed() -> None:
    assert diagnose(PARAMS, "0" * 40, KEY).likely == UNKNOWN


def test_indices_sorted_as_numbers_are_named() -> None:
    params: dict[str, Value] = {"ImageId.2": "a", "ImageId.10": "b"}
    assert "2 before 10" in diagnose(params, _sha1("ImageId.2aImageId.10b" + SECRET), KEY).likely


def test_a_list_signed_with_indices_is_named() -> None:
    params: dict[str, Value] = {"Action": "A", "ImageId": ["a", "b"]}
    assert "lists were signed with indices" in diagnose(params, _sha1("ActionAImageId.0aImageId.1b" + SECRET), KEY).likely


@pytest.mark.parametrize(("true", "words"), [("True", "True and False"), ("1", "1 and")])
def test_booleans_signed_in_the_words_of_a_language_are_named(true: str, words: str) -> None:
    params: dict[str, Value] = {"Action": "A", "IsFinance": True, "Limit": Number("1")}
    assert words in diagnose(params, _sha1(f"ActionAIsFinance{true}Limit1{SECRET}"), KEY).likely


def test_neither_the_private_key_nor_a_secret_parameter_is_shown() -> None:
    params: dict[str, Value] = {"Action": "A", "private-key": "sk-very-secret", "Password": "hunter2", "Deep": {"Token": "t0k"}}
    text = diagnose(params, "0" * 40, KEY).text()
    assert not any(secret in text for secret in (SECRET, "sk-very-secret", "hunter2", "t0k"))
    assert "private-key***" in text


PLACE: dict[str, Value] = {
    "Action": "DescribePHostImage",
    "Region": "cn-bj2",
    "Zone": "cn-bj2-02",
    "PublicKey": "ucloudsomeone@example.com1296235120854146120",
}


@pytest.mark.parametrize(
    ("more", "signature"),
    [  # computed by a Java program that signs as the SDK does, each time with the Signature that the object has already
        ({}, "35ce8e39091c485108849a0465e40a83777a7889"),
        ({}, "93709adf1312fe51042bd24089c75a37233a36f2"),
        ({}, "588c03754c74f2fd6d47da1d786fb799a0133220"),
        ({"Limit": Number("20"), "Offset": Number("20")}, "3f23db14932da4ec375516bd1b740db7a6478824"),
        ({"Limit": Number("20"), "Offset": Number("60")}, "49e9f99f3ed681d370fbccf19acb66686cabfa38"),
    ],
)
def test_a_request_object_that_is_used_again_is_named(more: dict[str, Value], signature: str) -> None:
    assert diagnose({**PLACE, **more}, signature, KEY).likely == (
        "a request object was used again, and signed its previous Signature: make a new request object for each call"
    )


def test_a_next_page_from_a_request_without_offset_is_named_too() -> None:
    page: dict[str, Value] = {**PLACE, "Limit": Number("20"), "Offset": Number("20")}
    first = sign({**PLACE, "Limit": Number("20")}, KEY)
    text = "".join(f"{name}{value}" for name, value in sorted({**page, "Signature": first}.items()))
    assert "used again" in diagnose(page, _sha1(text + SECRET), KEY).likely


@pytest.mark.parametrize(
    ("price", "signature", "words"),
    [
        ("0.5", "b7550e56985278fe91cedd7359cec187b8a6f560", "without its zero"),  # Java's DecimalFormat, as in the SDK
        ("-0.25", "b328fcec8da844a5a831fa4ee771c2c3b6366896", "without its zero"),
        ("0.1", "c8686edf1daaafbc9c3b9fdd0ada06055c7efc44", "float32"),  # a Float of Java: .10000000149011612
        ("1.1", "bd70a43f5c9018c536db12998489697f79a87228", "float32"),
        ("0.0000001", "a6f1e08dc32bdd6b3588ca805926c15611487082", "exponent"),  # String(1e-7) of Node.js
        ("1500000000000000000000", "829ec907c3353f13caddc5debb673f058c3d7a4a", "exponent"),  # String(1.5e21)
    ],
)
def test_a_number_that_a_client_signs_in_its_own_format_is_named(price: str, signature: str, words: str) -> None:
    assert words in diagnose({**PLACE, "Price": Number(price)}, signature, KEY).likely


@pytest.mark.parametrize(
    ("sent", "as_signed", "words"),
    [
        ("1000000", "1e+06", "exponent"),  # Go's %v
        ("-1234567", "-1.234567e+06", "exponent"),
        ("0.00001", "1e-05", "exponent"),  # Python, Go
        ("10000000", "1.0E7", "exponent"),  # Java's Double.toString
        ("0.00025", "2.5E-4", "exponent"),
        ("1000000000000000", "1.0E+15", "exponent"),  # PHP
        ("0.1", "0.10000000149011612", "float32"),  # Go's float32 as a float64
        ("0.10000000149011612", "0.1", "float32"),
        ("16777217", "16777216", "float32"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_number_is_named_wherever_it_stands(sent: str, as_signed: str, words: str, nested: bool) -> None:
    value: Value = [{"Price": Number(sent)}, "20", True, None] if nested else Number(sent)
    text = f"ActionAValue{f'Price{as_signed}20true' if nested else as_signed}"
    likely = diagnose({"Action": "A", "Value": value}, _sha1(text + SECRET), KEY).likely
    assert words in likely
    assert re.search(r": .*\b(sign|use)\b", likely), "it says what to do"


@pytest.mark.parametrize("number", ["9" * 400, "1" + "0" * 400, "0." + "0" * 390 + "1", "-0.0", "0"])
def test_numbers_out_of_every_range_are_no_mistake(number: str) -> None:
    assert diagnose({"Action": "A", "Value": Number(number)}, "0" * 40, KEY).likely == UNKNOWN
