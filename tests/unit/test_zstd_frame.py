"""Frames of one chunk, with the module and with the system's library."""

from __future__ import annotations

import random
import threading

import pytest

from phimage import zstd_frame
from phimage.chunks.frame import is_canonical, pack, unpack_bounded
from phimage.zstd_frame import BadFrame, library_codec

CHUNKS = [b"x", bytes(1 << 20), random.Random(1).randbytes(1 << 20), b"phimage " * 50_000]


@pytest.mark.parametrize("raw", CHUNKS, ids=["byte", "zeros", "noise", "text"])
def test_the_library_makes_frames_that_the_store_keeps_as_they_are(raw: bytes) -> None:
    compress, decompress = library_codec()
    frame = compress(raw)
    assert is_canonical(frame, len(raw))
    assert unpack_bounded(frame, 1 << 20)[1] == raw
    assert decompress(frame, len(raw)) == raw == decompress(pack(raw), len(raw))
    assert zstd_frame.decompress(frame, len(raw)) == raw == zstd_frame.decompress(zstd_frame.compress(raw), len(raw))


@pytest.mark.parametrize("decompress", [zstd_frame.decompress, library_codec()[1]], ids=["module", "library"])
def test_only_one_whole_frame_of_the_length_is_read(decompress: zstd_frame.Decompress) -> None:
    frame = pack(b"phimage " * 1000)
    for bad, length in (
        (frame, 7999),
        (frame, 8001),
        (frame + frame, 8000),
        (frame + b"\0", 8000),
        (frame[:-1], 8000),
        (frame[:20] + b"!" + frame[21:], 8000),
        (b"", 8000),
        (pack(bytes(1 << 26)), 8000),
    ):
        with pytest.raises(BadFrame):
            decompress(bad, length)


def test_threads_have_contexts_of_their_own() -> None:
    compress, decompress = library_codec()
    wrong: list[int] = []

    def run(seed: int) -> None:
        for number in range(50):
            raw = random.Random(seed * 100 + number).randbytes(5000) * 20
            if decompress(compress(raw), len(raw)) != raw:
                wrong.append(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
