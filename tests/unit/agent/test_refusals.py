from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from phimage.agent.disks import FoundDisk
from phimage.agent.errors import DiskRefused
from phimage.agent.refusals import refuse_busy, refuse_unfit
from tests.deploying import MIB

DISK = FoundDisk("sda", "/dev/sda", 64 * MIB, 512, wwn="5000c500a1b2c3d4", serial="ZA1")
OTHER = FoundDisk("sdb", "/dev/sdb", 64 * MIB, 512, wwn="5000c500a1b2c3d5", serial="ZA2")


def test_a_disk_that_nothing_uses_is_accepted() -> None:
    refuse_busy(DISK, [DISK, OTHER])
    refuse_unfit(DISK, 64 * MIB, 512, 0)
    refuse_unfit(DISK, 64 * MIB, 0, 512)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"is_own": True}, "this system runs from it; boot a rescue system"),
        ({"mounts": ("/mnt",)}, "it is mounted on /mnt; unmount it"),
        ({"swaps": ("/dev/sda2",)}, "it holds swap space; run swapoff /dev/sda2"),
        ({"holders": ("dm-0", "md0")}, "dm-0, md0 is made of it"),
        ({"wwn": OTHER.wwn}, "/dev/sdb is another path to the same disk"),
        ({"removable": True}, "it is removable"),
        ({"read_only": True}, "it is read-only"),
    ],
)
def test_a_disk_in_use_is_refused_with_a_remedy(state: dict[str, Any], reason: str) -> None:
    with pytest.raises(DiskRefused) as refused:
        refuse_busy(replace(DISK, **state), [replace(DISK, **state), OTHER])
    assert str(refused.value).startswith(f"/dev/sda (ZA1): {reason}")


def test_disks_without_a_wwn_are_not_paths_to_one_disk() -> None:
    refuse_busy(replace(DISK, wwn=""), [replace(DISK, wwn=""), replace(OTHER, wwn="")])


@pytest.mark.parametrize(
    ("size", "image_sector", "stated", "reason"),
    [
        (64 * MIB + 512, 512, 0, "the image needs 67109376; use a larger disk"),
        (64 * MIB, 4096, 0, "has sectors of 512 bytes and the image is for 4096"),
        (64 * MIB, 0, 4096, "has sectors of 512 bytes and the image is for 4096"),
        (64 * MIB, 0, 0, "use --sector-size 512"),
        (64 * MIB, 512, 4096, "the image is for sectors of 512 bytes, not 4096"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(size: int, image_sector: int, stated: int, reason: str) -> None:
    with pytest.raises(DiskRefused) as refused:
        refuse_unfit(DISK, size, image_sector, stated)
    assert reason in str(refused.value)


def test_a_disk_that_ends_within_a_sector_is_refused_before_its_head_is_zeroed() -> None:
    with pytest.raises(DiskRefused, match="67108964 bytes, which are no whole sectors of 512"):
        refuse_unfit(replace(DISK, size=64 * MIB + 100), 4 * MIB, 512, 0)


def test_a_disk_without_room_for_head_body_and_tail_is_refused() -> None:
    with pytest.raises(DiskRefused):
        refuse_unfit(replace(DISK, size=2 * MIB), MIB, 512, 0)
