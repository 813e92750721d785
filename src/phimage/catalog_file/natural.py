"""The order in which people look for names: numbers inside of names count as numbers."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"([0-9]+)")


def natural(name: str) -> tuple[list[str | int], str]:
    """Sort key: 1G before 10G, 8.9 before 8.10. Total: names that count the same are ordered by their letters."""
    parts = _DIGITS.split(name)  # text and digits take turns, so that only like is compared with like
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name
