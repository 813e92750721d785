"""Processes that end with the one that started them, and give memory back."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_M_MMAP_THRESHOLD = -3


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL at the parent's death; if it is dead already, end now."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def give_memory_back() -> None:
    """Let blocks of 256 KiB and more be of their own, so that what is freed of chunks and parts leaves the process at once.

    glibc raises that bound by itself with each large block that is freed, and then keeps such blocks.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 256 << 10)
