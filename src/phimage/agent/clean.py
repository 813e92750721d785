"""Writes zeros to all of a disk, so that the next tenant of a host finds nothing of the last one."""

from __future__ import annotations

from collections.abc import Callable

from phimage.agent.block_device import MIB, SectorDevice
from phimage.agent.deploy import OnPhase
from phimage.agent.errors import DiskFailed

_AT_ONCE = 64 * MIB
_WINDOW = MIB
_SAMPLES = 256
"""Pieces that are read back, spread over the disk: enough to see a disk that took the command and did nothing."""
_SAMPLE = 64 << 10


# docs/decisions.md#zeros-are-written-never-skipped
def clean(device: SectorDevice, permit: Callable[[], object], on_phase: OnPhase) -> None:
    """Zero a disk: first what makes it bootable, then all of it, and read samples. May be repeated.

    `permit` is called before every write, and raises when writing must end. Raises DiskFailed.
    """
    size = device.size
    window = min(_WINDOW, size)
    for offset in (0, size - window):
        permit()
        device.zero(offset, window)
    device.sync()
    for offset in range(0, size, _AT_ONCE):
        on_phase("zero", offset, size)
        permit()
        device.zero(offset, min(_AT_ONCE, size - offset))
    device.sync()
    on_phase("zero", size, size)
    _check(device, on_phase)


def _check(device: SectorDevice, on_phase: OnPhase) -> None:
    """Raises DiskFailed unless samples of the disk, the first and the last of its bytes among them, are zeros."""
    length = min(_SAMPLE, device.size)
    last = device.size - length
    sector = device.sector_size
    for number in range(_SAMPLES):
        offset = last * number // (_SAMPLES - 1) // sector * sector
        if any(device.read(offset, length)):
            raise DiskFailed(device.path, "clean", offset, "it was zeroed and has other bytes")
        on_phase("read back", number + 1, _SAMPLES)
