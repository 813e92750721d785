"""One system call that makes everything on a file system durable, and where it can replace a sync of each file.

`syncfs` writes all files of the file system, also those of other programs. It is one commit of the journal, where each fsync
of a new file is another one.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from functools import cache
from pathlib import Path

_LOCAL_FILE_SYSTEMS = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994})  # ext4, XFS, Btrfs, F2FS, tmpfs
_REPORTS_ERRORS_SINCE = (5, 8)
"""The first version of Linux whose syncfs returns the errors of writing data, since its descriptor was opened."""

_STATFS_BYTES = 512  # more than any struct statfs, whose first word is the type
_WORD = ctypes.sizeof(ctypes.c_long)


def sync_file_system(file: int) -> None:
    """Make all files and folders on the file system of an open descriptor durable.

    Raises OSError, also for any data that could not be written since the descriptor was opened.
    """
    if _libc().syncfs(file):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


# docs/decisions.md#chunks-are-synced-in-batches
def can_sync_file_system(folder: Path) -> bool:
    """Whether `sync_file_system` keeps the promise of fsync for the files of a folder: durable on return, or an error.

    False on older kernels, and on network and stacked file systems, which may not pass the call on.
    """
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if sys.platform != "linux" or release is None or not hasattr(_libc(), "syncfs"):
        return False
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if (int(release[1]), int(release[2])) < _REPORTS_ERRORS_SINCE or _libc().statfs(os.fsencode(folder), buffer):
        return False
    return int.from_bytes(buffer.raw[:_WORD], sys.byteorder) in _LOCAL_FILE_SYSTEMS


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
