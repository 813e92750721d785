"""Disks as the kernel shows them in /sys and /proc, here in folders of a test."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from phimage.agent.block_device import BlockDevice
from phimage.agent.disks import FoundDisk, System, find_disks, normal_wwn
from phimage.agent.errors import DiskFailed, DiskRefused
from phimage.agent.hardware import this_machine
from phimage.agent.refusals import busy_reason
from phimage.errors import ClientError
from tests.deploying import MIB, loop_device, needs_loop_devices


class Machine:
    """A machine whose folders a test fills."""

    def __init__(self, root: Path) -> None:
        self.system = System(root / "sys", root / "proc", root / "dev")
        self.mounts: list[str] = []
        self.swaps: list[str] = []

    def put(self, path: str, text: str | bytes) -> None:
        file = self.system.sys / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())

    def add(self, name: str, sectors: int = 1000, number: str = "8:0", **files: str | bytes) -> None:
        attributes = {"size": str(sectors), "dev": number, "removable": "0", "ro": "0", "queue/logical_block_size": "512"}
        for file, text in {**attributes, **{name.replace("__", "/"): text for name, text in files.items()}}.items():
            self.put(f"block/{name}/{file}", text)

    def add_partition(self, disk: str, name: str, number: str) -> None:
        self.put(f"block/{disk}/{name}/partition", "1")
        self.put(f"block/{disk}/{name}/dev", number)

    def disks(self) -> dict[str, FoundDisk]:
        for process in ("self", "1"):
            folder = self.system.proc / process
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "mountinfo").write_text("".join(f"{line}\n" for line in self.mounts))
        (self.system.proc / "swaps").write_text("Filename Type Size\n" + "".join(f"{line}\n" for line in self.swaps))
        return {disk.name: disk for disk in find_disks(self.system)}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_each_kind_of_disk_says_who_it_is(machine: Machine) -> None:
    page = b"\0\x80\0\x0c" + b"ZA1B2C3D    "
    machine.add("sda", 937_703_088, device__wwid="naa.5000c500a1b2c3d4", device__vpd_pg80=page, device__model="ST480  FN0021 ")
    machine.add("nvme0n1", 100, "259:0", wwid="eui.0025385b01234567", device__serial="S4EVNX0R", device__model="SAMSUNG")
    machine.add("vda", 100, "254:0", serial="disk-1", queue__logical_block_size="4096")
    found = machine.disks()
    sda, nvme, vda = found["sda"], found["nvme0n1"], found["vda"]
    assert (sda.wwn, sda.serial, sda.model, sda.size) == ("5000c500a1b2c3d4", "ZA1B2C3D", "ST480 FN0021", 480_103_981_056)
    assert (nvme.wwn, nvme.serial, nvme.identity) == ("0025385b01234567", "S4EVNX0R", "S4EVNX0R")
    assert (vda.serial, vda.sector_size, vda.size) == ("disk-1", 4096, 51_200)
    assert normal_wwn("0x5000C500A1B2C3D4") == sda.wwn


def test_what_is_no_disk_or_has_no_medium_is_not_listed(machine: Machine) -> None:
    for name in ("ram0", "zram0", "sr0", "dm-0", "md127", "fd0"):
        machine.add(name)
    machine.add("sdb", 0)
    machine.add("sda")
    assert list(machine.disks()) == ["sda"]


def test_the_paths_below_an_nvme_disk_are_neither_disks_nor_other_paths_to_it(machine: Machine) -> None:
    """The kernel shows each controller's path to a shared namespace as a hidden disk of the same WWN, without a device node."""
    machine.add("nvme0c0n1", 100, "0:0", hidden="1", wwid="eui.0025385b01234567")
    machine.add("nvme0n1", 100, "259:0", hidden="0", wwid="eui.0025385b01234567")
    found = machine.disks()
    assert list(found) == ["nvme0n1"]
    assert busy_reason(found["nvme0n1"], list(found.values())) == ""


def test_mounts_swap_and_holders_of_partitions_are_the_disks(machine: Machine) -> None:
    machine.add("sda")
    machine.add_partition("sda", "sda1", "8:1")
    machine.add_partition("sda", "sda2", "8:2")
    machine.put("block/sda/sda2/holders/dm-0/x", "")
    machine.add("sdb", number="8:16")
    machine.mounts = [
        "36 35 8:1 / /mnt/a\\040b rw,noatime master:1 - ext4 /dev/sda1 rw",
        f"37 35 0:45 / /data rw - btrfs {machine.system.dev}/sdb rw",
        "38 35 0:46 / /proc rw - proc proc rw",
    ]
    machine.swaps = [f"{machine.system.dev}/sda2 partition 1000"]
    found = machine.disks()
    assert (found["sda"].mounts, found["sda"].holders) == (("/mnt/a b",), ("dm-0",))
    assert found["sda"].swaps == (f"{machine.system.dev}/sda2",)
    assert (found["sdb"].mounts, found["sdb"].is_own) == (("/data",), False)


def test_the_disk_of_the_running_system_and_a_loop_device_over_a_disk_are_seen(machine: Machine) -> None:
    machine.add("sda")
    machine.add("sdb", number="8:16")
    machine.add("loop0", number="7:0", loop__backing_file=f"{machine.system.dev}/sdb")
    machine.mounts = ["36 35 8:0 / / rw - ext4 /dev/root rw"]
    found = machine.disks()
    assert (found["sda"].is_own, found["sdb"].holders, found["loop0"].is_loop) == (True, ("loop0",), True)


def test_a_stick_and_a_locked_disk_say_so(machine: Machine) -> None:
    machine.add("sda", removable="1")
    machine.add("sdb", number="8:16", ro="1")
    found = machine.disks()
    assert (found["sda"].removable, found["sdb"].read_only) == (True, True)


def test_a_machine_is_its_serial_number_its_cards_and_its_boot(machine: Machine) -> None:
    machine.put("class/dmi/id/product_serial", "To Be Filled By O.E.M.")
    machine.put("class/dmi/id/board_serial", "7C4K2X")
    machine.put("class/net/eth0/address", "0C:42:A1:00:00:01")
    machine.put("class/net/eth0/device/vendor", "x")
    machine.put("class/net/lo/address", "00:00:00:00:00:00")
    boot = machine.system.proc / "sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("0b7d1f1e-4c4c-4e8c-9d6b-000000000001\n")
    found = this_machine(sys=machine.system.sys, proc=machine.system.proc)
    assert (found.serial, found.macs, found.boot) == ("7C4K2X", ("0c:42:a1:00:00:01",), "0b7d1f1e-4c4c-4e8c-9d6b-000000000001")
    assert this_machine("X1", machine.system.sys, machine.system.proc).serial == "X1"
    with pytest.raises(ClientError, match="--serial-number"):
        this_machine(sys=machine.system.sys / "empty", proc=machine.system.proc)
    with pytest.raises(ClientError, match="no network card"):
        this_machine("X1", machine.system.sys / "empty", machine.system.proc)


def test_a_disk_is_closed_when_its_reads_have_ended(tmp_path: Path) -> None:
    """A capture that is lost leaves threads that read. The next order opens the disk alone, or is refused."""
    began, closed, ended = threading.Event(), threading.Event(), list[bool]()

    class SlowDisk(BlockDevice):
        def _buffer(self, length: int) -> mmap.mmap:
            began.set()
            ended.append(closed.wait(0.2))
            return super()._buffer(length)

    file = tmp_path / "disk"
    file.write_bytes(b"\xaa" * 4096)
    disk = SlowDisk(str(file), writable=False)
    reading = threading.Thread(target=disk.read, args=(0, 4096))
    reading.start()
    assert began.wait(60)
    disk.close()
    closed.set()
    reading.join()
    assert ended == [False]
    with pytest.raises(DiskFailed, match="is closed"):
        disk.read(0, 512)


@contextmanager
def device_or_file(kind: str, file: Path) -> Iterator[str]:
    file.write_bytes(b"\xaa" * 4 * MIB)
    if kind == "file":
        yield str(file)
    else:
        with loop_device(file, 4096 if kind == "4K" else 512) as path:
            yield path


@pytest.mark.parametrize(
    "kind", ["file", *(pytest.param(kind, marks=[needs_loop_devices, pytest.mark.more]) for kind in ("512", "4K"))]
)
def test_a_disk_reads_what_was_written_and_zeros_where_it_was_zeroed(kind: str, tmp_path: Path) -> None:
    sector = 4096 if kind == "4K" else 512
    with device_or_file(kind, tmp_path / "disk") as path, BlockDevice(path, writable=True) as disk:
        assert (disk.size, disk.sector_size) == (4 * MIB, sector)
        disk.write(sector, b"phimage!" * (sector // 8))
        disk.zero(2 * MIB, MIB + sector)
        disk.sync()
        assert disk.read(0, 3 * sector) == b"\xaa" * sector + b"phimage!" * (sector // 8) + b"\xaa" * sector
        assert disk.read(2 * MIB, MIB + 2 * sector) == bytes(MIB + sector) + b"\xaa" * sector
        assert disk.reread_partition_table() == ""
        with pytest.raises(DiskFailed, match="the disk ends there"):
            disk.read(4 * MIB, sector)
    with pytest.raises(DiskRefused, match="is neither a disk nor a file"):
        BlockDevice("/dev/null", writable=True)
    with pytest.raises(DiskRefused, match="phimage-agent disks"):
        BlockDevice(str(tmp_path / "none"), writable=True)
