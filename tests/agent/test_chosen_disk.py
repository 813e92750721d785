"""Between the choice of a disk and its opening, disks may come and go: a name may be another disk's then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phimage.agent.crew import Crew
from phimage.agent.disk_choice import open_disk
from phimage.agent.disks import FoundDisk
from phimage.agent.errors import DiskRefused
from phimage.agent.prepared_deploy import prepare
from tests.deploying import MIB, OLD, gpt_image
from tests.unit.agent.memory import MemoryServer

SIZE = 6 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> FoundDisk:
    file = tmp_path / "sda"
    file.write_bytes(OLD * SIZE)
    return FoundDisk("sda", str(file), SIZE, 512, wwn="5000c500a1b2c3d4", serial="ZA1")


def test_a_disk_that_is_still_the_one_is_opened(disk: FoundDisk) -> None:
    other = replace(disk, name="sdb", path="/dev/sdb", wwn="5000c500a1b2c3d5", serial="ZA2")
    with open_disk(disk, lambda: [other, disk], writable=True) as opened:
        assert opened.size == SIZE
    stick = replace(disk, is_loop=True)  # a file in the place of a disk is in no list
    with open_disk(stick, list, writable=True):
        pass


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"serial": "ZA2"}, "is another disk than a moment ago"),
        ({"wwn": "5000c500a1b2c3d5"}, "is another disk than a moment ago"),
        ({"path": "/dev/sdb"}, "is not there any more"),
    ],
)
def test_a_name_that_is_another_disks_now_is_not_written(disk: FoundDisk, change: dict[str, Any], reason: str) -> None:
    prepared = prepare(disk, [disk], MemoryServer(gpt_image(4 * MIB), MIB).source(), "")
    with pytest.raises(DiskRefused, match=f"{reason}.*start again"):
        prepared.run(Crew(), look=lambda: [replace(disk, **change)])
    assert Path(disk.path).read_bytes() == OLD * SIZE


def test_a_second_path_to_a_disk_that_came_meanwhile_is_seen(disk: FoundDisk) -> None:
    with pytest.raises(DiskRefused, match="/dev/sdz is another path to the same disk"):
        open_disk(disk, lambda: [disk, replace(disk, name="sdz", path="/dev/sdz")], writable=True)
