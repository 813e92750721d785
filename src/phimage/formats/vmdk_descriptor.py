"""The descriptor inside a VMDK: lines of text that list the parts of the disk."""

from __future__ import annotations

import re
from typing import Final

from phimage.formats.errors import Malformed
from phimage.formats.finding import InspectionReport, shown

SUBFORMATS = {"monolithicsparse": "monolithicSparse", "streamoptimized": "streamOptimized"}
NO_PARENT: Final = 0xFFFFFFFF

_FIELD = re.compile(r'([A-Za-z0-9_.]+)[ \t]*=([ \t]*"[^"]*"|[^"]*)')
_EXTENT = re.compile(r'(\w+)[ \t]+(\d{1,20})[ \t]+(\w+)[ \t]+"([^"]*)"(?:[ \t]+(\d{1,20}))?')
_ACCESS = re.compile(r"(RW|RDONLY|NOACCESS)\b", re.IGNORECASE)


def inspect(text: bytes, capacity: int, report: InspectionReport) -> str:
    """Inspect a descriptor and return its subformat, "" for a refused one. Raises Malformed for any unknown line."""
    fields: dict[str, str] = {}
    extents: list[re.Match[str]] = []
    for line in _lines(text):
        if _ACCESS.match(line):
            extent = _EXTENT.fullmatch(line)
            if extent is None:
                raise Malformed(f"the descriptor has the extent {shown(line.encode())}")
            extents.append(extent)
        elif field := _FIELD.fullmatch(line):
            value = field[2].strip('" \t')
            if fields.setdefault(field[1].lower(), value) != value:  # readers differ in which one they use
                raise Malformed(f"the descriptor has two different values of {shown(field[1].encode())}")
        else:
            raise Malformed(f"the descriptor has the line {shown(line.encode())}")
    _parent(text, fields, report)
    _extents(extents, capacity, report)
    subformat = SUBFORMATS.get(fields.get("createtype", "").lower(), "")
    if not subformat:
        report.note("vmdk.subformat", f"createType is {shown(fields.get('createtype', '').encode())}")
    return subformat


def _lines(text: bytes) -> list[str]:
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the descriptor is not text") from None
    lines = [line.strip(" \t\r") for line in decoded.split("\n")]
    return [line for line in lines if line and not line.startswith("#")]


def _parent(text: bytes, fields: dict[str, str], report: InspectionReport) -> None:
    """Search the parent's name in the whole text, including comments, as qemu does."""
    if b"parentfilenamehint" in text.lower():
        report.note("vmdk.parent", f"it continues in {shown(fields.get('parentfilenamehint', 'another file').encode())}")
    parent = fields.get("parentcid", "ffffffff")
    try:
        identity = int(parent, 16)
    except ValueError:
        raise Malformed(f"parentCID is {shown(parent.encode())}") from None
    if identity != NO_PARENT:
        report.note("vmdk.parent", f"it has the parent {identity:08x}")


def _extents(extents: list[re.Match[str]], capacity: int, report: InspectionReport) -> None:
    """Accept one extent, the file itself: of type SPARSE, with a name without folders, and the size of the header."""
    if len(extents) != 1:
        report.note("vmdk.extent", f"the descriptor names {len(extents)} extents instead of one")
    for access, sectors, type, name, offset in (extent.groups() for extent in extents):
        if type.upper() != "SPARSE" or offset is not None or access.upper() == "NOACCESS":
            report.note("vmdk.extent", f"an extent of type {shown(type.encode())} in {shown(name.encode())}")
        elif "/" in name or "\\" in name or ":" in name:
            report.note("vmdk.extent", f"an extent in {shown(name.encode())}")
        elif int(sectors) != capacity:
            raise Malformed(f"the descriptor declares {int(sectors)} sectors, the header {capacity}")
