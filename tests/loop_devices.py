"""Loop devices: real block devices over files. They take root and the kernel's module; tests are skipped without them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def loop_device(file: Path, *, sector_size: int = 512, read_only: bool = False) -> Iterator[str]:
    """The path of a block device whose bytes are those of a file."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("loop devices are for root, where the kernel has them")
    options = ["--sector-size", str(sector_size), *(["--read-only"] if read_only else [])]
    made = subprocess.run(["losetup", "--find", "--show", *options, str(file)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        yield device
    finally:
        for left in range(50, -1, -1):  # it is busy for a moment after a process that had it open was killed
            if subprocess.run(["losetup", "--detach", device], capture_output=True, check=not left).returncode == 0:
                break
            time.sleep(0.1)
