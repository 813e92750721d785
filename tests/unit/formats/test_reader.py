"""Readers: complete, truncated, arriving and unlimited bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.formats.errors import BeyondHead, ReadLimitExceeded, Truncated
from phimage.formats.reader import (
    BytesReader,
    HeadReader,
    MeteredReader,
    PagedReader,
    PartReader,
    ReaderAt,
    exactly,
    slices,
    unpack,
)

DATA = bytes(range(256)) * 1024


@given(st.integers(0, len(DATA) + 10), st.integers(0, 70_000))
def test_every_view_of_a_whole_reader_gives_the_same_bytes(offset: int, length: int) -> None:
    plain = BytesReader(DATA)
    views: list[ReaderAt] = [
        MeteredReader(plain, 1 << 30),
        PagedReader(plain),
        PartReader(plain, 0, 1 << 40),
        HeadReader(DATA, len(DATA)),
    ]
    for view in views:
        assert view.read_at(offset, length) == DATA[offset : offset + length]
        assert view.size == len(DATA)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1100), st.integers(0, 1100))
def test_a_part_ends_where_it_ends(start: int, size: int, offset: int, length: int) -> None:
    part = PartReader(BytesReader(DATA[:1000]), start, size)
    assert part.read_at(offset, length) == DATA[:1000][start : start + size][offset : offset + length]
    assert part.size == len(DATA[:1000][start : start + size])


@pytest.mark.parametrize("offset", [1 << 63, 1 << 64, 1 << 80])
def test_a_place_far_behind_the_end_is_empty(offset: int) -> None:
    readers: list[ReaderAt] = [
        BytesReader(DATA),
        PagedReader(BytesReader(DATA)),
        HeadReader(DATA, len(DATA)),
        PartReader(BytesReader(DATA), offset, 5),
    ]
    assert [reader.read_at(offset, 10) for reader in readers] == [b""] * 4


def test_what_has_not_come_yet_is_out_of_sight() -> None:
    head = HeadReader(DATA[:1000], 5000)
    assert head.read_at(990, 10) == DATA[990:1000]
    with pytest.raises(BeyondHead):
        head.read_at(990, 11)
    assert head.read_at(5000, 10) == b""
    assert head.size == 5000


def test_the_size_may_be_out_of_sight() -> None:
    head = HeadReader(DATA[:1000], None)
    assert head.read_at(0, 1000) == DATA[:1000]
    with pytest.raises(BeyondHead):
        _ = head.size


def test_reading_is_metered_also_when_it_is_little_at_a_time() -> None:
    metered = MeteredReader(BytesReader(DATA), 10 * 4096)
    for _ in range(10):
        metered.read_at(0, 1)
    with pytest.raises(ReadLimitExceeded, match="40960 bytes"):
        metered.read_at(0, 1)


def test_pages_are_read_once_and_forgotten_in_turn() -> None:
    class Counted(BytesReader):
        reads = 0

        def read_at(self, offset: int, length: int) -> bytes:
            self.reads += 1
            return super().read_at(offset, length)

    counted = Counted(DATA)
    paged = PagedReader(counted)
    for place in range(0, 65536, 512):
        paged.read_at(place, 512)
    assert counted.reads == 1
    paged.read_at(65530, 10)
    assert counted.reads == 2
    paged.read_at(0, 200_000)
    assert counted.reads == 3


def test_a_structure_that_ends_early_is_truncated() -> None:
    with pytest.raises(Truncated, match="the header at 262140 should have 8 bytes and the file ends at 262144"):
        unpack(">Q", BytesReader(DATA), len(DATA) - 4, "header")
    assert unpack(">HB", BytesReader(DATA), 1, "header") == (0x0102, 3)
    assert exactly(BytesReader(DATA), 5, 0, "nothing") == b""


def test_a_table_comes_in_slices() -> None:
    parts = list(slices(BytesReader(DATA), 10, 2500, "table", 1000))
    assert [start for start, _part in parts] == [0, 1000, 2000]
    assert b"".join(part for _start, part in parts) == DATA[10:2510]
