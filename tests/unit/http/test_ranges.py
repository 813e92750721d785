from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.http.conditions import MAX_RANGES, ByteRange, read_ranges


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-99", [(0, 100)]),
        ("bytes=0-", [(0, 100)]),
        ("bytes=99-", [(99, 100)]),
        ("bytes=90-1000000", [(90, 100)]),
        ("bytes=90-99999999999999999999999999999999", [(90, 100)]),
        ("bytes=-1", [(99, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("BYTES=5-6", [(5, 7)]),
        ("bytes= 5-6 ,\t8-9", [(5, 7), (8, 10)]),
        ("bytes=,5-6,,8-9,", [(5, 7), (8, 10)]),
        ("bytes=8-9,5-6", [(8, 10), (5, 7)]),
        ("bytes=5-6,5-6", [(5, 7), (5, 7)]),
        ("bytes=5-6,100-", [(5, 7)]),
        ("bytes=-0,5-6", [(5, 7)]),
    ],
)
def test_ranges_are_cut_to_what_there_is(header: str, found: list[tuple[int, int]]) -> None:
    assert read_ranges(header, 100) == tuple(ByteRange(start, stop) for start, stop in found)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=100-,-0"])
def test_ranges_of_which_there_is_nothing_are_none(header: str) -> None:
    assert read_ranges(header, 100) == ()


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=6-5",
        "bytes=0-1,6-5",
        "bytes=a-b",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=1 -2",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=1-2;3-4",
        "bytes =1-2",
        " bytes=1-2",
        "items=1-2",
        "bytes=\N{ARABIC-INDIC DIGIT ONE}-",
        "bytes=1-" + "9" * 5000,
    ],
)
def test_a_header_that_cannot_be_read_is_ignored(header: str) -> None:
    assert read_ranges(header, 100) is None


def test_too_many_ranges_or_more_bytes_than_there_are_is_no_part_of_anything() -> None:
    assert read_ranges("bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1)), 100) is None
    assert read_ranges("bytes=" + ",".join(["0-0"] * MAX_RANGES), 100) is not None
    assert read_ranges("bytes=0-60,40-99", 100) is None
    assert read_ranges("bytes=0-49,50-99", 100) is not None


@given(st.text(alphabet="bytes=0123456789-, \t", max_size=40), st.integers(1, 1000))
def test_whatever_is_asked_nothing_outside_is_ever_found(header: str, size: int) -> None:
    for found in read_ranges(f"bytes={header}", size) or ():
        assert 0 <= found.start < found.stop <= size
        assert found.length > 0
