"""`phimage-agent disks`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from phimage.agent.disks import FoundDisk, find_disks
from phimage.agent.refusals import busy_reason

_COLUMNS = ("PATH", "SIZE", "SECTORS", "IDENTITY", "WWN", "MODEL", "STATE")
"""IDENTITY is what confirms that a disk may be overwritten."""


def list_disks(given: argparse.Namespace) -> int:
    """Print the disks of this machine and what keeps each from being written."""
    disks = find_disks()
    if given.json:
        rows = [{**asdict(disk), "busy": busy_reason(disk, disks)} for disk in disks]
        print(json.dumps(rows, indent=2))  # noqa: T201  the output of the command
        return 0
    table = [_COLUMNS, *(_row(disk, busy_reason(disk, disks)) for disk in disks)]
    widths = [max(len(row[column]) for row in table) for column in range(len(_COLUMNS) - 1)]
    for row in table:
        print("  ".join([*(text.ljust(width) for text, width in zip(row[:-1], widths, strict=True)), row[-1]]))  # noqa: T201
    return 0


def _row(disk: FoundDisk, busy: str) -> tuple[str, ...]:
    size = f"{disk.size / 1e9:.1f} GB"
    state = f"busy: {busy}" if busy else "can be written"
    return disk.path, size, str(disk.sector_size), disk.identity, disk.wwn or "-", disk.model or "-", state
