"""Limits of what phimage accepts and spends: sizes of disks, reads of an examination, resources of a sandboxed program."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
TIB: Final = 1 << 40


class DiskLimits(Struct, frozen=True):
    """Limits of an examination, in bytes.

    `ratio` is the max virtual size for each byte of the file, and applies only to disks larger than `ratio_from`, because an
    empty disk of any format is a small file. `smallest` is the min size of a raw disk. `table` limits each table of metadata,
    `reading` all reads of one examination together, so that no file, however it is made, takes more memory or time.
    """

    virtual_size: int = 2 * TIB
    ratio: int = 10_000
    ratio_from: int = 16 * GIB
    smallest: int = MIB
    table: int = 32 * MIB
    descriptor: int = 64 * KIB
    reading: int = 288 * MIB


LIMITS: Final = DiskLimits()


class SandboxLimits(Struct, frozen=True):
    """Limits of a sandboxed program: seconds, CPU seconds, bytes of address space."""

    seconds: float = 3600
    cpu_seconds: int = 3600
    memory: int = 2 * GIB
