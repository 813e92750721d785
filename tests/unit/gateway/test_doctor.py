"""The signature doctor names the mistake that a signer made."""

from __future__ import annotations

import hashlib
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
