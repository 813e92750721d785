"""Recognising responses that are not an image, from their header and first MiB, before the rest is fetched.

Web pages are recognised from their bytes too, because servers send error pages with any status and type, and because people
save such pages and publish the file. The room `formats` recognises kinds of disk images.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from phimage.sources.errors import ResponseRefused, SourceInterrupted, TooLarge
from phimage.sources.response import HttpResponse

MIB: Final = 1024 * 1024
HEAD: Final = MIB
"""How many first bytes are checked."""

TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which a retry may help."""

_PAGES = re.compile(r"(text/html|(application|text)/([a-z0-9._-]+\+)?(json|xml))(\s*;.*)?", re.IGNORECASE)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_DESCRIPTOR = re.compile(rb"\s*#\s*disk\s+descriptorfile", re.IGNORECASE)
_REMEDY = "check with curl what the URL returns"


class FetchLimits(Struct, frozen=True):
    """Sizes in bytes: of an original, and the free space that a fetch leaves on the file system of its work file."""

    min_size: int = 4096
    max_size: int = 256 * 1024 * MIB
    min_free: int = 1024 * MIB


def check_min_size(where: str, size: int, limits: FetchLimits) -> None:
    """Raises ResponseRefused when an original is too small to be an image."""
    if size < limits.min_size:
        message = f"{size} bytes are too small for an image"
        raise ResponseRefused(where, message, "look at the bytes: they may be an error message", reason="tiny")


def check_max_size(where: str, size: int, limits: FetchLimits) -> None:
    """Raises TooLarge when an original exceeds the limit."""
    if size > limits.max_size:
        message = f"{size} bytes are more than the limit of {limits.max_size}"
        raise TooLarge(where, message, "ask the operator of this server for a larger limit", reason="limit")


def check_status(response: HttpResponse) -> None:
    """Raises SourceInterrupted for a transient status, ResponseRefused for any other but 200 and 206."""
    status = response.status
    if status in (200, 206):
        return
    if status in TRANSIENT_STATUSES:
        after = response.header("Retry-After")
        seconds = float(after) if re.fullmatch(r"\d{1,6}", after, re.ASCII) else 0.0
        message = "the server cannot respond at the moment"
        raise SourceInterrupted(response.url.shown, message, reason="status", status=status, after=seconds)
    if status in (401, 403, 407):
        remedy = "phimage sends no credentials: give a signed URL, or download the file and publish it"
        raise response.refused("the server requires credentials or denies access", remedy, reason="status")
    message = "there is no such file" if status in (404, 410) else "the server does not send a file"
    raise response.refused(message, _REMEDY, reason="status")


def check_headers(response: HttpResponse) -> None:
    """Raises ResponseRefused for a body that is not the file's bytes: a web page, or an encoded body."""
    encoding = response.header("Content-Encoding").lower()
    if encoding not in ("", "identity"):
        message = f"the server encodes the bytes (Content-Encoding: {encoding:.40})"
        raise response.refused(message, "configure it to send the file unchanged", reason="encoding")
    transfer = response.header("Transfer-Encoding").lower()
    if transfer and not response.chunked:
        message = f"the server encodes the bytes (Transfer-Encoding: {transfer:.40})"
        raise response.refused(message, "configure it to send the file unchanged", reason="encoding")
    kind = response.header("Content-Type")
    if _PAGES.fullmatch(kind):
        raise response.refused(f"the server sends {kind:.60}, which is not an image", _REMEDY, reason="page")


def check_head(where: str, head: bytes) -> None:
    """Raises ResponseRefused when the first bytes are a web page, a message or another text. Passes empty ones.

    Disks and compressed disks have a zero byte in their first sectors; texts have none. The descriptor of a VMDK is a text that
    passes, because the room `formats` explains it better.
    """
    head = head[:HEAD]
    if not head or _BINARY.search(head) or _DESCRIPTOR.match(head) or not _is_utf8(head):
        return
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1024].lower()
    remedy = _REMEDY
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in start:
        kind = "an HTML page"
    elif start.startswith((b"<?xml", b"<error", b"<!--")):
        kind = "an XML message"
    elif start.startswith((b"{", b"[")):
        kind = "a JSON message"
    elif start.startswith(b"version https://git-lfs.github.com/"):
        kind, remedy = "a Git LFS pointer", "give the URL of the file that it points to"
    elif start.startswith(b"-----begin pgp") or re.match(rb"\\?[0-9a-f]{32,128}([ \t\r\n]|$)|sha\d+ ?\(", start):
        kind, remedy = "a checksum file", "give it as the checksum file, and the image's URL beside it"
    else:
        kind = "a text"
    raise ResponseRefused(where, f"it is {kind}, not an image: {_excerpt(head)}", remedy, reason="page")


def _is_utf8(head: bytes) -> bool:
    try:
        head[:-3].decode("utf-8")  # the last character may be cut off
    except UnicodeDecodeError:
        return sum(byte < 0x80 for byte in head[:4096]) > 0.9 * min(len(head), 4096)  # a page in a one-byte encoding
    return True


def _excerpt(head: bytes) -> str:
    words = " ".join(head[:200].decode("utf-8", "replace").split())
    return "".join(letter if letter.isprintable() else "?" for letter in words)[:80]
