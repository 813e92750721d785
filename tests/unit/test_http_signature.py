"""HTTP Message Signatures: the vectors of the RFCs, another implementation, and what must be refused."""

from __future__ import annotations

import base64
import datetime
import secrets
from typing import Any

import pytest
import requests
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms
from hypothesis import example, given
from hypothesis import strategies as st

from phimage.http_signature import (
    COVERED,
    InvalidSignature,
    RequestSignature,
    content_digest,
    mac,
    read_signature,
    sign_request,
    signature_base,
)

KEY, PRIVATE = "key-demo", "secret of the demo"
NONCE = "A-nonce_of-24-characters"
NOW = 1_800_000_000

paths = st.sampled_from(["/", "/rev/7/", "/%E9%95%9C/a%20b", "/a;b=c", "/limit/5"])
queries = st.sampled_from(["", "Action=Plan", "a=b&c=%20d", "x=%25", "q=a+b"])


def fields(method: str, path: str, query: str, body: bytes, **more: Any) -> dict[str, str]:
    given = {"created": NOW, "nonce": NONCE, **more}
    return {name.lower(): value for name, value in sign_request(KEY, PRIVATE, method, path, query, body, **given).items()}


def read(given: dict[str, str]) -> RequestSignature:
    found = read_signature(given)
    assert found is not None
    return found


def test_the_vector_of_rfc_9421_for_hmac_sha256() -> None:
    secret = base64.b64decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")
    components = {"date": "Tue, 20 Apr 2021 02:07:55 GMT", "@authority": "example.com", "content-type": "application/json"}
    params = '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'

    found = mac(secret, signature_base(components, params))

    assert base64.b64encode(found) == b"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="


def test_the_digest_of_rfc_9530() -> None:
    assert content_digest(b'{"hello": "world"}') == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


class Resolver(HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id: str) -> bytes:
        return self.resolve_private_key(key_id)

    def resolve_private_key(self, key_id: str) -> bytes:
        assert key_id == KEY
        return PRIVATE.encode()


@given(st.sampled_from(["GET", "POST"]), paths, queries, st.binary(max_size=64), st.permutations(COVERED))
def test_another_implementation_verifies_what_this_one_signs_and_the_reverse(
    method: str, path: str, query: str, body: bytes, covered: list[str]
) -> None:
    url = f"http://images.example{path}" + (f"?{query}" if query else "")
    created = int(datetime.datetime.now(datetime.UTC).timestamp())
    ours = requests.Request(method, url, data=body).prepare()
    ours.headers.update(sign_request(KEY, PRIVATE, method, path, query, body, created=created, nonce=NONCE))
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=Resolver())
    verifier.verify(ours, expect_tag="phimage", require_components=COVERED, body=body)

    theirs = requests.Request(method, url, data=body).prepare()
    HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=Resolver()).sign(
        theirs, key_id=KEY, nonce=NONCE, tag="phimage", label="sig1", covered_component_ids=covered, body=body
    )
    found = read({name.lower(): value for name, value in theirs.headers.items()})
    assert found.is_by(PRIVATE, method, path, query)
    assert found.is_of(body)
    assert (found.key, found.nonce, found.covered) == (KEY, NONCE, tuple(covered))


def test_a_signature_is_of_one_request_alone() -> None:
    found = read(fields("POST", "/rev/1/", "Action=Plan", b"body"))

    assert found.is_by(PRIVATE, "POST", "/rev/1/", "Action=Plan")
    assert found.is_of(b"body")
    others = [
        (PRIVATE + "x", "POST", "/rev/1/", "Action=Plan"),
        (PRIVATE, "GET", "/rev/1/", "Action=Plan"),
        (PRIVATE, "POST", "/rev/1", "Action=Plan"),
        (PRIVATE, "POST", "/rev/1/", "Action=Apply"),
        (PRIVATE, "POST", "/rev/1/", ""),
    ]
    assert not any(found.is_by(*other) for other in others)
    assert not found.is_of(b"bodies")


@pytest.mark.parametrize("name", ["created", "nonce", "keyid", "tag", "alg"])
def test_a_changed_parameter_is_another_signature(name: str) -> None:
    changed = {"created": "1800000001", "nonce": "another_nonce_of_24-----", "keyid": "key-other", "tag": "phimage", "alg": ""}
    given = fields("POST", "/", "", b"")
    parts = given["signature-input"].split(";")
    at = next(position for position, part in enumerate(parts) if part.startswith(f"{name}="))
    parts[at : at + 1] = (
        [f"{name}={changed[name]}" if name == "created" else f'{name}="{changed[name]}"'] if name != "alg" else []
    )
    given["signature-input"] = ";".join(parts)

    assert read(given).is_by(PRIVATE, "POST", "/", "") is (name == "tag")


def test_a_key_id_with_quotes_is_read_as_it_was_signed() -> None:
    key = 'a"b\\c;d=1'
    made = sign_request(key, PRIVATE, "POST", "/", "", b"", created=NOW, nonce=NONCE)

    assert read({name.lower(): value for name, value in made.items()}).key == key


GOOD = fields("POST", "/", "", b"")
INPUT = GOOD["signature-input"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signature", ""),
        ("signature-input", ""),
        ("content-digest", ""),
        ("content-digest", "sha-512=:AAAA:"),
        ("content-digest", "sha-256=:AAAA:"),
        ("content-digest", f"{GOOD['content-digest']}, {GOOD['content-digest']}"),
        ("signature", GOOD["signature"].replace("sig1", "sig2")),
        ("signature", "sig1=AAAA"),
        ("signature", "sig1=:A:"),
        ("signature-input", INPUT.replace('"@query" ', "")),
        ("signature-input", INPUT.replace('"@query" ', '"@query" "@query" ')),
        ("signature-input", INPUT.replace('"@query" ', '"@query" "@authority" ')),
        ("signature-input", INPUT.replace("created=1800000000", "created=later")),
        ("signature-input", INPUT.replace("created=1800000000", "created=-1")),
        ("signature-input", INPUT.replace(";created=1800000000", "")),
        ("signature-input", INPUT.replace("created=1800000000", "created=1800000000;created=1")),
        ("signature-input", INPUT.replace(NONCE, "short")),
        ("signature-input", INPUT.replace(NONCE, "n" * 65)),
        ("signature-input", INPUT.replace(f';nonce="{NONCE}"', "")),
        ("signature-input", INPUT.replace('tag="phimage"', 'tag="other"')),
        ("signature-input", INPUT.replace(';tag="phimage"', "")),
        ("signature-input", INPUT.replace("hmac-sha256", "rsa-v1_5-sha256")),
        ("signature-input", INPUT + ";expires=1800000300"),
        ("signature-input", INPUT + ";more=1"),
        ("signature-input", INPUT + f", sig2{INPUT.removeprefix('sig1')}"),
        ("signature-input", INPUT + "x" * 2048),
        ("signature-input", INPUT.replace('keyid="key-demo"', 'keyid="key"demo"')),
        ("signature-input", INPUT.replace("(", "( ", 1)),
        ("signature-input", "sig1"),
    ],
)
def test_what_is_not_exactly_such_a_signature_is_refused(field: str, value: str) -> None:
    with pytest.raises(InvalidSignature):
        read_signature({**GOOD, field: value})


def test_a_request_without_a_signature_has_none() -> None:
    assert read_signature({}) is None
    assert read_signature({"content-digest": GOOD["content-digest"]}) is None


def test_a_key_id_is_ascii() -> None:
    with pytest.raises(InvalidSignature):
        sign_request("鍵", PRIVATE, "POST", "/", "", b"", created=NOW, nonce=NONCE)


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=80))
@example(INPUT, GOOD["signature"], secrets.token_hex(8))
def test_any_text_is_read_or_refused(source: str, signature: str, digest: str) -> None:
    try:
        found = read_signature({"signature-input": source, "signature": signature, "content-digest": digest})
    except InvalidSignature:
        return
    assert found is None or not found.is_by("another", "POST", "/", "")
