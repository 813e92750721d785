"""Which processes there are, from /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return _status(pid)[0] not in ("", "Z")


def gone(*pids: int, within: float = 10) -> bool:
    """Whether killed processes are gone, after a moment for the kernel."""
    ends = time.monotonic() + within
    while any(alive(pid) for pid in pids) and time.monotonic() < ends:
        time.sleep(0.02)
    return not any(alive(pid) for pid in pids)


def offspring(of: int | None = None) -> list[int]:
    """The processes that run below this one."""
    parent = os.getpid() if of is None else of
    children = [
        int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _status(int(path.name))[1] == parent
    ]
    return sorted(pid for child in children if alive(child) for pid in (child, *offspring(child)))


def _status(pid: int) -> tuple[str, int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])
