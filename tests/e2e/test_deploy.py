"""The agent deploys to loop devices: nothing of the last tenant is left (T17), disks in use are refused, people see why."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from phimage.agent_archive import MAX_BYTES, make_archive
from phimage.chunks.frame import pack
from tests.deploying import (
    MIB,
    OLD,
    Expected,
    ImageServer,
    check_deployed,
    check_not_bootable,
    deploy,
    gpt_image,
    loop_device,
    mbr_image,
    needs_loop_devices,
    old_target,
    start_agent,
)
from tests.lying_server import LyingServer
from tests.proxy import CountingProxy

SIZE = 24 * MIB
LARGER = 30 * MIB
IMAGE = gpt_image(SIZE)
EXPECTED = Expected(IMAGE, 512, LARGER)
UBERBLOCK = struct.pack("<Q", 0x00BAB10C)

pytestmark = [needs_loop_devices]


@pytest.fixture(scope="module")
def server() -> Iterator[LyingServer]:
    with LyingServer(IMAGE) as honest:
        yield honest


@pytest.fixture
def target() -> Iterator[Path]:
    with old_target(LARGER) as file:
        yield file


@pytest.fixture
def device(target: Path) -> Iterator[str]:
    with loop_device(target) as path:
        yield path


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def refused(url: str, device: str, *options: str) -> str:
    """Why a deployment is refused, before anything is written."""
    process = start_agent(url, device, *options)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1, said
    return said


def write_labels(device: str, target: Path) -> None:
    """Labels of LVM, Linux' RAID, ZFS and Btrfs, and a backup partition table, where tools look for them on a whole disk."""
    run("pvcreate", "-ff", "-y", "--labelsector", "3", "--pvmetadatacopies", "2", "--metadatasize", "512k", device)
    with target.open("r+b") as file:
        for label in (0, LARGER - (512 << 10)):
            for number in range(8):
                file.seek(label + (128 + number) * 1024)
                file.write(UBERBLOCK + struct.pack("<4Q", 5000, number + 1, 0, 0))
        file.seek(LARGER - 33 * 512)
        file.write(gpt_image(LARGER, seed=5)[-33 * 512 :])
        raid = bytearray(4096)
        offset = LARGER - 64 * 1024 - 8192
        struct.pack_into("<II", raid, 0, 0xA92B4EFC, 1)
        raid[16:64] = bytes(range(16)) + b"old:0".ljust(32, b"\0")
        struct.pack_into("<Q", raid, 0x90, offset // 512)
        file.seek(offset)
        file.write(raid)
        file.seek(64 * MIB // 1024)
        file.write(bytes(4096))
        file.seek(64 * 1024 + 64)
        file.write(b"_BHRfS_M")


def signatures(device: str) -> set[str]:
    lines = run("wipefs", "--no-act", "--noheadings", "--output", "TYPE", device).split()
    return set(lines)


@pytest.mark.more
def test_t17_nothing_of_the_last_tenant_is_left(server: LyingServer, device: str, target: Path) -> None:
    write_labels(device, target)
    assert signatures(device) >= {"LVM2_member", "btrfs"}
    assert target.read_bytes().count(UBERBLOCK) == 16

    deploy(server.url, device)

    check_deployed(target, EXPECTED)
    left = target.read_bytes()
    assert (left.count(OLD), left.count(UBERBLOCK)) == (IMAGE.count(OLD), 0)
    assert signatures(device) == {"gpt", "PMBR"}
    assert "No problems found" in run("sgdisk", "--verify", device)


@pytest.mark.more
def test_t17_the_check_sees_what_bmaptool_leaves(device: str, target: Path, tmp_path: Path) -> None:
    raw, bmap = tmp_path / "image.raw", tmp_path / "image.bmap"
    with raw.open("wb") as file:
        for at in range(0, SIZE, MIB):
            piece = IMAGE[at : at + MIB]
            file.seek(at)
            if piece.strip(b"\0"):
                file.write(piece)
        file.truncate(SIZE)
    run("bmaptool", "create", "-o", bmap, raw)
    run("bmaptool", "copy", "--bmap", bmap, raw, device)

    left = target.read_bytes()

    assert left.count(OLD) >= (LARGER - SIZE) + 2 * MIB, "bmaptool wrote what its map skips"
    with pytest.raises(AssertionError):
        check_deployed(target, EXPECTED)


def test_an_image_goes_to_a_larger_disk_and_a_second_run_writes_only_head_and_tail(
    server: LyingServer, device: str, target: Path
) -> None:
    first = deploy(server.url, device)
    check_deployed(target, EXPECTED)
    second = deploy(server.url, device)
    check_deployed(target, EXPECTED)
    assert " 0 were right before" in first
    assert f"{16 * MIB} were right before" in second


@pytest.mark.more
def test_changing_an_image_for_a_similar_one_fetches_the_difference(server: LyingServer, device: str, target: Path) -> None:
    deploy(server.url, device)
    changed = bytearray(IMAGE)
    changed[8 * MIB : 8 * MIB + 100] = b"new" * 33 + b"!"
    with LyingServer(bytes(changed)) as other:
        said = deploy(other.url, device)
    assert f"{15 * MIB} were right before" in said
    check_deployed(target, Expected(bytes(changed), 512, LARGER))


@pytest.mark.more
def test_a_deployment_that_was_cut_at_half_fetches_little_again(tmp_path: Path, device: str, target: Path) -> None:
    server = ImageServer(tmp_path, IMAGE)
    proxy = CountingProxy(server.port)
    try:
        proxy.act(7 * MIB, proxy.cut)
        process = start_agent(server.url(proxy.port), device, "--patience", "0")
        process.communicate(timeout=60)
        assert process.returncode == 69
        proxy.act(sys.maxsize, lambda: None)
        deploy(server.url(proxy.port), device)
        check_deployed(target, EXPECTED)
        all_bytes = sum(len(pack(IMAGE[at : at + MIB])) for at in range(0, SIZE, MIB))
        assert 7 * MIB + proxy.passed <= all_bytes + 16 * MIB
    finally:
        proxy.close()
        server.close()


@pytest.mark.more
@pytest.mark.parametrize(
    ("image", "sector", "options"),
    [(gpt_image(SIZE, 4096), 4096, ()), (mbr_image(SIZE), 512, ("--sector-size", "512"))],
)
def test_images_of_other_sectors_and_tables_deploy(target: Path, image: bytes, sector: int, options: tuple[str, ...]) -> None:
    with LyingServer(image) as server, loop_device(target, sector) as device:
        deploy(server.url, device, *options)
    check_deployed(target, Expected(image, sector, LARGER))


@pytest.mark.more
def test_a_disk_that_does_not_fit_the_image_is_refused(server: LyingServer, target: Path) -> None:
    with loop_device(target, 4096) as device:
        assert "sectors of 4096 bytes and the image is for 512" in refused(server.url, device)
    with LyingServer(mbr_image(SIZE)) as other, loop_device(target) as device:
        assert "use --sector-size 512" in refused(other.url, device)
    with LyingServer(gpt_image(LARGER + MIB)) as other, loop_device(target) as device:
        assert f"the image needs {LARGER + MIB}; use a larger disk" in refused(other.url, device)
    with loop_device(target) as device:
        assert "the image is for sectors of 512 bytes, not 4096" in refused(server.url, device, "--sector-size", "4096")
        assert "not the expected" in refused(server.url, device, "--manifest", "0" * 64)
    assert target.read_bytes() == OLD * LARGER


@contextmanager
def used(device: str, how: str, folder: Path) -> Iterator[str]:
    """Use a disk in some way. Gives what the refusal says of it."""
    if how == "mounted":
        run("mkfs.ext4", "-q", device)
        run("mount", device, folder)
        try:
            yield f"it is mounted on {folder}"
        finally:
            run("umount", folder)
    elif how == "swap":
        run("mkswap", device)
        run("swapon", device)
        try:
            yield f"run swapoff {device}"
        finally:
            run("swapoff", device)
    else:
        with loop_device(Path(device)) as holder:
            yield f"{Path(holder).name} is made of it"


@pytest.mark.more
@pytest.mark.parametrize("how", ["mounted", "swap", "held"])
def test_a_disk_in_use_is_refused(server: LyingServer, device: str, target: Path, tmp_path: Path, how: str) -> None:
    with used(device, how, tmp_path) as reason:
        before = target.read_bytes()
        assert reason in refused(server.url, device)
        assert target.read_bytes() == before


@pytest.mark.more
def test_a_disk_that_another_program_holds_or_that_is_read_only_is_refused(server: LyingServer, target: Path) -> None:
    from phimage.agent.block_device import BlockDevice

    with loop_device(target) as device, BlockDevice(device, writable=True):
        assert "something holds it" in refused(server.url, device)
    with loop_device(target, read_only=True) as device:
        assert "it is read-only" in refused(server.url, device)
    assert target.read_bytes() == OLD * LARGER


def test_without_a_confirmation_nothing_is_written(server: LyingServer, device: str, target: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "phimage.agent", "deploy", "--image", server.url, "--disk", device],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert (process.returncode, f"confirm it with --yes {Path(device).name}" in process.stderr) == (1, True)
    assert "is loop" in refused(server.url, device, "--yes", "ZA1B2C3D")
    assert "nothing was written: --dry-run" in deploy(server.url, device, "--dry-run")
    assert target.read_bytes() == OLD * LARGER


@pytest.mark.more
def test_ctrl_c_leaves_nothing_that_boots_and_says_how_to_go_on(tmp_path: Path, device: str, target: Path) -> None:
    server = ImageServer(tmp_path, IMAGE)
    proxy = CountingProxy(server.port)
    try:
        started: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        proxy.act(11 * MIB, lambda: started.get().send_signal(signal.SIGINT))
        process = start_agent(server.url(proxy.port), device)
        started.put(process)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 130, said
        assert "interrupted: the disk cannot boot; run the same command again" in said
        check_not_bootable(device, target, EXPECTED)
        assert " 0 were right before" not in deploy(server.url(), device)
        check_deployed(target, EXPECTED)
    finally:
        proxy.close()
        server.close()


@pytest.mark.more
def test_the_agent_is_one_small_file_that_needs_no_packages(
    server: LyingServer, device: str, target: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "phimage-agent.pyz"
    archive.write_bytes(make_archive())
    assert archive.stat().st_size < MAX_BYTES
    program = (sys.executable, "-I", "-S", str(archive))
    assert run(*program, "disks").startswith("PATH")
    deploy(server.url, device, program=program)
    check_deployed(target, EXPECTED)


@pytest.mark.more
def test_the_agent_needs_little_memory(device: str, target: Path, server: LyingServer) -> None:
    process = start_agent(server.url, device)
    most = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status")
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except (OSError, ValueError):
            break
        most = max(most, int(lines.get("VmHWM", "0 kB").split()[0]))
        time.sleep(0.01)
    process.communicate(timeout=60)
    assert 0 < most <= 96 * 1024
