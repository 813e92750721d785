"""Long frames, unpacked in steps."""

from __future__ import annotations

import random
import tracemalloc
from hashlib import sha256

import pytest

from phimage.chunks.frame import Damaged, pack, unpack_in_steps, zstd
from phimage.chunks.layout import ChunkDigest

STEP = 64 << 10
WINDOW = 16 << 20
MIXED = random.Random(1).randbytes(5 * STEP) + bytes(3 * STEP) + b"end"


def digest_of(raw: bytes) -> ChunkDigest:
    return ChunkDigest(sha256(raw).digest())


@pytest.mark.parametrize("level", [-5, 1, 19])
@pytest.mark.parametrize("raw", [b"1", MIXED[:STEP], MIXED[: STEP + 1], MIXED, bytes(6 << 20)], ids=len)
def test_a_frame_is_unpacked_in_equal_steps(raw: bytes, level: int) -> None:
    pieces = list(unpack_in_steps(pack(raw, level), digest_of(raw), len(raw), STEP, WINDOW))

    assert b"".join(pieces) == raw
    assert [len(piece) for piece in pieces[:-1]] == [STEP] * (len(pieces) - 1)
    assert 1 <= len(pieces[-1]) <= STEP


@pytest.mark.parametrize(
    ("frame", "length", "reason"),
    [
        (pack(MIXED)[:-1], len(MIXED), "does not end"),
        (pack(MIXED)[:-2000], len(MIXED), "does not end"),
        (pack(MIXED) + b"1", len(MIXED), "does not end"),
        (pack(MIXED) + pack(MIXED), len(MIXED) * 2, "does not end"),
        (pack(MIXED), len(MIXED) - 1, "does not end"),
        (pack(MIXED), len(MIXED) + 1, "does not end"),
        (pack(MIXED[::-1]), len(MIXED), "its SHA-256 is"),
        (zstd.compress(MIXED[:-1]), len(MIXED), "does not end"),
        (b"no frame", len(MIXED), "cannot be read"),
        (b"", len(MIXED), "does not end"),
        (pack(MIXED)[:9000] + b"!" + pack(MIXED)[9001:], len(MIXED), "its SHA-256 is|cannot be read"),
        (bytes(3 * len(MIXED)), len(MIXED), "too many"),
    ],
)
def test_the_last_step_of_a_damaged_frame_is_never_handed_out(frame: bytes, length: int, reason: str) -> None:
    pieces: list[bytes] = []
    with pytest.raises(Damaged, match=reason):
        pieces.extend(unpack_in_steps(frame, digest_of(MIXED), length, STEP, WINDOW))
    assert sum(map(len, pieces)) < length


def test_a_frame_takes_little_more_memory_than_its_own() -> None:
    raw = random.Random(2).randbytes(8 << 20)
    frame, digest = pack(raw, 1), digest_of(raw)

    tracemalloc.start()
    try:
        assert all(unpack_in_steps(frame, digest, len(raw), 1 << 20, WINDOW))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 5 << 20
