"""A raw disk: bytes without a format around them. What can be known comes from the disk itself."""

from __future__ import annotations

from phimage.formats import filesystem, partitions
from phimage.formats.finding import Report
from phimage.formats.limits import Limits
from phimage.formats.reader import Reader


def inspect(reader: Reader, report: Report, limits: Limits) -> None:
    """Report what a file is that no signature claims. Raises OutOfSight, TooLong."""
    size = reader.size
    report.virtual_size = -(-size // 512) * 512
    if size % 512:
        report.note("size.odd", f"{size} bytes")
    if size < limits.smallest:
        report.note("body.tiny", f"{size} bytes")
    table = partitions.read(reader)
    report.details["partitions"] = len(table.partitions)
    for id, text in table.remarks:
        report.note(id, text)
    if table.partitions:
        return
    whole = filesystem.recognise(reader)
    if whole is None:
        report.note("disk.unknown", "no partition table and no known file system")
    else:
        report.note("disk.bare", f"the whole disk is {whole.kind}")
