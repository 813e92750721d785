"""Hints: how an order or a person names a disk. The server reads them before it keeps them; the agent ships this file."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

HINT_FORM: Final = "wwn:TEXT, serial:TEXT, path:/dev/... or size:MIN-MAX such as size:400G-500G"

MAX_SIZE: Final = 1 << 63
_KINDS: Final = ("wwn", "serial", "path", "size")
_SIZE: Final = re.compile(r"([0-9]+)([kmgt]?i?)b?")
_UNITS: Final = {
    "": 1,
    "k": 1000,
    "m": 1000**2,
    "g": 1000**3,
    "t": 1000**4,
    "ki": 1 << 10,
    "mi": 1 << 20,
    "gi": 1 << 30,
    "ti": 1 << 40,
}


class DiskHint(NamedTuple):
    """A hint. Sizes are bytes, and those of another kind of hint are any."""

    kind: str
    value: str
    min_size: int = 0
    max_size: int = MAX_SIZE


def read_hint(text: str) -> DiskHint:
    """Read a hint. Which disk it names is decided beside the disks. Raises ValueError, which says what is expected."""
    kind, _, value = text.partition(":")
    value = value.strip()
    if kind not in _KINDS or not value:
        raise ValueError(f"{text!r} names no disk; expected {HINT_FORM}")
    if kind != "size":
        return DiskHint(kind, value)
    low, dash, high = (part.strip() for part in value.partition("-"))
    if not dash or not (low or high):
        raise ValueError(f"{text} is not a range of sizes; expected one such as size:400G-500G")
    hint = DiskHint(kind, value, _bytes(low or "0"), _bytes(high) if high else MAX_SIZE)
    if hint.min_size > hint.max_size:
        raise ValueError(f"{text} fits no disk; expected the smaller size first, as in size:400G-500G")
    return hint


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.lower())
    if not match or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is not a size; expected a number of bytes, or one with a unit such as 480G or 447Gi")
    return int(match[1]) * _UNITS[match[2]]
