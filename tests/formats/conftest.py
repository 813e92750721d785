"""These tests make and convert real images. They are skipped, with the reason, where the programs for that are missing."""

from __future__ import annotations

import os
import shutil

import pytest

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MISSING = [name for name in ("qemu-img", "mke2fs", "sfdisk") if shutil.which(name, path=PATH) is None]


@pytest.fixture(autouse=True, scope="session")
def programs() -> None:
    """Skips what cannot run; on Debian: apt-get install qemu-utils e2fsprogs fdisk."""
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed; on Debian: apt-get install qemu-utils e2fsprogs fdisk")
