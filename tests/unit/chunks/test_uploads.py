"""Frames of parts that clients made."""

from __future__ import annotations

import random
import tracemalloc
from hashlib import sha256

import pytest

from phimage.chunks.frame import Damaged, pack, zstd
from phimage.chunks.uploads import PART, check_frame, check_job, pack_part

RAW = random.Random(1).randbytes(40_000) + bytes(200_000)


def frame(raw: bytes, level: int = 3, **options: int) -> bytes:
    given = {getattr(zstd.CompressionParameter, name): value for name, value in options.items()}
    return zstd.compress(raw, options={zstd.CompressionParameter.compression_level: level, **given})


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("level", [-5, 1, 3, 19])
@pytest.mark.parametrize("raw", [b"1", RAW, bytes(PART)], ids=["a byte", "some", "a whole part"])
def test_a_frame_of_any_level_is_a_part(raw: bytes, level: int) -> None:
    data = frame(raw, level, checksum_flag=1)

    packed = check_frame(data)

    assert (packed.frame, packed.size, packed.digest) == (data, len(raw), sha256(raw).hexdigest())


def test_raw_bytes_become_the_same_part_as_their_frame() -> None:
    packed = pack_part(RAW, sha256(RAW).digest())

    assert check_frame(packed.frame) == packed


NO_FRAMES = {
    "nothing": (b"", "not a zstd frame"),
    "raw bytes": (RAW, "not a zstd frame"),
    "half a magic number": (pack(RAW)[:3], "not a zstd frame"),
    "a magic number alone": (pack(RAW)[:4], "cannot be read"),
    "a skippable frame": (bytes.fromhex("502a4d18") + bytes(4) + pack(RAW), "not a zstd frame"),
    "without its last byte": (pack(RAW)[:-1], "does not end"),
    "cut in the middle": (pack(RAW)[:1000], "does not end"),
    "with a byte after it": (pack(RAW) + b"\0", "1 bytes follow"),
    "two frames": (pack(RAW) + pack(RAW), "bytes follow"),
    "a flipped bit": (flipped(pack(RAW), 20_000), "cannot be read"),
    "a flipped bit in its checksum": (flipped(pack(RAW), len(pack(RAW)) - 1), "cannot be read"),
    "without a checksum": (frame(RAW, checksum_flag=0), "no checksum"),
    "without its size": (frame(RAW, checksum_flag=1, content_size_flag=0), "does not declare"),
    "of nothing": (pack(b""), "1 to"),
    "one byte more than a part": (pack(bytes(PART + 1)), "1 to"),
    "more bytes than any frame of a part": (pack(random.Random(2).randbytes(PART + (1 << 20))), "too many"),
}


@pytest.mark.parametrize(("data", "told"), NO_FRAMES.values(), ids=list(NO_FRAMES))
def test_what_is_not_one_whole_frame_of_a_part_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(Damaged, match=told):
        check_frame(data)


def test_a_frame_that_holds_more_than_it_tells_is_stopped_early() -> None:
    bomb = bytearray(pack(bytes(1 << 30)))
    assert bomb[4] >> 6 == 2  # its size is told in four bytes, here made smaller
    place = 5 if bomb[4] & 32 else 6
    bomb[place : place + 4] = (1000).to_bytes(4, "little")

    tracemalloc.start()
    try:
        with pytest.raises(Damaged):
            check_frame(bytes(bomb))
        _, limit = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert limit < 8 << 20


@pytest.mark.parametrize("size", [0, PART + 1])
def test_raw_bytes_of_a_wrong_size_are_no_part(size: int) -> None:
    with pytest.raises(Damaged, match="1 to"):
        pack_part(bytes(size), sha256(bytes(size)).digest())


def test_only_the_name_of_a_job_is_one() -> None:
    assert check_job("job-4k2xqz7a9m3d") == "job-4k2xqz7a9m3d"
    for text in ("", "job-", "job", "job-A", "job-a/b", "job-..", "../job-a", "job-a\n", "job-" + "a" * 41, "pimg-cs-xev4rz2k"):
        assert check_job(text) is None
