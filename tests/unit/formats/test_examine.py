"""Examinations: stated formats, limits, overrides, the second opinion."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from phimage import formats
from phimage.formats.examine import Examination, examine, examine_head
from phimage.formats.finding import MAX_FINDINGS, InspectionReport, Severity
from phimage.formats.limits import DiskLimits
from phimage.formats.reader import BytesReader
from phimage.formats.table import KINDS, Format
from tests.formats import make
from tests.formats.make import GIB, MIB

QCOW2 = make.qcow2()
ISO = make.iso()
RAW = bytes(make.gpt(4 * MIB, [(make.LINUX, 2048, 4095, "root")]))


def ids(found: Examination) -> list[str]:
    return [finding.id for finding in found.findings]


@pytest.mark.parametrize(
    ("image", "stated", "expected"),
    [
        (QCOW2, None, []),
        (QCOW2, "qcow2", []),
        (QCOW2, "QCOW2", []),
        (QCOW2, "raw", ["stated.mismatch"]),
        (QCOW2, "vmdk", ["stated.mismatch"]),
        (QCOW2, "vdi", ["stated.unknown"]),
        (QCOW2, "", ["stated.unknown"]),
        (RAW, "raw", []),
        (RAW, "img", []),
        (RAW, "iso", ["stated.mismatch"]),
        (RAW, "qcow2", ["stated.mismatch"]),
        (ISO, "raw", ["iso.not-hybrid", "stated.iso"]),
        (ISO, "iso", ["iso.not-hybrid"]),
        (make.vhd_fixed(RAW), "vpc", []),
        (make.vhd_fixed(RAW), "raw", ["stated.mismatch"]),
        (b"<html>", "qcow2", ["body.html", "stated.mismatch"]),
    ],
)
def test_a_stated_format_must_be_the_one_that_is_found(image: bytes, stated: str | None, expected: list[str]) -> None:
    assert ids(examine(BytesReader(image), stated=stated)) == expected


def test_sizes_are_compared_with_the_limits_that_are_given() -> None:
    limits = DiskLimits(virtual_size=GIB, ratio=100, ratio_from=MIB, smallest=1)
    assert ids(examine(BytesReader(make.qcow2(size=2 * GIB)), limits=limits)) == ["size.limit", "size.ratio"]
    assert ids(examine(BytesReader(make.qcow2(size=GIB)), limits=limits)) == ["size.ratio"]
    assert ids(examine(BytesReader(make.qcow2(size=16 * MIB)), limits=limits)) == []
    assert ids(examine(BytesReader(bytes(512)), limits=limits)) == ["disk.unknown"]


def test_only_what_may_be_overridden_is() -> None:
    found = examine(BytesReader(make.qcow2(size=4 << 40, cluster_bits=21)), stated="raw")
    assert {finding.id for finding in found.refusals()} == {"size.limit", "size.ratio", "stated.mismatch"}
    everything = frozenset(KINDS)
    assert [finding.id for finding in found.refusals(everything)] == ["stated.mismatch"]
    assert {finding.id for finding in found.refusals(frozenset({"size.limit"}))} == {"size.ratio", "stated.mismatch"}


def test_a_reader_is_examined_without_a_second_opinion() -> None:
    found = examine(BytesReader(QCOW2))
    assert not found.confirmed
    assert found.findings == ()


def test_the_first_bytes_tell_the_size_of_the_disk_before_the_rest_has_come() -> None:
    image = make.qcow2(size=3 << 40, cluster_bits=21, data=bytes(4 * MIB))
    found = examine_head(image[:MIB], None)
    assert (found.format, found.virtual_size, found.file_size) == (Format.QCOW2, 3 << 40, None)
    assert ids(found) == ["size.limit"]
    assert "size.ratio" in ids(examine_head(image[:MIB], len(image)))


def test_the_first_bytes_of_a_raw_disk_say_nothing_of_its_stated_format() -> None:
    """Its end may still make it a VHD."""
    assert ids(examine_head(RAW[:MIB], 8 * GIB, stated="vhd")) == []
    assert examine_head(RAW[:MIB], 8 * GIB).virtual_size == 8 * GIB
    assert examine_head(RAW[:MIB], None).virtual_size is None


def test_an_examination_is_told_as_json() -> None:
    found = examine(BytesReader(make.qcow2(backing=b"/etc/shadow")))
    told = msgspec.json.decode(msgspec.json.encode(found))
    assert told["format"] == "qcow2"
    assert told["findings"] == [
        {"id": "qcow2.backing-file", "severity": "refuse", "text": 'it continues in "/etc/shadow"', "override": False}
    ]
    assert msgspec.json.decode(msgspec.json.encode(found), type=Examination) == found


def test_names_out_of_a_file_are_shown_without_what_a_terminal_obeys() -> None:
    [finding] = examine(BytesReader(make.qcow2(backing=b'a"\x1b[31m\n\xff'))).findings
    assert finding.text == 'it continues in "a??[31m?�"'


def test_a_report_keeps_the_first_of_equal_findings_and_the_worst_comes_first() -> None:
    report = InspectionReport(KINDS)
    report.note("qcow2.snapshots", "one")
    report.note("qcow2.dirty", "two")
    before = report.refused
    report.note("size.zero", "three")
    report.note("size.zero", "again" * 1000)
    assert [(finding.severity, finding.text) for finding in report.findings] == [
        (Severity.REFUSE, "three"),
        (Severity.WARN, "two"),
        (Severity.NOTE, "one"),
    ]
    assert (before, report.refused) == (False, True)
    assert len(KINDS) < 2 * MAX_FINDINGS


def test_only_refusals_can_be_overridden_and_every_kind_says_what_to_do() -> None:
    for kind in KINDS.values():
        assert kind.severity is Severity.REFUSE or not kind.override
        assert kind.meaning
        assert kind.remedy
        assert "|" not in kind.meaning + kind.remedy


def test_limits_are_plain_values_that_settings_can_hold() -> None:
    assert msgspec.json.decode(msgspec.json.encode(DiskLimits(virtual_size=5)), type=DiskLimits).virtual_size == 5


def test_an_image_format_is_named_only_in_the_table_of_formats() -> None:
    source = Path(formats.__file__).parents[1]
    for format in ("VHD", "VHDX"):
        files = [path for path in source.rglob("*.py") if re.search(rf"\bFormat\.{format}\b", path.read_text("utf-8"))]
        assert files == [source / "formats" / "table.py"]
