"""The Range header (RFC 9110, 14.1 and 14.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

MAX_RANGES = 32
_MAX_CHARACTERS = 2048

_UNIT = re.compile(r"bytes=", re.IGNORECASE)
_SPEC = re.compile(r"([0-9]*)-([0-9]*)")


class Range(Struct, frozen=True):
    """Bytes from `start` until before `stop`; at least one."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.stop - self.start


def read_ranges(header: str, size: int) -> tuple[Range, ...] | None:
    """The ranges that are asked for, in their order and cut to a representation of `size` bytes; none if it has none of them.

    None: the header means nothing and is ignored, which is right for a header that cannot be read, for other units than
    bytes, and for more ranges or more bytes than one who wants a part of something asks for (14.2).
    """
    unit = _UNIT.match(header)
    if unit is None or len(header) > _MAX_CHARACTERS:
        return None
    try:
        asked = list(_specs(header[unit.end() :], size))
    except ValueError:
        return None
    found = tuple(range for range in asked if range is not None)
    if not asked or len(asked) > MAX_RANGES or (len(found) > 1 and sum(range.length for range in found) > size):
        return None
    return found


def _specs(text: str, size: int) -> Iterator[Range | None]:
    """Each range of a set, None for one that the representation does not have. Raises ValueError."""
    for element in text.split(","):
        spec = element.strip(" \t")
        if not spec:
            continue  # an empty element of a list (5.6.1.2)
        found = _SPEC.fullmatch(spec)
        if found is None or found[0] == "-":
            raise ValueError(spec)
        first, last = found.groups()
        if not first:
            start, stop = max(0, size - int(last)), size
        else:
            start, stop = int(first), min(int(last) + 1, size) if last else size
            if last and int(last) < start:
                raise ValueError(spec)
        yield Range(start, stop) if start < stop else None
