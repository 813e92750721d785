"""The signature doctor: why a signature is not the expected one.

It repeats the common mistakes of signers, one at a time, until one of them yields the signature that was sent. It never
shows the private key, and masks parameters that look like secrets.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

from msgspec import Struct

from phimage.gateway.number_formats import EXPONENTS, narrowed, widened, with_numbers, without_zero
from phimage.gateway.params import Number, Params, Value
from phimage.gateway.signature import SIGNATURE, canonical, canonical_value, sign
from phimage.model.account import PrivateKey

MASK = "***"

# Real clients send secrets as parameters: `ucloud api --private-key ...` puts the key into the body.
_SECRET = re.compile(r"private[-_.]?key|password|passwd|secret|token|credential", re.IGNORECASE)


class Diagnosis(Struct, frozen=True):
    """`canonical` is the text that the server signs, with the private key masked; `likely` is the caller's mistake."""

    canonical: str
    likely: str

    def text(self) -> str:
        """Both as one line of text."""
        return f"signed here: {self.canonical}; likely difference: {self.likely}"


UNKNOWN = "no common mistake: check that the private key belongs to the public key and that no value changed on its way"

Mistake = tuple[str, Callable[[], str]]


def diagnose(params: Params, signature: str, key: PrivateKey) -> Diagnosis:
    """The likely mistake of the signer that sent `signature` for these parameters."""
    shown = canonical(redacted(params)) + MASK
    for what, attempt in _mistakes(params, key):
        if hmac.compare_digest(attempt().encode(), signature.encode()):
            return Diagnosis(shown, what)
    return Diagnosis(shown, UNKNOWN)


def is_secret(name: str) -> bool:
    """Whether the value of a parameter of this name may be a secret."""
    return _SECRET.search(name) is not None


def redacted(params: Params) -> dict[str, Value]:
    """The parameters with secrets masked, at every depth."""
    return {name: MASK if is_secret(name) else _redacted(value) for name, value in params.items()}


def _redacted(value: Value) -> Value:
    if isinstance(value, dict):
        return redacted(value)
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    return value


def _mistakes(params: Params, key: PrivateKey) -> Iterator[Mistake]:
    secret = key.reveal()
    signed = {name: value for name, value in params.items() if name != SIGNATURE}
    text = canonical(signed)

    yield "none: the signature is right", lambda: sign(params, key)
    yield "wrong key: the private key has white space around it", lambda: _sha1(text + secret + "\n")
    yield "wrong key: the private key was not appended", lambda: _sha1(text)
    yield "wrong key: the public key was used as the private key", lambda: _sha1(text + str(signed.get("PublicKey", "")))
    yield "the private key was put before the parameters: it is expected after them", lambda: _sha1(secret + text)
    yield "upper-case hexadecimal digits: lower case is expected", lambda: _sha1(text + secret).upper()
    yield "another hash: SHA-1 is expected, SHA-256 was used", lambda: hashlib.sha256((text + secret).encode()).hexdigest()
    yield (
        "another hash: plain SHA-1 is expected, MD5 was used",
        lambda: hashlib.md5((text + secret).encode(), usedforsecurity=False).hexdigest(),
    )
    yield (
        "HMAC was used: plain SHA-1 over text and key is expected",
        lambda: hmac.digest(secret.encode(), text.encode(), "sha1").hex(),
    )
    yield (
        "order: the parameters were sorted without regard to case: upper case is expected before lower case",
        lambda: _sha1(_joined(signed, sorted(signed, key=str.lower)) + secret),
    )
    yield (
        "order: indices were sorted as numbers, 2 before 10: they are expected sorted as text",
        lambda: _sha1(_joined(signed, sorted(signed, key=_natural)) + secret),
    )
    yield "order: the parameters were not sorted by name: sort them", lambda: _sha1(_joined(signed, list(signed)) + secret)
    yield from _value_mistakes(signed, secret)
    yield from _number_mistakes(signed, secret)
    yield from _left_out(signed, secret)
    yield from _used_again(signed, secret)


def _value_mistakes(signed: dict[str, Value], secret: str) -> Iterator[Mistake]:
    filled = {name: value for name, value in signed.items() if value not in ("", None, [], {})}
    yield "blank dropped: blank parameters were sent but not signed", lambda: _sha1(canonical(filled) + secret)
    for what, change in (
        ("encoding: the values were signed percent-encoded", lambda text: quote(text, safe="")),
        ("encoding: the values were signed form-encoded, with + for a space", quote_plus),
        ("encoding: a plus sign was sent as +, which means a space: send %2B", lambda text: text.replace(" ", "+")),
        ("number format: whole numbers were signed with .0", lambda text: f"{text}.0" if text.isdecimal() else text),
        ("white space around values was not signed", str.strip),
        ("values were signed in lower case", str.lower),
    ):
        yield what, lambda change=change: _sha1(canonical(_changed(signed, change)) + secret)  # type: ignore[misc]
    yield (
        "booleans were signed as True and False: true and false are expected",
        lambda: _sha1(canonical(_booleans(signed, "True", "False")) + secret),
    )
    yield (
        "booleans were signed as 1 and 0: true and false are expected",
        lambda: _sha1(canonical(_booleans(signed, "1", "0")) + secret),
    )
    yield (
        "booleans were signed as 1 and nothing: true and false are expected",
        lambda: _sha1(canonical(_booleans(signed, "1", "")) + secret),
    )
    yield (
        "lists were signed with indices: their elements are expected concatenated",
        lambda: _sha1(canonical(_flat(signed, 0)) + secret),
    )
    for step, what in ((1, "one more"), (-1, "one less")):
        yield (
            f"index base: indices were signed {what} than they were sent",
            lambda step=step: _sha1(  # type: ignore[misc]
                canonical(_shifted(signed, step)) + secret
            ),
        )


def _number_mistakes(signed: dict[str, Value], secret: str) -> Iterator[Mistake]:
    no_zero = "number format: a fraction below 1 was signed without its zero, as .5: sign 0.5, or send the fraction as text"
    exponent = "number format: a number was signed with an exponent, as 1e+06: sign all its digits, 1000000"
    float32 = (
        "number format: a float32 was sent and signed with different digits, as 0.1 and 0.10000000149011612: use a float64"
    )
    for what, change in (
        (no_zero, without_zero),
        *((exponent, style) for style in EXPONENTS),
        (float32, widened),
        (float32, narrowed),
        (float32, lambda text: without_zero(widened(text))),
    ):
        yield what, lambda change=change: _sha1(canonical(with_numbers(signed, change)) + secret)  # type: ignore[misc]


MAX_USES = 8
"""Max uses of one request object that are recognised."""


def _used_again(signed: dict[str, Value], secret: str) -> Iterator[Mistake]:
    """The Java SDK signs what it keeps in a request object, also the Signature of the object's previous use.

    The previous use was the same request, or that of the previous page.
    """
    what = "a request object was used again, and signed its previous Signature: make a new request object for each call"
    for previous in ([signed] * MAX_USES, *_previous_pages(signed)):
        signature = ""
        for use in (*previous, signed):
            own = {**use, SIGNATURE: signature} if signature else use
            signature = _sha1(_joined(own, sorted(own)) + secret)
            if use is signed and own is not signed:
                yield what, lambda signature=signature: signature  # type: ignore[misc]


def _previous_pages(signed: dict[str, Value]) -> Iterator[list[dict[str, Value]]]:
    """The requests of the pages before this one, with and without the Offset of the first page."""
    offset, limit = (int(text) if text.isdecimal() else 0 for text in (str(signed.get(n)) for n in ("Offset", "Limit")))
    if not offset or not limit or offset % limit or offset // limit > MAX_USES:
        return
    pages: list[dict[str, Value]] = [{**signed, "Offset": Number(page)} for page in range(0, offset, limit)]
    yield pages
    yield [{name: value for name, value in signed.items() if name != "Offset"}, *pages[1:]]


def _left_out(signed: dict[str, Value], secret: str) -> Iterator[Mistake]:
    for name in signed:
        rest = {other: value for other, value in signed.items() if other != name}
        yield f"{name} was sent but not signed", lambda rest=rest: _sha1(canonical(rest) + secret)  # type: ignore[misc]


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _joined(params: Params, names: list[str]) -> str:
    return "".join(f"{name}{canonical_value(params[name])}" for name in names)


def _natural(name: str) -> tuple[str, int, str]:
    start, _, index = name.rpartition(".")
    return (start, int(index), "") if index.isdecimal() and start else (name, -1, "")


def _changed(params: Params, change: Callable[[str], str]) -> dict[str, Value]:
    return {name: change(value) if isinstance(value, str) else value for name, value in params.items()}


def _booleans(params: Params, true: str, false: str) -> dict[str, Value]:
    words = {"true": true, "false": false}
    return {
        name: words[canonical_value(value)] if canonical_value(value) in words and not isinstance(value, Number) else value
        for name, value in params.items()
    }


def _flat(params: Params, base: int) -> dict[str, Value]:
    flat: dict[str, Value] = {}
    for name, value in params.items():
        if isinstance(value, list):
            flat.update({f"{name}.{position}": item for position, item in enumerate(value, base)})
        else:
            flat[name] = value
    return flat


def _shifted(params: Params, step: int) -> dict[str, Value]:
    shifted: dict[str, Value] = {}
    for name, value in params.items():
        start, _, index = name.rpartition(".")
        shifted[f"{start}.{int(index) + step}" if start and index.isdecimal() else name] = value
    return shifted
