"""The examination of a file: its format, the size of its disk, and whether it may be published.

The header decides, never a name. phimage's own inspector runs first and refuses files that refer to others, are damaged or are
not understood; only then qemu-img is asked, in its sandbox, whether it reads the same disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from phimage.formats import qemu
from phimage.formats.errors import BeyondHead, Malformed, QemuFailed, ReadLimitExceeded, Truncated
from phimage.formats.finding import Detail, Finding, InspectionReport, Severity, shown
from phimage.formats.limits import LIMITS, DiskLimits
from phimage.formats.reader import FileReader, HeadReader, MeteredReader, ReaderAt
from phimage.formats.recognise import HEAD, excerpt, is_vmdk_descriptor, recognise, recognise_head, text_format
from phimage.formats.table import ARCHIVES, COMPRESSED, DISK_FORMATS, KINDS, STATED_NAMES, Format

SecondOpinion = Callable[[int, Format], qemu.QemuInfo]
"""What another program reads from an open file of a format. Raises QemuFailed."""


class Examination(Struct, frozen=True):
    """The result of an examination. `virtual_size` is the size of the disk in bytes, None where it is unknown.

    `confirmed` means that qemu-img read the same format and size. `details` are facts of the format, such as its version.
    """

    format: Format
    virtual_size: int | None
    file_size: int | None
    findings: tuple[Finding, ...]
    details: dict[str, Detail]
    confirmed: bool

    def refusals(self, overrides: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
        """The findings that refuse the file, without those that the operator overrides and may override."""
        return tuple(
            finding
            for finding in self.findings
            if finding.severity is Severity.REFUSE and not (finding.override and finding.id in overrides)
        )


def examine(
    source: Path | ReaderAt,
    *,
    stated: str | None = None,
    limits: DiskLimits = LIMITS,
    second: SecondOpinion | None = qemu.info,
    outline: Path | None = None,
) -> Examination:
    """Examine a complete file. Malformed bytes become findings; OSError means that the file could not be read.

    A path also gets the second opinion, unless the first one refuses it without a possible override. A reader gets only the
    first, unless `outline` is a file of the same size that stands for a raw disk. Raises FormatError for a path that is not a
    file, SetupError when qemu-img is not installed.
    """
    if isinstance(source, Path):
        with FileReader(source) as reader:
            report, format = _report(reader, stated, limits)
            confirmed = _seconded(second, reader, format, report)
            return _examination(report, format, reader.size, confirmed=confirmed)
    report, format = _report(source, stated, limits)
    confirmed = False
    if outline is not None:
        with FileReader(outline) as reader:
            confirmed = _seconded(second, reader, format, report)
    return _examination(report, format, source.size, confirmed=confirmed)


def examine_head(head: bytes, size: int | None, *, stated: str | None = None, limits: DiskLimits = LIMITS) -> Examination:
    """Examine the first bytes of a file that is still arriving; `size` is its declared size. Give a MiB, better four.

    A refusal is final. An acceptance is not, because the rest was not examined.
    """
    report = InspectionReport(KINDS)
    format = _format(recognise_head(head), head[:HEAD], report)
    _inspect(format, HeadReader(head, size), report, limits)
    _check_sizes(report, size, limits)
    if format is not Format.RAW:  # the end of the file may still make it a VHD
        _check_stated(stated, format, report)
    return _examination(report, format, size, confirmed=False)


def examine_disk(disk: ReaderAt, *, limits: DiskLimits = LIMITS) -> Examination:
    """Examine a decoded disk: refuse it if a program that guesses formats would take it for an image of another one."""
    report = InspectionReport(KINDS)
    formats = recognise(disk)
    format = Format.ISO if formats == (Format.ISO,) else Format.RAW
    for other in formats:
        if other is not Format.ISO:
            report.note("disk.nested", f"the disk has the signature of {other}")
    _inspect(format, disk, report, limits)
    return _examination(report, format, disk.size, confirmed=False)


def _report(reader: ReaderAt, stated: str | None, limits: DiskLimits) -> tuple[InspectionReport, Format]:
    report = InspectionReport(KINDS)
    head = reader.read_at(0, HEAD)
    format = _format(recognise(reader), head, report)
    _inspect(format, reader, report, limits)
    _check_sizes(report, reader.size, limits)
    _check_stated(stated, format, report)
    return report, format


def _format(formats: tuple[Format, ...], head: bytes, report: InspectionReport) -> Format:
    if not formats:
        text = text_format(head)
        if text is None:
            return Format.RAW
        if is_vmdk_descriptor(head):
            report.note("vmdk.descriptor", f"it begins with: {excerpt(head)}")
            return Format.VMDK
        report.note(f"body.{text}", f"it begins with: {excerpt(head)}" if head else "0 bytes")
        return text
    format = formats[0]
    if format in COMPRESSED:
        report.note("format.compressed", f"compressed with {format}")
    elif format in ARCHIVES:
        report.note("format.archive", f"an archive: {format}")
    elif format not in DISK_FORMATS:
        report.note("format.unsupported", f"the format is {format}")
    if len(formats) > 1 and format not in COMPRESSED:
        report.note("format.ambiguous", f"it has the signatures of {', '.join(formats)}")
    return format


def _inspect(format: Format, reader: ReaderAt, report: InspectionReport, limits: DiskLimits) -> None:
    if report.refused:
        return
    try:
        DISK_FORMATS[format].inspect(MeteredReader(reader, limits.reading), report, limits)
    except Truncated as error:
        report.note(f"{format}.truncated", str(error))
    except Malformed as error:
        report.note(f"{format}.malformed", str(error))
    except ReadLimitExceeded as error:
        report.note("examination.limit", str(error))
    except BeyondHead:
        pass


def _check_sizes(report: InspectionReport, file_size: int | None, limits: DiskLimits) -> None:
    size = report.virtual_size
    if size is None:
        return
    if size == 0:
        report.note("size.zero", "the virtual size is 0")
    if size > limits.virtual_size:
        report.note("size.limit", f"a disk of {size} bytes; the limit is {limits.virtual_size}")
    if file_size and size > limits.ratio_from and size > limits.ratio * file_size:
        report.note("size.ratio", f"a disk of {size} bytes in a file of {file_size}")


def _check_stated(stated: str | None, format: Format, report: InspectionReport) -> None:
    if stated is None:
        return
    expected = STATED_NAMES.get(stated.lower())
    if expected is None:
        report.note("stated.unknown", f"stated {shown(stated.encode())}")
    elif expected is Format.RAW and format is Format.ISO:
        report.note("stated.iso", "stated raw, found iso")
    elif expected is not format:
        report.note("stated.mismatch", f"stated {expected}, found {format}")


def _refused_for_good(report: InspectionReport) -> bool:
    return any(finding.severity is Severity.REFUSE and not finding.override for finding in report.findings)


def _seconded(second: SecondOpinion | None, file: FileReader, format: Format, report: InspectionReport) -> bool:
    if second is None or _refused_for_good(report):
        return False
    return _confirm(second, file.descriptor, format, report)


def _confirm(second: SecondOpinion, file: int, format: Format, report: InspectionReport) -> bool:
    try:
        info = second(file, format)
    except QemuFailed as error:
        report.note("inspectors.disagree", str(error))
        return False
    if info.format != DISK_FORMATS[format].driver:
        report.note("inspectors.disagree", f"qemu-img reads the format {info.format}, phimage {format}")
    elif info.virtual_size != report.virtual_size:
        report.note("inspectors.disagree", f"qemu-img reads {info.virtual_size} bytes, phimage {report.virtual_size}")
    elif info.elsewhere:
        report.note("inspectors.disagree", f"qemu-img also needs {info.elsewhere}")
    else:
        return True
    return False


def _examination(report: InspectionReport, format: Format, size: int | None, *, confirmed: bool) -> Examination:
    return Examination(format, report.virtual_size, size, report.findings, report.details, confirmed)
