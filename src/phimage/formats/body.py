"""What a download turns out to be when it is no disk at all: an error page, a message, nothing."""

from __future__ import annotations

import codecs
import re

from phimage.formats.signature import Format

_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_DESCRIPTOR = re.compile(rb"\s*#\s*disk\s+descriptorfile|\s*(?:#[^\n]*\n|\s*\n)*version=[0-9]", re.IGNORECASE)


def body(head: bytes) -> Format | None:
    """What text the first bytes of a file are, None when they are not text.

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


def is_descriptor(head: bytes) -> bool:
    """Whether a text is the descriptor of a VMDK, which names other files as the disk."""
    return _DESCRIPTOR.match(head) is not None


def excerpt(head: bytes) -> str:
    """The first words of a text, for a message: short, and nothing that a terminal would obey."""
    words = " ".join(head[:200].decode("utf-8", "replace").split())
    return "".join(letter if letter.isprintable() else "?" for letter in words)[:80]


def _is_utf8(head: bytes) -> bool:
    """A letter cut at the end is forgiven. Old pages in one-byte alphabets count as text when they are mostly ASCII."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return sum(byte < 0x80 for byte in head) > 0.9 * len(head)
    return True
