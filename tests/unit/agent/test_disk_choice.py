from __future__ import annotations

import pytest

from phimage.agent.disk_choice import choose_disk
from phimage.agent.disks import FoundDisk
from phimage.agent.errors import DiskRefused

DISKS = [
    FoundDisk("sda", "/dev/sda", 480_103_981_056, 512, wwn="5000c500a1b2c3d4", serial="ZA1"),
    FoundDisk("sdb", "/dev/sdb", 480_103_981_056, 512, wwn="5000c500a1b2c3d5", serial="ZA2"),
    FoundDisk("nvme0n1", "/dev/nvme0n1", 1_920_383_410_176, 512, wwn="0025385b01234567", serial="S4E"),
    FoundDisk("loop0", "/dev/loop0", 3_000_000_000_000, 512, is_loop=True),
]


@pytest.mark.parametrize(
    ("hint", "path"),
    [
        ("wwn:0x5000c500a1b2c3d5", "/dev/sdb"),
        ("wwn:naa.5000C500A1B2C3D4", "/dev/sda"),
        ("wwn:eui.0025385b01234567", "/dev/nvme0n1"),
        ("serial:ZA1", "/dev/sda"),
        ("path:/dev/sda", "/dev/sda"),
        ("/dev/loop0", "/dev/loop0"),
        ("size:1T-2T", "/dev/nvme0n1"),
        ("size:1Ti-", "/dev/nvme0n1"),
        ("size:1920383410176-1920383410176", "/dev/nvme0n1"),
    ],
)
def test_a_hint_names_one_disk(hint: str, path: str) -> None:
    assert choose_disk(DISKS, hint).path == path


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        ("size:400G-500G", "2 disks match"),
        ("size:2T-", "no disk of this machine matches"),
        ("serial:", "names no disk"),
        ("serial:ZA", "no disk of this machine matches"),
        ("ZA1", "names no disk"),
        ("label:root", "names no disk"),
        ("size:400", "not a range of sizes; expected one such as size:400G-500G"),
        ("size:4X-5X", "not a size"),
        ("/dev/sda1", "is a partition of /dev/sda"),
        ("/dev/nvme0n1p2", "is a partition of /dev/nvme0n1"),
        ("/dev/sdz", "there is no disk /dev/sdz: it has /dev/sda (ZA1, 480.1 GB)"),
    ],
)
def test_a_hint_of_no_disk_or_of_several_is_refused(hint: str, reason: str) -> None:
    with pytest.raises(DiskRefused) as refused:
        choose_disk(DISKS, hint)
    assert reason in str(refused.value)
