"""Formats recognised by their first and last bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.formats.reader import BytesReader
from phimage.formats.recognise import excerpt, is_vmdk_descriptor, recognise, recognise_head, text_format
from phimage.formats.table import ARCHIVES, COMPRESSED, DISK_FORMATS, SIGNATURES, Format
from tests.formats import make

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


TEXTS = frozenset({Format.HTML, Format.XML, Format.JSON, Format.TEXT, Format.EMPTY})


def test_no_format_belongs_to_two_families() -> None:
    families = [frozenset(DISK_FORMATS), COMPRESSED, ARCHIVES, TEXTS]
    assert sum(len(family) for family in families) == len(frozenset().union(*families)) < len(Format)


def test_every_format_but_raw_and_the_texts_has_a_signature() -> None:
    assert {signature.format for signature in SIGNATURES} == set(Format) - TEXTS - {Format.RAW}


@pytest.mark.parametrize("level", [1, 6])
@given(data=st.binary(max_size=2000))
def test_compressed_data_is_told_by_what_compressed_it(level: int, data: bytes) -> None:
    assert recognise_head(gzip.compress(data, level)) == (Format.GZIP,)
    assert recognise_head(bz2.compress(data, level)) == (Format.BZIP2,)
    assert recognise_head(lzma.compress(data, preset=level)) == (Format.XZ,)
    assert recognise_head(zstd.compress(data, level)) == (Format.ZSTD,)
    assert recognise_head(zlib.compress(data, level)) == ()


def test_a_skippable_frame_in_front_is_zstd_too() -> None:
    assert recognise_head(b"\x5e\x2a\x4d\x18\x04\0\0\0abcd") == (Format.ZSTD,)


def test_the_head_comes_before_the_volume_and_the_tail() -> None:
    image = bytearray(make.iso())
    image[:4] = b"QFI\xfb"
    image[257:262] = b"ustar"
    image[-512:-508] = b"koly"
    assert recognise(BytesReader(image)) == (Format.QCOW2, Format.ISO, Format.DMG, Format.TAR)


def test_a_short_file_has_no_tail() -> None:
    assert recognise(BytesReader(b"koly".ljust(512, b"\0"))) == ()


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"", Format.EMPTY),
        (b"<!DOCTYPE HTML>", Format.HTML),
        (b"\xef\xbb\xbf\r\n<html>", Format.HTML),
        (b"<!-- moved --><HTML>", Format.HTML),
        (b"<html>" + "höflich".encode("latin-1") * 3 + b" " * 200, Format.HTML),
        (b"<?xml version='1.0'?>", Format.XML),
        (b'{"a": 1}', Format.JSON),
        (b'[{"a": 1}]', Format.JSON),
        (b"[1, 2]", Format.JSON),
        (b"{}", Format.JSON),
        (b"not found\n", Format.TEXT),
        (b"{curly words}", Format.TEXT),
        ("文件不存在".encode(), Format.TEXT),
        ("文件不存在".encode()[:-1], Format.TEXT),
        (b"\x1b[31mred\x1b[0m", Format.TEXT),
        (b"text\0", None),
        (b"\xff" * 100, None),
        (make.mbr(), None),
        (bytes(512), None),
    ],
)
def test_a_text_is_told_from_a_disk(head: bytes, found: Format | None) -> None:
    assert text_format(head) is found


@pytest.mark.parametrize(
    "head", [b"# Disk DescriptorFile\n", b"#\n  \n# x\nversion=1\n", b"version=3\r\n", b"\n# disk descriptorfile"]
)
def test_a_descriptor_is_told_from_other_texts(head: bytes) -> None:
    assert is_vmdk_descriptor(head)
    assert not is_vmdk_descriptor(b"a disk, " + head)


@pytest.mark.parametrize("line", [b"\n", b" \n", b"#\n", b"\n#", b"\t"])
def test_lines_that_lead_nowhere_are_read_once(line: bytes) -> None:
    head = (line * 4096)[:4096]
    assert text_format(head) is Format.TEXT
    assert not is_vmdk_descriptor(head)
    assert is_vmdk_descriptor(head + b"\nversion=1\n")


def test_an_excerpt_is_short_and_harmless() -> None:
    assert excerpt(b"\x1b[31m  a\n\tb" + b"c" * 500) == "?[31m a b" + "c" * 71
