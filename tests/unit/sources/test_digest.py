"""Digests: parsing, and that wrong bytes never pass."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.sources.digest import FIRST_USE, Algorithm, Digest, ExpectedDigest, Hashes, VerifyingReader, read_digest
from phimage.sources.digest import expected_digest as expect
from phimage.sources.errors import DigestMismatch, DigestRefused

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHA512 = hashlib.sha512(CONTENT).hexdigest()


class Memory(io.BytesIO):
    """A reader over bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size)


def verified(content: bytes, expected: ExpectedDigest) -> VerifyingReader:
    return VerifyingReader(Memory(content), expected, "disk.img")


def read_all(reader: VerifyingReader, size: int) -> bytes:
    return b"".join(iter(lambda: reader.read(size), b""))


@pytest.mark.parametrize(
    "text",
    [
        f"sha256:{SHA256}",
        f"SHA256:{SHA256}",
        f"sha-256:{SHA256}",
        f"sha256={SHA256}",
        f"sha256: {SHA256}",
        SHA256,
        f"  {SHA256}\n",
        SHA256.upper(),
        f"sha256:{SHA256.upper()}",
    ],
)
def test_a_sha256_is_read_however_tools_write_it(text: str) -> None:
    assert str(read_digest(text)) == f"sha256:{SHA256}"


@pytest.mark.parametrize("text", [f"sha512:{SHA512}", SHA512, f"SHA2-512:{SHA512.upper()}"])
def test_a_sha512_is_read_too(text: str) -> None:
    assert read_digest(text) == Digest(Algorithm.SHA512, SHA512)


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ("", "form", "it is not a digest"),
        ("sha256:", "form", "64 hexadecimal digits"),
        (f"sha256:{SHA256[:-1]}", "form", "64 hexadecimal digits"),
        (f"sha256:{SHA256}0", "form", "64 hexadecimal digits"),
        (f"sha256:{SHA512}", "form", "64 hexadecimal digits"),
        (f"sha512:{SHA256}", "form", "128 hexadecimal digits"),
        (f"sha256:{SHA256[:-1]}g", "form", "64 hexadecimal digits"),
        (f"sha256:{SHA256[:-1]}٣", "form", "64 hexadecimal digits"),
        (SHA256[:-1], "form", "it is not a digest of a supported algorithm"),
        ("md5:" + hashlib.md5(CONTENT).hexdigest(), "broken", "MD5 is broken"),
        (hashlib.md5(CONTENT).hexdigest(), "broken", "MD5 is broken"),
        ("SHA-1:" + hashlib.sha1(CONTENT).hexdigest(), "broken", "SHA-1 is broken"),
        (hashlib.sha1(CONTENT).hexdigest(), "broken", "SHA1 is broken"),
        ("sha3-256:" + SHA256, "algorithm", "it is not a digest of a supported algorithm"),
        ("crc32:01234567", "algorithm", "it is not a digest of a supported algorithm"),
        ("sha256:" + hashlib.sha256(b"").hexdigest(), "empty", "digest of an empty file"),
        ("sha512:" + hashlib.sha512(b"").hexdigest(), "empty", "digest of an empty file"),
        (hashlib.sha256(b"").hexdigest().upper(), "empty", "digest of an empty file"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, reason: str, message: str) -> None:
    with pytest.raises(DigestRefused, match=message) as refused:
        read_digest(text)
    assert refused.value.reason == reason


@given(st.text())
def test_no_text_is_read_as_a_digest_by_accident(text: str) -> None:
    with pytest.raises(DigestRefused):
        read_digest(text)


def swapped(content: bytes) -> bytes:
    return content[4096:8192] + content[:4096] + content[8192:]


@pytest.mark.parametrize(
    "wrong",
    [
        CONTENT[:-1],
        CONTENT + b"\0",
        CONTENT[1:],
        b"\0" + CONTENT,
        swapped(CONTENT + CONTENT[::-1]),
        CONTENT + CONTENT,
        CONTENT[:4096] + CONTENT,
        CONTENT[::-1],
        bytes([CONTENT[0] ^ 1]) + CONTENT[1:],
        CONTENT[:-1] + bytes([CONTENT[-1] ^ 0x80]),
        bytes(len(CONTENT)),
        b"",
        CONTENT.upper(),
    ],
)
@pytest.mark.parametrize("digest", [f"sha256:{SHA256}", f"sha512:{SHA512}"])
def test_wrong_bytes_never_come_to_an_end(wrong: bytes, digest: str) -> None:
    reader = verified(wrong, expect(digest))
    with pytest.raises(DigestMismatch) as refused:
        read_all(reader, 1000)
    assert refused.value.expected == digest
    assert refused.value.actual != digest
    for _ in range(3):
        with pytest.raises(DigestMismatch):
            reader.read(1)
    with pytest.raises(DigestMismatch):
        reader.finish()


@pytest.mark.parametrize("size", [1, 100, 4096, len(CONTENT), len(CONTENT) + 1])
def test_the_right_bytes_pass_in_pieces_of_any_size(size: int) -> None:
    reader = verified(CONTENT, expect(SHA512))
    assert read_all(reader, size) == CONTENT
    assert reader.finish() == {
        Algorithm.SHA256: Digest(Algorithm.SHA256, SHA256),
        Algorithm.SHA512: Digest(Algorithm.SHA512, SHA512),
    }


def test_who_stops_early_proves_nothing_until_the_rest_is_read() -> None:
    reader = verified(CONTENT + b"one more", expect(SHA256))
    assert reader.read(len(CONTENT)) == CONTENT
    with pytest.raises(DigestMismatch):
        reader.finish()


def test_a_skipped_beginning_counts_for_the_digest() -> None:
    reader = verified(CONTENT, expect(SHA256))
    reader.skip(5000)
    assert reader.size == 5000
    assert reader.read(10) == CONTENT[5000:5010]
    assert str(reader.finish()[Algorithm.SHA256]) == f"sha256:{SHA256}"


def test_without_an_expectation_the_digest_is_found() -> None:
    assert verified(CONTENT, FIRST_USE).finish() == {Algorithm.SHA256: Digest(Algorithm.SHA256, SHA256)}
    assert not FIRST_USE.known


def test_the_message_has_both_digests_and_where_the_expected_one_is_from() -> None:
    with pytest.raises(DigestMismatch) as refused:
        verified(b"other", ExpectedDigest(Digest(Algorithm.SHA256, SHA256), "SHA256SUMS, line 3")).finish()
    text = str(refused.value)
    assert text.startswith("disk.img: its 5 bytes have sha256:")
    assert f"expected was sha256:{SHA256} (SHA256SUMS, line 3)" in text


@given(st.lists(st.binary(max_size=50)))
def test_pieces_have_the_digest_of_the_whole(pieces: list[bytes]) -> None:
    hashes = Hashes()
    for piece in pieces:
        hashes.update(piece)
    assert hashes.size == len(b"".join(pieces))
    assert hashes.digests()[Algorithm.SHA256].hex == hashlib.sha256(b"".join(pieces)).hexdigest()
