"""The verdict on a file: what it is, how large its disk is, and whether it may be published.

The header decides, never a name. Our reader looks first and refuses what reaches outside, what is damaged and what is not
understood; only then is qemu-img asked, in its cell, whether it reads the same disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from phimage.formats import iso, qcow2, qemu, raw, vhd, vhdx, vmdk
from phimage.formats.body import body, excerpt, is_descriptor
from phimage.formats.failure import Malformed, OutOfSight, QemuFailed, TooLong, Truncated
from phimage.formats.finding import Detail, Finding, Report, shown
from phimage.formats.kinds import Severity
from phimage.formats.limits import LIMITS, Limits
from phimage.formats.reader import FileReader, HeadReader, Reader
from phimage.formats.signature import ARCHIVES, COMPRESSED, DISKS, HEAD, Format, recognise, recognise_head
from phimage.formats.view import Metered

Inspector = Callable[[Reader, Report, Limits], None]

INSPECTORS: Mapping[Format, Inspector] = {
    Format.RAW: raw.inspect,
    Format.ISO: iso.inspect,
    Format.QCOW2: qcow2.inspect,
    Format.VMDK: vmdk.inspect,
    Format.VHD: vhd.inspect,
    Format.VHDX: vhdx.inspect,
}

STATED = {format.value: format for format in DISKS} | {"img": Format.RAW, "vpc": Format.VHD}

SecondOpinion = Callable[[int, Format], qemu.Info]
"""What another program reads from an open file of a format. Raises QemuFailed."""


class Examination(Struct, frozen=True):
    """What a file is. `virtual_size` is bytes of the disk inside, None where it could not be known.

    `confirmed` says that qemu-img read the same format and size. `details` are facts of the format, such as its version.
    """

    format: Format
    virtual_size: int | None
    file_size: int | None
    findings: tuple[Finding, ...]
    details: dict[str, Detail]
    confirmed: bool

    def refusals(self, overrides: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
        """The findings that forbid to publish the file, without those that the operator overrides and may override."""
        return tuple(
            finding
            for finding in self.findings
            if finding.severity is Severity.REFUSE and not (finding.override and finding.id in overrides)
        )


def examine(
    source: Path | Reader,
    *,
    stated: str | None = None,
    limits: Limits = LIMITS,
    second: SecondOpinion | None = qemu.info,
) -> Examination:
    """Examine a whole file. Bytes that make no sense become findings; OSError means that they could not be read.

    Of a path the second opinion is asked too, unless the first one refuses for good. A reader has the first one only. Raises
    FormatError for a path that is no file, SetupError where qemu-img is not installed.
    """
    if not isinstance(source, Path):
        report, format = _report(source, stated, limits)
        return _examination(report, format, source.size, confirmed=False)
    with FileReader(source) as reader:
        report, format = _report(reader, stated, limits)
        if second is None or _hopeless(report):
            return _examination(report, format, reader.size, confirmed=False)
        confirmed = _confirm(second, reader.descriptor, format, report)
        return _examination(report, format, reader.size, confirmed=confirmed)


def examine_head(head: bytes, size: int | None, *, stated: str | None = None, limits: Limits = LIMITS) -> Examination:
    """The same for the first bytes of a file that is still coming; `size` is what its sender promised.

    What is refused now would be refused at the end. What is not may be: the rest was not seen. Use a MiB, better four.
    """
    report = Report()
    format = _format(recognise_head(head), head[:HEAD], report)
    _inspect(format, HeadReader(head, size), report, limits)
    _sizes(report, size, limits)
    if format is not Format.RAW:  # the end of the file may still make it a VHD
        _stated(stated, format, report)
    return _examination(report, format, size, confirmed=False)


def examine_disk(disk: Reader, *, limits: Limits = LIMITS) -> Examination:
    """Examine a decoded disk: whether a program that guesses would take it for an image of another format again."""
    report = Report()
    found = recognise(disk)
    format = Format.ISO if found == (Format.ISO,) else Format.RAW
    for other in found:
        if other is not Format.ISO:
            report.note("disk.nested", f"it begins or ends like {other}")
    _inspect(format, disk, report, limits)
    return _examination(report, format, disk.size, confirmed=False)


def _report(reader: Reader, stated: str | None, limits: Limits) -> tuple[Report, Format]:
    report = Report()
    head = reader.read_at(0, HEAD)
    format = _format(recognise(reader), head, report)
    _inspect(format, reader, report, limits)
    _sizes(report, reader.size, limits)
    _stated(stated, format, report)
    return report, format


def _format(found: tuple[Format, ...], head: bytes, report: Report) -> Format:
    if not found:
        text = body(head)
        if text is None:
            return Format.RAW
        if is_descriptor(head):
            report.note("vmdk.descriptor", f"it begins with: {excerpt(head)}")
            return Format.VMDK
        report.note(f"body.{text}", f"it begins with: {excerpt(head)}" if head else "0 bytes")
        return text
    format = found[0]
    if format in COMPRESSED:
        report.note("format.compressed", f"compressed with {format}")
    elif format in ARCHIVES:
        report.note("format.archive", f"an archive: {format}")
    elif format not in DISKS:
        report.note("format.unsupported", f"the format is {format}")
    if len(found) > 1 and format not in COMPRESSED:
        report.note("format.ambiguous", f"it has the signatures of {', '.join(found)}")
    return format


def _inspect(format: Format, reader: Reader, report: Report, limits: Limits) -> None:
    if report.refused:
        return
    try:
        INSPECTORS[format](Metered(reader, limits.reading), report, limits)
    except Truncated as error:
        report.note(f"{format}.truncated", str(error))
    except Malformed as error:
        report.note(f"{format}.malformed", str(error))
    except TooLong as error:
        report.note("examination.limit", str(error))
    except OutOfSight:
        pass


def _sizes(report: Report, file_size: int | None, limits: Limits) -> None:
    size = report.virtual_size
    if size is None:
        return
    if size == 0:
        report.note("size.zero", "the virtual size is 0")
    if size > limits.virtual_size:
        report.note("size.limit", f"a disk of {size} bytes; the limit is {limits.virtual_size}")
    if file_size and size > limits.ratio_from and size > limits.ratio * file_size:
        report.note("size.ratio", f"a disk of {size} bytes in a file of {file_size}")


def _stated(stated: str | None, format: Format, report: Report) -> None:
    if stated is None:
        return
    meant = STATED.get(stated.lower())
    if meant is None:
        report.note("stated.unknown", f"stated {shown(stated.encode())}")
    elif meant is Format.RAW and format is Format.ISO:
        report.note("stated.iso", "stated raw, found iso")
    elif meant is not format:
        report.note("stated.mismatch", f"stated {meant}, found {format}")


def _hopeless(report: Report) -> bool:
    return any(finding.severity is Severity.REFUSE and not finding.override for finding in report.findings)


def _confirm(second: SecondOpinion, file: int, format: Format, report: Report) -> bool:
    try:
        info = second(file, format)
    except QemuFailed as error:
        report.note("inspectors.disagree", str(error))
        return False
    if info.format != qemu.DRIVERS[format]:
        report.note("inspectors.disagree", f"qemu-img calls it {info.format}, phimage {format}")
    elif info.virtual_size != report.virtual_size:
        report.note("inspectors.disagree", f"qemu-img reads {info.virtual_size} bytes, phimage {report.virtual_size}")
    elif info.elsewhere:
        report.note("inspectors.disagree", f"qemu-img sees {info.elsewhere}")
    else:
        return True
    return False


def _examination(report: Report, format: Format, size: int | None, *, confirmed: bool) -> Examination:
    return Examination(format, report.virtual_size, size, report.findings, report.details, confirmed)
