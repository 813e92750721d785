"""Content-Digest."""

from __future__ import annotations

import base64
from hashlib import sha256, sha512

import pytest

from phimage.uploads.part import BadContentDigest, check_content, read_content_digest

CONTENT = b"content"
TEXT = base64.b64encode(sha256(CONTENT).digest()).decode()
LONG = base64.b64encode(sha512(CONTENT).digest()).decode()


@pytest.mark.parametrize(
    "field",
    [f"sha-256=:{TEXT}:", f" sha-256=:{TEXT}: ", f"sha-512=:{LONG}:, sha-256=:{TEXT}:", f"sha-256=:{TEXT}:;a=1,unixsum=:AA==:"],
)
def test_the_sha_256_is_found_among_others(field: str) -> None:
    assert read_content_digest(field) == sha256(CONTENT).digest()


@pytest.mark.parametrize(
    "field",
    [
        "",
        " ",
        "sha-256",
        "sha-256=",
        "sha-256=::",
        TEXT,
        f"sha-256={TEXT}",
        f"sha-256=:{TEXT}",
        f"SHA-256=:{TEXT}:",
        f"sha256=:{TEXT}:",
        f"sha-256=:{TEXT[:-1]}:",
        f"sha-256=:{TEXT}=:",
        f"sha-256=:{TEXT[:-2]}{'B=' if TEXT[-2] != 'B' else 'C='}:",  # bits that base64 leaves unused
        f"sha-256=:{sha256(CONTENT).hexdigest()}:",
        f"sha-256=:{sha256(CONTENT).hexdigest().upper()}:",
        f"sha-512=:{LONG}:",
        f"md5=:{TEXT}:",
        f"sha-256=:{TEXT}:, sha-256=:{TEXT}:",
    ],
)
def test_what_does_not_tell_one_sha_256_is_refused(field: str) -> None:
    with pytest.raises(BadContentDigest):
        read_content_digest(field)


def test_only_the_very_bytes_have_the_digest() -> None:
    check_content(CONTENT, sha256(CONTENT).digest())
    for other in (b"", CONTENT[:-1], CONTENT + b"\0", CONTENT.upper()):
        with pytest.raises(BadContentDigest, match="send them again"):
            check_content(other, sha256(CONTENT).digest())
