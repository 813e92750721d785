"""Recorded requests: files with the bytes that a real client sends, from wire-protocol 1.1, 2.6 and Appendix A.

A file is an HTTP/1.1 request whose head has plain line ends; after the first empty line comes the body, byte for byte. What
differs from call to call (the time, a port) has a fixed value.
"""

from __future__ import annotations

from pathlib import Path

from tests.api.signer import Request

FOLDER = Path(__file__).parent / "recordings"


def parse(data: bytes) -> Request:
    """The request in a file. What is missing or broken in its head is read as far as it goes."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    method, _, rest = first.partition(" ")
    path, _, query = rest.removesuffix(" HTTP/1.1").partition("?")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return Request(method, path, query, headers, body)


def recordings() -> dict[str, Request]:
    """Every recording by name: `py-invoke-blanks` is of the client PY."""
    return {path.stem: parse(path.read_bytes()) for path in sorted(FOLDER.glob("*.http"))}
