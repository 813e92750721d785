"""Decompression: the same bytes for any chunking, and a reason for every defect."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phimage.sources.compression import Compression, detect
from phimage.sources.errors import SourceError, TooLarge, UnpackRefused
from phimage.sources.progress import TransferProgress
from phimage.sources.unpack import BLOCK, MAX_EMPTY, Unpacker, UnpackLimits

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024
SKIPPABLE = b"\x50\x2a\x4d\x18\x05\x00\x00\x00abcde"

PACK: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: lambda data: gzip.compress(data, 1, mtime=0),
    Compression.XZ: lambda data: lzma.compress(data, preset=0),
    Compression.ZSTD: zstd.compress,
    Compression.BZIP2: lambda data: bz2.compress(data, 1),
}
KINDS = pytest.mark.parametrize("kind", list(PACK))
kinds = st.sampled_from(list(PACK))


class Chunks:
    """A reader that returns short reads of odd sizes."""

    def __init__(self, content: bytes, sizes: Sequence[int] = ()) -> None:
        self._content = io.BytesIO(content)
        self._sizes = list(sizes)

    def read(self, size: int, /) -> bytes:
        return self._content.read(min(size, self._sizes.pop() if self._sizes else size))

    def close(self) -> None:
        pass

    def __enter__(self) -> Chunks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        pass


def unpack(content: bytes, sizes: Sequence[int] = (), bounds: UnpackLimits | None = None) -> bytes:
    return b"".join(Unpacker(Chunks(content, sizes), "disk.img", bounds))


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


members = st.lists(st.binary(max_size=300) | st.integers(0, 3).map(lambda seed: noise(70_000, seed)), min_size=1, max_size=4)


@given(kinds, members, st.lists(st.integers(1, 5000), max_size=200))
def test_any_members_in_any_chunks_are_the_bytes_that_were_packed(
    kind: Compression, parts: list[bytes], sizes: list[int]
) -> None:
    if not any(parts):
        parts.append(b"something")
    assert unpack(b"".join(PACK[kind](part) for part in parts), sizes) == b"".join(parts)


@given(st.binary(min_size=1, max_size=5000), st.lists(st.integers(1, 50), max_size=50))
def test_what_is_not_compressed_stays_as_it_is(content: bytes, sizes: list[int]) -> None:
    if detect(content) is Compression.NONE:
        assert unpack(content, sizes) == content


@KINDS
def test_blocks_have_one_size_but_the_last(kind: Compression) -> None:
    content = noise(65536) * 16 + bytes(MIB) + b"12345"
    unpacking = Unpacker(Chunks(PACK[kind](content)), "disk.img")
    assert [len(block) for block in unpacking] == [BLOCK, BLOCK, 5]
    assert (unpacking.size, unpacking.data, unpacking.compression) == (len(content), MIB + 5, kind)
    assert unpacking.taken == len(PACK[kind](content))


def test_exactly_one_block_is_one() -> None:
    content = noise(MIB)
    assert list(Unpacker(Chunks(gzip.compress(content, 1)), "a")) == [content]


@pytest.mark.parametrize("kind", [*PACK, Compression.NONE])
def test_the_first_bytes_tell_the_compression(kind: Compression) -> None:
    assert detect(PACK.get(kind, bytes)(b"hello, this is a disk")) is kind


def test_names_of_compressions_alone_are_no_magic() -> None:
    for head in (b"", b"BZh", b"BZh9", b"BZh0" + b"1AY&SY", b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f", b"BZh91AY&SX"):
        assert detect(head) is Compression.NONE
    assert detect(bz2.compress(b"")) is Compression.BZIP2
    assert detect(SKIPPABLE) is Compression.ZSTD


# frames and fill


FRAMES = {
    "skippable zst": SKIPPABLE + zstd.compress(b"hello"),
    "zst skippable": zstd.compress(b"hello") + SKIPPABLE,
    "zst many": SKIPPABLE * 3 + zstd.compress(b"hel") + SKIPPABLE + zstd.compress(b"lo") + SKIPPABLE * 2,
    "gz many": gzip.compress(b"hel") + gzip.compress(b"") + gzip.compress(b"lo"),
    "gz fill": gzip.compress(b"hello") + bytes(513),
    "gz fill gz": gzip.compress(b"hel") + bytes(100_000) + gzip.compress(b"lo"),
    "xz fill": lzma.compress(b"hello") + bytes(4),
    "xz fill xz fill": lzma.compress(b"hel") + bytes(8) + lzma.compress(b"lo") + bytes(300_000),
    "xz without check": lzma.compress(b"hello", check=lzma.CHECK_NONE),
    "xz sha256": lzma.compress(b"hello", check=lzma.CHECK_SHA256),
    "bz2 many": bz2.compress(b"hel", 9) + bz2.compress(b"") + bz2.compress(b"lo", 1),
}


@pytest.mark.parametrize("packed", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("ones", [0, 700, 1_000_000])
def test_frames_to_be_skipped_and_allowed_fill_are_left_out(packed: bytes, ones: int) -> None:
    assert unpack(packed, [1] * min(ones, len(packed))) == b"hello"


def test_the_name_in_a_gzip_header_decides_nothing() -> None:
    buffer = io.BytesIO()
    with gzip.GzipFile("../../etc/passwd", "wb", fileobj=buffer) as file:
        file.write(b"hello")
    assert unpack(buffer.getvalue()) == b"hello"


# what is wrong


def refusal(content: bytes, bounds: UnpackLimits | None = None) -> SourceError:
    with pytest.raises(SourceError) as refused:
        unpack(content, bounds=bounds)
    assert str(refused.value).startswith("disk.img: ")
    return refused.value


@KINDS
def test_every_truncation_is_refused(kind: Compression) -> None:
    packed = PACK[kind](noise(1000))
    for length in (*range(12, len(packed), 7), len(packed) - 1):
        assert refusal(packed[:length]).reason == "cut"


@KINDS
def test_a_truncated_last_member_is_refused(kind: Compression) -> None:
    packed = PACK[kind](b"hello")
    assert refusal(packed + packed[:-1]).reason in ("cut", "trailing")


@KINDS
@pytest.mark.parametrize("garbage", [b"x", b"garbage", b"\n", b"\0\0\0x", b"\1" * 100_000], ids=range(5))
def test_bytes_after_the_end_are_refused(kind: Compression, garbage: bytes) -> None:
    assert refusal(PACK[kind](b"hello") + garbage).reason == "trailing"


@KINDS
def test_another_compression_after_the_end_is_refused(kind: Compression) -> None:
    other = Compression.GZIP if kind is not Compression.GZIP else Compression.XZ
    assert refusal(PACK[kind](b"hello") + PACK[other](b"hello")).reason == "trailing"


@pytest.mark.parametrize("kind", [Compression.ZSTD, Compression.BZIP2])
def test_only_gzip_and_xz_are_filled_up_with_zeros(kind: Compression) -> None:
    assert refusal(PACK[kind](b"hello") + bytes(4)).reason == "trailing"


@pytest.mark.parametrize("zeros", [1, 2, 3, 5])
def test_xz_is_filled_up_in_fours_only(zeros: int) -> None:
    assert refusal(lzma.compress(b"hello") + bytes(zeros)).reason == "trailing"


@given(kinds, st.data())
@settings(max_examples=200)
def test_a_changed_byte_never_gives_other_bytes_unseen(kind: Compression, data: st.DataObject) -> None:
    content = noise(2000)
    packed = bytearray(PACK[kind](content) if kind is not Compression.ZSTD else with_checksum(content))
    place = data.draw(st.integers(4, len(packed) - 1))
    packed[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = unpack(bytes(packed))
    except SourceError:
        return
    assert found in (content, bytes(packed))  # a field that means nothing, or no compression any more


def with_checksum(content: bytes) -> bytes:
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})


@KINDS
def test_damage_is_told_with_its_place(kind: Compression) -> None:
    content = noise(300_000)
    packed = bytearray(with_checksum(content) if kind is Compression.ZSTD else PACK[kind](content))
    packed[150_000] ^= 1
    error = refusal(bytes(packed))
    assert error.reason == "damaged"
    assert error.offset


@KINDS
@pytest.mark.parametrize("inner", list(PACK))
def test_compressed_twice_is_refused(kind: Compression, inner: Compression) -> None:
    error = refusal(PACK[kind](PACK[inner](noise(100))))
    assert error.reason == "nested"
    assert f"it is {kind} with {inner} inside" in str(error)


@KINDS
def test_nothing_inside_is_refused(kind: Compression) -> None:
    assert refusal(PACK[kind](b"")).reason == "empty"
    assert refusal(b"").reason == "empty"


def test_a_legion_of_empty_members_is_refused() -> None:
    assert unpack(gzip.compress(b"") * MAX_EMPTY + gzip.compress(b"hello")) == b"hello"
    assert refusal(gzip.compress(b"") * (MAX_EMPTY + 1) + gzip.compress(b"hello")).reason == "empty"
    assert refusal(SKIPPABLE * 100_000).reason == "empty"


def test_many_tiny_members_take_linear_time() -> None:
    assert unpack(gzip.compress(b"x") * 50_000) == b"x" * 50_000


# bounds


def test_more_than_the_limit_is_refused() -> None:
    packed = gzip.compress(noise(100_000), 1)
    assert len(unpack(packed, bounds=UnpackLimits(max_size=100_000))) == 100_000
    with pytest.raises(TooLarge, match="more than the limit of 99999 bytes"):
        unpack(packed, bounds=UnpackLimits(max_size=99_999))
    with pytest.raises(TooLarge):
        unpack(noise(100_000), bounds=UnpackLimits(max_size=99_999))


def test_a_frame_that_tells_too_large_a_size_is_refused_at_once() -> None:
    packed = zstd.compress(bytes(1_000_000))
    with pytest.raises(TooLarge):
        next(iter(Unpacker(Chunks(packed), "a", UnpackLimits(max_size=999_999))))


def packed_untold(kind: Compression, content: bytes) -> bytes:
    """Compressed, without a declared size."""
    packer = zstd.ZstdCompressor() if kind is Compression.ZSTD else None
    return packer.compress(content) + packer.flush() if packer else PACK[kind](content)


@KINDS
@pytest.mark.parametrize("members", [1, 8])
def test_unpacking_stops_within_a_block_of_the_limit_and_zeros_count(kind: Compression, members: int) -> None:
    packed = packed_untold(kind, noise(65536) + bytes(16 * MIB // members - 65536)) * members
    unpacking = Unpacker(Chunks(packed), "disk.img", UnpackLimits(max_size=5 * MIB))
    with pytest.raises(TooLarge, match=f"more than the limit of {5 * MIB} bytes"):
        deque(unpacking, 0)
    assert unpacking.size <= 6 * MIB


@pytest.mark.parametrize("before", [b"", SKIPPABLE, zstd.compress(b"hello") + SKIPPABLE])
def test_any_frame_that_tells_more_than_the_limit_leaves_is_refused_before_it_is_unpacked(before: bytes) -> None:
    unpacking = Unpacker(Chunks(before + zstd.compress(bytes(1_000_000))), "a", UnpackLimits(max_size=999_999))
    with pytest.raises(TooLarge):
        deque(unpacking, 0)
    assert unpacking.size in (0, len(b"hello"))


def gzip_bomb(block: bytes, blocks: int) -> Iterator[bytes]:
    packer = zlib.compressobj(9, wbits=31)
    for _ in range(blocks):
        yield packer.compress(block)
    yield packer.flush()


@pytest.mark.more
@pytest.mark.parametrize("block", [bytes(MIB), b"A" * MIB], ids=["zeros", "data"])
def test_a_gzip_bomb_of_1_to_1000_is_refused_early(block: bytes) -> None:
    packed = b"".join(gzip_bomb(block, 140))
    assert 140 * MIB / len(packed) > 1000
    unpacking = Unpacker(Chunks(packed), "bomb.gz")
    with pytest.raises(UnpackRefused, match="as only a decompression bomb does") as refused:
        deque(unpacking, 0)
    assert refused.value.reason == "bomb"
    assert unpacking.size < 66 * MIB


@pytest.mark.more
@pytest.mark.parametrize("kind", [Compression.ZSTD, Compression.XZ])
def test_bombs_of_other_kinds_are_refused_right_after_what_is_free(kind: Compression) -> None:
    packed = PACK[kind](b"B" * (80 * MIB)) * 100
    unpacking = Unpacker(Chunks(packed), "bomb")
    with pytest.raises(UnpackRefused, match="bomb"):
        deque(unpacking, 0)
    assert unpacking.size < 66 * MIB


@pytest.mark.more
def test_a_disk_with_many_zeros_is_no_bomb() -> None:
    content = noise(MIB) + bytes(200 * MIB) + noise(MIB)
    unpacking = Unpacker(Chunks(zstd.compress(content)), "disk.zst")
    assert sum(len(block) for block in unpacking) == len(content)
    assert unpacking.data == 2 * MIB


def test_a_small_disk_may_be_empty() -> None:
    assert len(unpack(zstd.compress(bytes(64 * MIB)))) == 64 * MIB


def test_the_operator_may_allow_a_larger_ratio() -> None:
    packed = zstd.compress(bytes(100 * MIB))
    assert refusal(packed).reason == "bomb"
    assert len(unpack(packed, bounds=UnpackLimits(ratio=50_000))) == 100 * MIB


def test_a_window_larger_than_the_memory_is_refused() -> None:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    packed = packer.compress(b"hello") + packer.flush()
    error = refusal(packed)
    assert error.reason == "memory"
    assert "128 MiB" in str(error)
    assert unpack(packed, bounds=UnpackLimits(memory=256 * MIB)) == b"hello"


def test_a_dictionary_larger_than_the_memory_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 4 * MIB}]
    packed = lzma.compress(b"hello", filters=filters)
    assert unpack(packed, bounds=UnpackLimits(memory=4 * MIB)) == b"hello"
    assert refusal(packed, UnpackLimits(memory=2 * MIB)).reason == "memory"


def test_the_usual_best_compressions_fit_into_the_memory() -> None:
    assert unpack(lzma.compress(b"hello", preset=9)) == b"hello"
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    assert unpack(packer.compress(b"hello") + packer.flush()) == b"hello"


def test_progress_counts_compressed_bytes() -> None:
    packed = gzip.compress(noise(4 * MIB), 1)
    text: list[TransferProgress] = []
    times = iter(range(1000))
    deque(Unpacker(Chunks(packed), "a", total=len(packed), on_progress=text.append, clock=lambda: float(next(times))), 0)
    assert text[-1].done == text[-1].total == len(packed)
    assert [report.done for report in text] == sorted(report.done for report in text)
