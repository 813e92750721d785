"""What an answer is when it is no image: judged from its header and its first MiB, before the rest is fetched.

A page is told from its bytes too, because servers send their error pages with any status and any type, and because people
save such pages and publish the file. What kind of disk image it is, is another room's question.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from phimage.sources.answer import Answer
from phimage.sources.errors import AnswerRefused, SourceBroken, TooLarge

MIB: Final = 1024 * 1024
HEAD: Final = MIB
"""How many first bytes are judged."""

PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which asking again may help."""

_PAGES = re.compile(r"(text/html|(application|text)/([a-z0-9._-]+\+)?(json|xml))(\s*;.*)?", re.IGNORECASE)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_DESCRIPTOR = re.compile(rb"\s*#\s*disk\s+descriptorfile", re.IGNORECASE)
_REMEDY = "check the URL, and what it answers to curl"


class Limits(Struct, frozen=True):
    """How many bytes an original may have, and how many stay free on the disk that it is written to."""

    min_size: int = 4096
    max_size: int = 256 * 1024 * MIB
    reserve: int = 1024 * MIB


def check_min_size(where: str, size: int, limits: Limits) -> None:
    """Raises AnswerRefused when an original is too small to be an image."""
    if size < limits.min_size:
        told = f"only {size} bytes, which is no image"
        raise AnswerRefused(where, told, "look at them: they may be an error message", reason="tiny")


def check_max_size(where: str, size: int, limits: Limits) -> None:
    """Raises TooLarge when an original is over the limit."""
    if size > limits.max_size:
        told = f"{size} bytes are more than the limit of {limits.max_size}"
        raise TooLarge(where, told, "ask the operator of this server for a larger limit", reason="limit")


def check_status(answer: Answer) -> None:
    """Raises SourceBroken for a status after which asking again may help, AnswerRefused for another but 200 and 206."""
    status = answer.status
    if status in (200, 206):
        return
    if status in PASSING:
        after = answer.field("Retry-After")
        seconds = float(after) if re.fullmatch(r"\d{1,6}", after, re.ASCII) else 0.0
        raise SourceBroken(answer.url.shown, "the server cannot answer now", reason="status", status=status, after=seconds)
    if status in (401, 403, 407):
        remedy = "phimage sends no credentials: give a signed URL, or download the file and publish that"
        raise answer.refused("the server does not give it to everybody", remedy, reason="status")
    told = "there is no such file" if status in (404, 410) else "the server does not answer with a file"
    raise answer.refused(told, _REMEDY, reason="status")


def check_fields(answer: Answer) -> None:
    """Raises AnswerRefused for a body that would not be the file's bytes: a page, or bytes changed on the way."""
    encoding = answer.field("Content-Encoding").lower()
    if encoding not in ("", "identity"):
        told = f"the server changes the bytes on the way (Content-Encoding: {encoding:.40})"
        raise answer.refused(told, "tell it to send the file as it is", reason="encoding")
    transfer = answer.field("Transfer-Encoding").lower()
    if transfer and not answer.chunked:
        told = f"the server changes the bytes on the way (Transfer-Encoding: {transfer:.40})"
        raise answer.refused(told, "tell it to send the file as it is", reason="encoding")
    kind = answer.field("Content-Type")
    if _PAGES.fullmatch(kind):
        raise answer.refused(f"the server sends {kind:.60}, which is a page and no image", _REMEDY, reason="page")


def check_head(where: str, head: bytes) -> None:
    """Raises AnswerRefused when the first bytes are a page, a message or another text. Empty ones pass: see `check_least`.

    A disk has a zero byte in its first sectors, a compressed one too; no text has one. The descriptor of a VMDK is a text
    that passes, because whoever examines formats has better words for it.
    """
    head = head[:HEAD]
    if not head or _BINARY.search(head) or _DESCRIPTOR.match(head) or not _is_utf8(head):
        return
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1024].lower()
    remedy = _REMEDY
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in start:
        told = "an HTML page"
    elif start.startswith((b"<?xml", b"<error", b"<!--")):
        told = "an XML message"
    elif start.startswith((b"{", b"[")):
        told = "a JSON message"
    elif start.startswith(b"version https://git-lfs.github.com/"):
        told, remedy = "a Git LFS pointer", "give the URL of the file that it points to"
    elif start.startswith(b"-----begin pgp") or re.match(rb"\\?[0-9a-f]{32,128}([ \t\r\n]|$)|sha\d+ ?\(", start):
        told, remedy = "a checksum file", "give it as the checksum file, and the image's URL beside it"
    else:
        told = "a text"
    said = _excerpt(head)
    raise AnswerRefused(where, f"it is {told} and no image: {said}", remedy, reason="page")


def _is_utf8(head: bytes) -> bool:
    try:
        head[:-3].decode("utf-8")  # a letter may be cut at the end
    except UnicodeDecodeError:
        return sum(byte < 0x80 for byte in head[:4096]) > 0.9 * min(len(head), 4096)  # an old page in a one-byte alphabet
    return True


def _excerpt(head: bytes) -> str:
    words = " ".join(head[:200].decode("utf-8", "replace").split())
    return "".join(letter if letter.isprintable() else "?" for letter in words)[:80]
