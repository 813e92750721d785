"""A partition of a disk, and the names of partition types."""

from __future__ import annotations

from msgspec import Struct

Remark = tuple[str, str]
"""The kind and the text of a finding about partitions."""

ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
EXTENDED = frozenset({"05", "0f", "85"})

NAMES = {
    ESP: "EFI system",
    BIOS_BOOT: "BIOS boot",
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux file system",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root, x86-64",
    "b921b045-1df0-41c3-af44-4c6f280d3fae": "Linux root, arm64",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux extended boot",
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
    "a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "basic data",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
    "9e1a2d38-c612-4316-aa26-8b49521e5a8b": "PReP boot",
    "05": "extended",
    "06": "FAT16",
    "07": "NTFS or exFAT",
    "0b": "FAT32",
    "0c": "FAT32",
    "0e": "FAT16",
    "0f": "extended",
    "82": "Linux swap",
    "83": "Linux",
    "85": "Linux extended",
    "8e": "Linux LVM",
    "ee": "GPT protective",
    "ef": "EFI system",
    "fd": "Linux RAID",
}


class Partition(Struct, frozen=True):
    """A partition. `start` and `size` are bytes, `type` a GUID of the GPT or two hexadecimal digits of the MBR.

    `active` marks the partition that a BIOS boots.
    """

    number: int
    start: int
    size: int
    type: str
    name: str
    uuid: str
    active: bool

    @property
    def type_name(self) -> str:
        """The name of the type, "" for an unknown one."""
        return NAMES.get(self.type, "")
