"""Writes zeros to all of a disk, so that the next tenant of a host finds nothing of the last one."""

from __future__ import annotations

from collections.abc import Callable

from phimage.agent.block_device import MIB, SectorDevice
from phimage.agent.deploy import Watch

_AT_ONCE = 64 * MIB
_WINDOW = MIB


# docs/decisions.md#zeros-are-written-never-skipped
def clean(device: SectorDevice, permit: Callable[[], object], watch: Watch) -> None:
    """Zero a disk: first what makes it bootable, then all of it, and look at a few places. May be repeated.

    `permit` is called before every write, and raises when writing must end. Raises DiskFailed.
    """
    size = device.size
    window = min(_WINDOW, size)
    for offset in (0, size - window):
        permit()
        device.zero(offset, window)
    device.sync()
    for offset in range(0, size, _AT_ONCE):
        watch("zero", offset, size)
        permit()
        device.zero(offset, min(_AT_ONCE, size - offset))
    device.sync()
    watch("zero", size, size)
