"""Makes disk images from nothing, good and bad: every field can be given a value that no honest program writes."""

from __future__ import annotations

from tests.formats.make.content import AT_END, GIB, KIB, MIB, patched, pattern
from tests.formats.make.disk import BIOS_BOOT, DISK_ID, ESP, LINUX, ext_superblock, gpt, iso, mbr
from tests.formats.make.qcow2 import qcow2
from tests.formats.make.vhd import vhd_dynamic, vhd_fixed, vhd_footer
from tests.formats.make.vhdx import (
    BAT,
    FILE_PARAMETERS,
    LOGICAL_SECTOR,
    METADATA,
    PARENT_LOCATOR,
    PHYSICAL_SECTOR,
    VIRTUAL_ID,
    VIRTUAL_SIZE,
    vhdx,
)
from tests.formats.make.vmdk import descriptor, marker, vmdk, vmdk_footer, vmdk_header, vmdk_stream

__all__ = [
    "AT_END",
    "BAT",
    "BIOS_BOOT",
    "DISK_ID",
    "ESP",
    "FILE_PARAMETERS",
    "GIB",
    "KIB",
    "LINUX",
    "LOGICAL_SECTOR",
    "METADATA",
    "MIB",
    "PARENT_LOCATOR",
    "PHYSICAL_SECTOR",
    "VIRTUAL_ID",
    "VIRTUAL_SIZE",
    "descriptor",
    "ext_superblock",
    "gpt",
    "iso",
    "marker",
    "mbr",
    "patched",
    "pattern",
    "qcow2",
    "vhd_dynamic",
    "vhd_fixed",
    "vhd_footer",
    "vhdx",
    "vmdk",
    "vmdk_footer",
    "vmdk_header",
    "vmdk_stream",
]
