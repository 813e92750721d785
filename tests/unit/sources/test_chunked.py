"""Bodies in chunked transfer coding are read strictly."""

from __future__ import annotations

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.sources.response import ChunkReader


def read(body: bytes, size: int = 1000) -> bytes:
    reader = ChunkReader(io.BufferedReader(io.BytesIO(body)))
    return b"".join(iter(lambda: reader.read1(size), b""))


chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
forms = st.sampled_from(["{:x}", "{:X}", "{:06x}", "{:x};name=value", '{:x} ; name="a b"', "{:x}  "])


def body_of(parts: list[bytes], form: str, trailers: list[str]) -> bytes:
    lines = [form.format(len(part)).encode() + b"\r\n" + part + b"\r\n" for part in parts]
    end = form.format(0).encode() + b"\r\n" + "".join(f"{trailer}\r\n" for trailer in trailers).encode() + b"\r\n"
    return b"".join([*lines, end])


@given(chunks, forms, st.lists(st.just("X-Digest: abc"), max_size=3), st.integers(1, 50))
def test_a_whole_body_is_its_chunks(parts: list[bytes], form: str, trailers: list[str], size: int) -> None:
    assert read(body_of(parts, form, trailers) + b"next answer", size) == b"".join(parts)


@given(chunks, forms, st.lists(st.just("X-Digest: abc"), max_size=3), st.data())
def test_a_body_cut_anywhere_is_never_whole(parts: list[bytes], form: str, trailers: list[str], data: st.DataObject) -> None:
    body = body_of(parts, form, trailers)
    with pytest.raises(http.client.HTTPException):
        read(body[: data.draw(st.integers(0, len(body) - 1))])


@pytest.mark.parametrize(
    "body",
    [
        b"hello",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"4\r\nhello\r\n0\r\n\r\n",
        b"6\r\nhello\r\n0\r\n\r\n",
        b"1" * 16 + b"\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 65 + b"\r\n",
        b"0\r\nX: " + b"y" * 5000 + b"\r\n\r\n",
    ],
)
def test_what_breaks_the_rules_is_refused(body: bytes) -> None:
    with pytest.raises(http.client.HTTPException):
        read(body)
