"""Conditional requests and ranges (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import Literal

from msgspec import Struct

MAX_RANGES = 32
_MAX_RANGE_CHARACTERS = 2048

_TAG = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
_UNIT = re.compile(r"bytes=", re.IGNORECASE)
_SPEC = re.compile(r"([0-9]*)-([0-9]*)")

Outcome = Literal["proceed", "not modified", "failed"]


def evaluate(headers: Mapping[str, str], etag: str, modified: int) -> Outcome:
    """The outcome of the preconditions of a GET or HEAD, in the order of 13.2.2. `modified` is Unix seconds, 0 if unknown."""
    if "if-match" in headers:
        tags = _tags(headers["if-match"])
        if tags != ["*"] and etag not in tags:
            return "failed"
    elif (since := _seconds(headers.get("if-unmodified-since"))) is not None and modified > since:
        return "failed"
    if "if-none-match" in headers:
        tags = _tags(headers["if-none-match"])
        if tags == ["*"] or etag in [tag.removeprefix("W/") for tag in tags]:
            return "not modified"
    elif (since := _seconds(headers.get("if-modified-since"))) is not None and 0 < modified <= since:
        return "not modified"
    return "proceed"


def range_applies(headers: Mapping[str, str], etag: str, modified: int) -> bool:
    """Whether the Range header applies: If-Range is absent or names exactly this representation (13.1.5)."""
    condition = headers.get("if-range")
    if condition is None:
        return True
    if condition.strip().startswith(('"', "W/")):
        return condition.strip() == etag
    return modified > 0 and condition.strip() == http_date(modified)


def http_date(seconds: int) -> str:
    """A time in Unix seconds as an HTTP-date."""
    return formatdate(seconds, usegmt=True)


class ByteRange(Struct, frozen=True):
    """At least one byte: those from `start` until before `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.stop - self.start


def read_ranges(header: str, size: int) -> tuple[ByteRange, ...] | None:
    """The ranges of a Range header, in its order and cut to a representation of `size` bytes; empty if none is satisfiable.

    None when the header must be ignored: it is malformed, its unit is not bytes, it has more than MAX_RANGES ranges, or they
    have more bytes than the representation (14.2).
    """
    unit = _UNIT.match(header)
    if unit is None or len(header) > _MAX_RANGE_CHARACTERS:
        return None
    try:
        specs = list(_range_specs(header[unit.end() :], size))
    except ValueError:
        return None
    ranges = tuple(spec for spec in specs if spec is not None)
    if not specs or len(specs) > MAX_RANGES or (len(ranges) > 1 and sum(each.length for each in ranges) > size):
        return None
    return ranges


def _range_specs(text: str, size: int) -> Iterator[ByteRange | None]:
    """Each range of a set, None for one that is not satisfiable. Raises ValueError."""
    for element in text.split(","):
        spec = element.strip(" \t")
        if not spec:
            continue  # an empty list element is allowed (5.6.1.2)
        match = _SPEC.fullmatch(spec)
        if match is None or match[0] == "-":
            raise ValueError(spec)
        first, last = match.groups()
        if not first:
            start, stop = max(0, size - int(last)), size
        else:
            start, stop = int(first), min(int(last) + 1, size) if last else size
            if last and int(last) < start:
                raise ValueError(spec)
        yield ByteRange(start, stop) if start < stop else None


def _tags(header: str) -> list[str]:
    """The entity tags of a list, up to the first malformed one."""
    if header.strip() == "*":
        return ["*"]
    tags, at = [], 0
    while match := _TAG.match(header, at):
        tags.append(match[1])
        at = match.end()
    return tags


def _seconds(header: str | None) -> float | None:
    if header is None:
        return None
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None  # a malformed date is no condition (13.1.3)
