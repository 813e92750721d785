"""The request body of a part."""

from __future__ import annotations

import base64
import random
from hashlib import sha256

import pytest

from phimage.chunks.frame import zstd
from phimage.upload_client.content import PartContent, part_content

RANDOM = random.Random(1).randbytes(3 << 20)


def made(raw: bytes) -> tuple[PartContent, bytes]:
    found = part_content(raw, sha256(raw).digest())
    return found, b"".join(found.blocks(lambda: None))


@pytest.mark.parametrize("raw", [bytes(3 << 20), bytes(5), b"text" * 500_000, bytes(1 << 20) + RANDOM], ids=range(4))
def test_what_shrinks_is_sent_as_a_frame(raw: bytes) -> None:
    found, data = made(raw)

    assert found.fields["Content-Encoding"] == "zstd"
    assert found.fields["Content-Length"] == str(len(data))
    assert found.fields["Content-Digest"] == f"sha-256=:{base64.b64encode(sha256(data).digest()).decode()}:"
    assert zstd.decompress(data) == raw


@pytest.mark.parametrize("raw", [RANDOM, b"1"], ids=["random", "a byte"])
def test_what_does_not_shrink_is_sent_as_it_is(raw: bytes) -> None:
    found, data = made(raw)

    assert "Content-Encoding" not in found.fields
    assert found.fields["Content-Length"] == str(len(raw))
    assert found.fields["Content-Digest"] == f"sha-256=:{base64.b64encode(sha256(raw).digest()).decode()}:"
    assert data == raw


def test_the_share_that_went_out_is_told_and_begins_anew_with_each_try() -> None:
    found, _ = made(RANDOM)
    assert found.sent == 1.0

    shares = []
    for _ in found.blocks(lambda: None):
        shares.append(found.sent)

    assert shares == [number / 12 for number in range(12)]
    assert found.sent == 1.0


def test_a_check_ends_the_sending() -> None:
    checked = 0

    def check() -> None:
        nonlocal checked
        checked += 1
        if checked == 3:
            raise InterruptedError

    blocks = part_content(RANDOM, sha256(RANDOM).digest()).blocks(check)

    assert next(blocks) + next(blocks) == RANDOM[: 512 << 10]
    with pytest.raises(InterruptedError):
        next(blocks)
