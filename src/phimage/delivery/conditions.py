"""Conditional requests (RFC 9110, 13)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import Literal

_TAG = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')

Outcome = Literal["go on", "not modified", "failed"]


def judge(headers: Mapping[str, str], etag: str, modified: int) -> Outcome:
    """What the conditions of a GET or HEAD come to, in the order of 13.2.2. `modified` is Unix seconds, 0 if nobody knows."""
    if "if-match" in headers:
        wanted = _tags(headers["if-match"])
        if wanted != ["*"] and etag not in wanted:
            return "failed"
    elif (since := _seconds(headers.get("if-unmodified-since"))) is not None and modified > since:
        return "failed"
    if "if-none-match" in headers:
        known = _tags(headers["if-none-match"])
        if known == ["*"] or etag in [tag.removeprefix("W/") for tag in known]:
            return "not modified"
    elif (since := _seconds(headers.get("if-modified-since"))) is not None and 0 < modified <= since:
        return "not modified"
    return "go on"


def range_counts(headers: Mapping[str, str], etag: str, modified: int) -> bool:
    """Whether If-Range lets the Range header count (13.1.5): it names what we have, exactly."""
    wanted = headers.get("if-range")
    if wanted is None:
        return True
    if wanted.strip().startswith(('"', "W/")):
        return wanted.strip() == etag
    return modified > 0 and wanted.strip() == http_date(modified)


def http_date(seconds: int) -> str:
    """A time as HTTP writes it."""
    return formatdate(seconds, usegmt=True)


def _tags(header: str) -> list[str]:
    """The entity tags of a list; of one that cannot be read, those before what cannot."""
    if header.strip() == "*":
        return ["*"]
    tags, at = [], 0
    while found := _TAG.match(header, at):
        tags.append(found[1])
        at = found.end()
    return tags


def _seconds(header: str | None) -> float | None:
    if header is None:
        return None
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None  # a date that cannot be read is no condition (13.1.3)
