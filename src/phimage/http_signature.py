"""HTTP Message Signatures (RFC 9421) with hmac-sha256 over the whole request, its body by Content-Digest (RFC 9530).

Signature version 2 of phimage, for the server and for clients. It needs the standard library alone: the agent beside a disk
carries this file. A signature covers `@method`, `@path`, `@query` and `content-digest`, in any order and nothing else, and has
the parameters `created`, `nonce`, `keyid` (the public key) and `tag`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

TAG = "phimage"
"""The value of the parameter `tag`: a signature for another application is not valid here."""
COVERED = ("@method", "@path", "@query", "content-digest")
"""The components that a signature must cover, in the order in which clients of phimage write them."""
MAX_AGE_SECONDS = 300
"""The maximum difference between `created` and the server's clock, either way."""
MAX_FIELD = 2048
"""The maximum length of a header field of a signature, in characters."""

CONTENT_DIGEST = "content-digest"
SIGNATURE_INPUT = "signature-input"
SIGNATURE = "signature"
SIGNATURE_FIELDS = (SIGNATURE_INPUT, SIGNATURE, CONTENT_DIGEST)
"""The header fields of a signature."""


class InvalidSignature(ValueError):
    """The fields of a signature cannot be read, or do not have what a signature needs. The text says what was expected."""


@dataclass(frozen=True)
class RequestSignature:
    """The signature of a request as received, not verified."""

    key: str
    created: int
    nonce: str
    covered: tuple[str, ...]
    params: str
    """The value of `@signature-params`, verbatim."""
    digest: bytes
    """The SHA-256 of the body, from Content-Digest."""
    digest_field: str
    signature: bytes

    def is_by(self, private: str, method: str, path: str, query: str) -> bool:
        """Whether the private key signed this request, compared in constant time.

        `path` and `query` are percent-encoded as received, the query without `?`. Does not look at the body.
        """
        values = _values(method, path, query, self.digest_field)
        base = signature_base({name: values[name] for name in self.covered}, self.params)
        return hmac.compare_digest(mac(private.encode(), base), self.signature)

    def is_of(self, body: bytes) -> bool:
        """Whether Content-Digest is that of a body."""
        return hmac.compare_digest(hashlib.sha256(body).digest(), self.digest)


def sign_request(
    key: str, private: str, method: str, path: str, query: str, body: bytes, *, created: int, nonce: str
) -> dict[str, str]:
    """The header fields that sign a request.

    `path` and `query` are percent-encoded as sent, the query without `?`. `created` is Unix seconds. The nonce must be unique
    among the key's requests, and have at most 64 characters of the alphabet of base64url.
    """
    names = " ".join(f'"{name}"' for name in COVERED)
    params = f'({names});created={created};nonce="{nonce}";alg="hmac-sha256";keyid="{_escaped(key)}";tag="{TAG}"'
    digest = content_digest(body)
    base = signature_base(_values(method, path, query, digest), params)
    return {
        "Content-Digest": digest,
        "Signature-Input": f"sig1={params}",
        "Signature": f"sig1=:{base64.b64encode(mac(private.encode(), base)).decode()}:",
    }


def read_signature(fields: Mapping[str, str]) -> RequestSignature | None:
    """The signature in the header fields of a request, by lower-case name; None if it has none. Raises InvalidSignature."""
    source, signatures = fields.get(SIGNATURE_INPUT, ""), fields.get(SIGNATURE, "")
    if not (source or signatures):
        return None
    if not (source and signatures):
        raise InvalidSignature("Signature-Input and Signature belong together")
    digest_field = fields.get(CONTENT_DIGEST, "")
    if max(map(len, (source, signatures, digest_field))) > MAX_FIELD:
        raise InvalidSignature(f"a field of a signature has at most {MAX_FIELD} characters")
    label, equals, params = source.partition("=")
    inner = _INNER_LIST.fullmatch(params)
    if not (equals and _LABEL.fullmatch(label) and inner):
        raise InvalidSignature("Signature-Input is not one signature: expected sig1=(...);created=..;nonce=..;keyid=..;tag=..")
    covered = tuple(re.findall(r'"([^"]*)"', inner["components"]))
    if sorted(covered) != sorted(COVERED):
        raise InvalidSignature(f"the signature must cover {', '.join(COVERED)}, each once, and nothing else")
    given = _params(inner["params"])
    nonce = given["nonce"]
    if not _NONCE.fullmatch(nonce):
        raise InvalidSignature("nonce has 16 to 64 of the characters A-Z a-z 0-9 - _")
    return RequestSignature(
        key=given["keyid"],
        created=int(given["created"]),
        nonce=nonce,
        covered=covered,
        params=params,
        digest=_digest(digest_field),
        digest_field=digest_field,
        signature=_signature(label, signatures),
    )


def content_digest(body: bytes) -> str:
    """The field Content-Digest of a body."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def signature_base(components: Mapping[str, str], params: str) -> str:
    """The signed text (RFC 9421, 2.5): covered components by name, in their order, and the value of `@signature-params`."""
    return "\n".join([*(f'"{name}": {value}' for name, value in components.items()), f'"@signature-params": {params}'])


def mac(secret: bytes, base: str) -> bytes:
    """The signature of a text (RFC 9421, 3.3.3)."""
    return hmac.digest(secret, base.encode("utf-8", "surrogateescape"), "sha256")


def _values(method: str, path: str, query: str, digest: str) -> dict[str, str]:
    """The components of COVERED, in its order."""
    return dict(zip(COVERED, (method, path or "/", f"?{query}", digest), strict=True))


def _escaped(text: str) -> str:
    if not re.fullmatch(r"[ -~]+", text):
        raise InvalidSignature("a key id has printable ASCII characters alone")
    return text.replace("\\", "\\\\").replace('"', '\\"')


# Structured fields (RFC 8941), as far as a signature of these components needs them. They are read strictly: what another
# reader could understand otherwise is refused.
_LABEL = re.compile(r"[a-z*][a-z0-9_.*-]{0,63}")
_INNER_LIST = re.compile(r'\((?P<components>"[a-z@-]+"(?: "[a-z@-]+")*)\)(?P<params>(?:;[^;"\s]*(?:"(?:[^"\\]|\\["\\])*")?)*)')
_STRING = re.compile(r'"(?:[ !#-\[\]-~]|\\["\\])*"')
_PARAM = re.compile(r';([a-z][a-z]*)=(?:([0-9]{1,15})|("(?:[ !#-\[\]-~]|\\["\\])*"))')
_BYTES = re.compile(r":([A-Za-z0-9+/]*={0,2}):")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_INTEGERS = frozenset({"created", "expires"})
_STRINGS = frozenset({"nonce", "keyid", "tag", "alg"})


def _params(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    end = 0
    for match in _PARAM.finditer(text):
        name, integer, string = match.groups()
        if match.start() != end or name in given or name not in (_STRINGS if integer is None else _INTEGERS):
            break
        end = match.end()
        given[name] = re.sub(r'\\(["\\])', r"\1", string[1:-1]) if integer is None else integer
    if end != len(text):
        raise InvalidSignature(f"a parameter of Signature-Input is unknown or not well-formed, at {text[end : end + 40]!r}")
    missing = [name for name in ("created", "nonce", "keyid", "tag") if name not in given]
    if missing:
        raise InvalidSignature(f"Signature-Input lacks the parameter {missing[0]}")
    if given["tag"] != TAG:
        raise InvalidSignature(f'the parameter tag must be "{TAG}"')
    if given.get("alg", "hmac-sha256") != "hmac-sha256":
        raise InvalidSignature('the parameter alg must be "hmac-sha256"')
    if "expires" in given:
        raise InvalidSignature("leave the parameter expires out: a signature is valid for five minutes")
    return given


def _digest(field: str) -> bytes:
    name, equals, value = field.partition("=")
    match = _BYTES.fullmatch(value)
    if name != "sha-256" or not equals or not match:
        raise InvalidSignature("Content-Digest is missing or not one SHA-256: expected sha-256=:BASE64:")
    digest = _decoded(match[1], "Content-Digest")
    if len(digest) != 32:
        raise InvalidSignature("Content-Digest is not a SHA-256: it has 32 bytes")
    return digest


def _signature(label: str, field: str) -> bytes:
    name, equals, value = field.partition("=")
    match = _BYTES.fullmatch(value)
    if name != label or not equals or not match:
        raise InvalidSignature(f"Signature is not the one that Signature-Input names: expected {label}=:BASE64:")
    return _decoded(match[1], "Signature")


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidSignature(f"{name} is not base64") from None
