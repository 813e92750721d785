"""Recognising the format of a file by its bytes: signatures, and texts that a download returns instead of a disk image."""

from __future__ import annotations

import codecs
import re
from typing import Final

from phimage.formats.iso import VOLUME
from phimage.formats.reader import ReaderAt
from phimage.formats.table import SIGNATURES, Format

HEAD: Final = 4096
"""How many first bytes identify a compressed file or a text."""

_HEAD_FIRST = tuple(sorted(SIGNATURES, key=lambda signature: signature.offset != 0))
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# White space can be matched in one way alone: with two, the attempts double with each empty line of a text.
_DESCRIPTOR = re.compile(rb"\s*#\s*disk\s+descriptorfile|(?:\s*#[^\n]*\n)*\s*version=[0-9]", re.IGNORECASE)


def recognise(reader: ReaderAt) -> tuple[Format, ...]:
    """Every format whose signature the file has, that of its first bytes first. Empty: raw, or a text (see `text_format`)."""
    head = reader.read_at(0, HEAD)
    volume = reader.read_at(VOLUME, 8)
    tail = reader.read_at(max(0, reader.size - 512), 512) if reader.size >= 1024 else b""
    return _matching(head, volume, tail)


def recognise_head(head: bytes) -> tuple[Format, ...]:
    """Like `recognise`, for the first bytes of a file whose end has not arrived yet."""
    return _matching(head[:HEAD], head[VOLUME : VOLUME + 8], b"")


def text_format(head: bytes) -> Format | None:
    """The kind of text that the first bytes of a file are, None when they are not text.

    A disk has a zero byte in its first sectors; no text has one.
    """
    if not head:
        return Format.EMPTY
    if _BINARY.search(head) or not _is_utf8(head):
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:512].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in start:
        return Format.HTML
    if start.startswith((b"<?xml", b"<error", b"<!--")):
        return Format.XML
    if re.match(rb'(\{\s*(["}]|$)|\[\s*([\[{"\d\]]|$))', start):
        return Format.JSON
    return Format.TEXT


def is_vmdk_descriptor(head: bytes) -> bool:
    """Whether a text is the descriptor of a VMDK, which names other files as the disk."""
    return _DESCRIPTOR.match(head) is not None


def excerpt(head: bytes) -> str:
    """The first words of a text for a message: short and printable."""
    words = " ".join(head[:200].decode("utf-8", "replace").split())
    return "".join(letter if letter.isprintable() else "?" for letter in words)[:80]


def _matching(head: bytes, volume: bytes, tail: bytes) -> tuple[Format, ...]:
    formats: dict[Format, None] = {}
    for signature in _HEAD_FIRST:
        if signature.offset < 0:
            matches = tail.startswith(signature.bytes)
        elif signature.offset < len(head):
            matches = head.startswith(signature.bytes, signature.offset)
        else:
            matches = volume.startswith(signature.bytes, signature.offset - VOLUME)
        if matches:
            formats[signature.format] = None
    if Format.QCOW in formats:
        formats.pop(Format.QCOW2, None)
    return tuple(formats)


def _is_utf8(head: bytes) -> bool:
    """Whether bytes are UTF-8, up to a character cut off at the end. Pages in one-byte encodings pass if mostly ASCII."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return sum(byte < 0x80 for byte in head) > 0.9 * len(head)
    return True
