from __future__ import annotations

import random
from collections.abc import Callable
from itertools import groupby

import pytest

from phimage.agent.crew import Crew
from phimage.agent.deploy import Deployment, WrittenDisk
from phimage.agent.errors import DiskFailed, OrderGone
from phimage.agent.gpt import move_backup, sector_size
from phimage.agent.write_plan import WritePlan
from tests.deploying import EFI, MIB, OLD, Expected, gpt_image, mbr_image
from tests.unit.agent.memory import MemoryDisk, MemoryServer, chunks_of

SIZE = 6 * MIB
LARGER = 8 * MIB + 4096
IMAGE = gpt_image(SIZE)


def deploy(
    server: MemoryServer,
    image: bytes,
    disk: MemoryDisk,
    permit: Callable[[], object] = lambda: None,
    read_back: bool = True,
) -> WrittenDisk:
    made_for = sector_size(image[:MIB])
    changes = move_backup(image[:MIB], made_for, disk.size, lambda at, n: image[at : at + n]) if made_for else []
    plan = WritePlan(chunks_of(server), disk.size, disk.sector_size, changes)
    return Deployment(
        disk, server.source(), plan, Crew(), read_back=read_back, permit=permit, on_phase=lambda *state: None
    ).run()


@pytest.fixture(scope="module")
def server() -> MemoryServer:
    return MemoryServer(IMAGE, MIB)


def check_not_bootable(disk: MemoryDisk) -> None:
    for state in (disk.durable, bytes(disk.bytes)):
        assert state[:512] in (bytes(512), OLD * 512)
        assert EFI not in state[:MIB]
        if EFI in state[-34 * 512 :]:
            assert state[MIB:] == Expected(IMAGE, 512, disk.size).disk()[MIB:]


def test_the_order_of_writes_is_wipe_zero_body_tail_head_each_durable_before_the_next(server: MemoryServer) -> None:
    disk = MemoryDisk(LARGER)
    deploy(server, IMAGE, disk)

    def part(call: tuple[str, int, int]) -> str:
        name, offset, _ = call
        where = "head" if offset < MIB else "tail" if offset == LARGER - MIB else "body"
        return name if name in ("sync", "zero") else f"{name} {where}"

    steps = [name for name, _ in groupby(map(part, disk.calls))]
    assert steps == [
        *("write head", "write tail", "sync"),
        *("zero", "read body", "write body", "sync"),
        *("read body", "write tail", "sync", "read tail"),
        *("write head", "sync", "read head"),  # all of it but the first two sectors
        *("write head", "sync", "read head"),
    ]
    assert disk.calls[-3:] == [("write", 0, 1024), ("sync", 0, 0), ("read", 0, 1024)]
    assert disk.durable == Expected(IMAGE, 512, LARGER).disk()


@pytest.mark.parametrize("size", [pytest.param(SIZE, marks=pytest.mark.more), LARGER])
def test_whichever_call_fails_nothing_can_boot_and_the_next_run_ends_right(server: MemoryServer, size: int) -> None:
    whole = MemoryDisk(size)
    deploy(server, IMAGE, whole)
    healed = 0
    for number in range(len(whole.calls)):
        disk = MemoryDisk(size, fails=number)
        try:
            deploy(server, IMAGE, disk)
            healed += 1  # a sector that cannot be read is written
        except DiskFailed:
            check_not_bootable(disk)
        disk.fails = -1
        deploy(server, IMAGE, disk)
        assert disk.durable == Expected(IMAGE, 512, size).disk()
    assert healed <= 4


@pytest.mark.parametrize("image", [IMAGE, mbr_image(SIZE)])
def test_a_power_failure_within_a_write_leaves_nothing_that_boots(image: bytes) -> None:
    """A disk may keep any sectors of a write that was cut; only two sectors are written as one."""
    whole = Expected(image, 512, LARGER).disk()

    class CutDisk(MemoryDisk):
        def write(self, offset: int, data: bytes | memoryview) -> None:
            pairs = [(at, bytes(data[at : at + 1024])) for at in range(0, len(data), 1024)]
            for kept in (pairs[:1], pairs[:-1], pairs[1:], pairs[::2]):
                state = bytearray(self.bytes)
                for at, pair in kept:
                    state[offset + at : offset + at + len(pair)] = pair
                assert state == whole or (state[:512] in (bytes(512), OLD * 512) and EFI not in state[:MIB]), kept[0][0]
            super().write(offset, data)

    disk = CutDisk(LARGER)
    deploy(MemoryServer(image, MIB), image, disk)
    assert disk.durable == whole


def test_an_order_that_is_lost_writes_nothing_more_and_leaves_nothing_that_boots(server: MemoryServer) -> None:
    asked = 0

    def count() -> None:
        nonlocal asked
        asked += 1

    deploy(server, IMAGE, MemoryDisk(LARGER), permit=count)
    for last in range(asked):
        left = iter(range(last))

        def permit(left: object = left) -> None:
            if next(left, None) is None:  # type: ignore[call-overload]
                raise OrderGone("another agent has it")

        disk = MemoryDisk(LARGER)
        with pytest.raises(OrderGone):
            deploy(server, IMAGE, disk, permit=permit)
        check_not_bootable(disk)
        assert len([call for call in disk.calls if call[0] in ("write", "zero")]) == last


def test_the_second_run_writes_only_what_differs(server: MemoryServer) -> None:
    disk = MemoryDisk(LARGER)
    first = deploy(server, IMAGE, disk)
    disk.bytes[MIB + 5] ^= 1
    second = deploy(server, IMAGE, disk)
    assert (first.reused, second.reused) == (0, MIB)  # of chunks 1, 4 and 5, whose backup table moved
    assert second.written == 4 * MIB
    assert disk.durable == Expected(IMAGE, 512, LARGER).disk()


def test_a_disk_that_reads_back_other_bytes_is_not_committed(server: MemoryServer) -> None:
    class Forgetful(MemoryDisk):
        def write(self, offset: int, data: bytes | memoryview) -> None:
            super().write(offset, bytes(data)[:-1] + b"!" if offset == 4 * MIB else data)

    disk = Forgetful(LARGER)
    with pytest.raises(DiskFailed, match=f"cannot read back what was written at byte {4 * MIB}"):
        deploy(server, IMAGE, disk)
    check_not_bootable(disk)
    deploy(server, IMAGE, Forgetful(LARGER), read_back=False)


def test_images_and_disks_of_any_size_come_out_right() -> None:
    some = random.Random(7)
    for chunk_size in (64 << 10, 1 << 20, 2 << 20):
        for sector in (512, 4096):
            size = some.randrange(3 * MIB, 7 * MIB)
            pieces = [some.randbytes(40_000) + bytes(some.choice([1, 90_000, 3 << 20])) for _ in range(size // 130_000)]
            image = b"".join(pieces)[:size].replace(OLD, b"\0")
            disk = MemoryDisk(-(-size // sector) * sector + some.choice([0, 1, 300]) * sector, sector)
            deploy(MemoryServer(image, chunk_size), image, disk)
            assert disk.durable == image.ljust(disk.size, b"\0")
