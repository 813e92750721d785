"""Limits of what phimage accepts and spends: sizes of disks, reads of an examination, resources of a sandboxed program."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
TIB: Final = 1 << 40


class DiskLimits(Struct, frozen=True):
    """Limits of an examination, in bytes. No file, however it is made, costs more memory or time than they allow."""

    virtual_size: int = 2 * TIB
    """The max size of a disk."""

    ratio: int = 10_000
    """The max virtual size for each byte of the file."""

    ratio_from: int = 16 * GIB
    """`ratio` applies only to disks larger than this, because an empty disk of any format is a small file."""

    smallest: int = MIB
    """The min size of a raw disk."""

    table: int = 32 * MIB
    """The max size of one table of metadata."""

    descriptor: int = 64 * KIB
    """The max size of a VMDK descriptor."""

    reading: int = 288 * MIB
    """The max total of all reads of one examination."""


LIMITS: Final = DiskLimits()


class SandboxLimits(Struct, frozen=True):
    """Limits of a sandboxed program: seconds, CPU seconds, bytes of address space."""

    seconds: float = 3600
    cpu_seconds: int = 3600
    memory: int = 2 * GIB
