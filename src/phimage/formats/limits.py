"""How much an examination accepts, and how much it may cost."""

from __future__ import annotations

from msgspec import Struct

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40


class Limits(Struct, frozen=True):
    """All sizes are bytes.

    `ratio` is virtual size to file size, asked only of disks larger than `ratio_from`: an empty disk of any format is small.
    `smallest` is for files that have no format of their own. `table` bounds each table of metadata, `reading` all that one
    examination reads together, so that no file, however it is made, takes more memory or time.
    """

    virtual_size: int = 2 * TIB
    ratio: int = 10_000
    ratio_from: int = 16 * GIB
    smallest: int = MIB
    table: int = 32 * MIB
    descriptor: int = 64 * KIB
    reading: int = 288 * MIB


LIMITS = Limits()
