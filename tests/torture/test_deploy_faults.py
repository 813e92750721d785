"""T16, the other half: wrong chunks, a disk that fails at each of its calls, and the careless agents that must be caught."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phimage.chunks.frame import pack
from tests.deploying import (
    EFI,
    MIB,
    Expected,
    ImageServer,
    check_deployed,
    check_not_bootable,
    gpt_image,
    loop_device,
    needs_loop_devices,
    old_target,
    start_agent,
)
from tests.lying_server import Lie, LyingServer
from tests.proxy import CountingProxy
from tests.torture.installation import eventually

SIZE = 24 * MIB
LARGER = 30 * MIB
IMAGE = gpt_image(SIZE)
EXPECTED = Expected(IMAGE, 512, LARGER)

pytestmark = [needs_loop_devices]


@pytest.fixture
def target() -> Iterator[Path]:
    with old_target(LARGER) as file:
        yield file


@pytest.fixture
def device(target: Path) -> Iterator[str]:
    with loop_device(target) as path:
        yield path


def run(url: str, device: str, *options: str, before: tuple[str, ...] = (), program: tuple[str, ...] = ()) -> tuple[int, str]:
    started = {"program": program} if program else {}
    process = start_agent(url, device, *options, before=before, **started)  # type: ignore[arg-type]
    said = process.communicate(timeout=200)[1]
    subprocess.run(["blockdev", "--flushbufs", device], check=True)
    return process.returncode, said


def altered(frames: list[bytes]) -> list[bytes]:
    """One byte of a chunk is another one; its frame is whole, with a right checksum."""
    chunk = bytearray(IMAGE[8 * MIB : 9 * MIB])
    chunk[5] ^= 1
    frames[8] = pack(bytes(chunk))
    return frames


def flipped(frames: list[bytes]) -> list[bytes]:
    frame = bytearray(frames[8])
    frame[len(frame) // 2] ^= 0x10
    frames[8] = bytes(frame)
    return frames


def reordered(frames: list[bytes]) -> list[bytes]:
    frames[8], frames[11] = frames[11], frames[8]
    return frames


def short(frames: list[bytes]) -> list[bytes]:
    frames[8] = pack(IMAGE[8 * MIB : 9 * MIB - 4096])
    return frames


def long(frames: list[bytes]) -> list[bytes]:
    frames[8] = pack(IMAGE[8 * MIB : 9 * MIB] + bytes(1 << 26))
    return frames


def stale(frames: list[bytes]) -> list[bytes]:
    """Chunks of an earlier version of the image."""
    earlier = gpt_image(SIZE, seed=9)
    return [pack(earlier[at : at + MIB]) for at in range(0, SIZE, MIB)]


@pytest.mark.parametrize("lie", [altered, flipped, reordered, short, long, stale])
def test_t16_a_wrong_chunk_never_reaches_the_disk(device: str, target: Path, lie: Lie) -> None:
    with LyingServer(IMAGE, lie) as server:
        code, said = run(server.url, device, "--patience", "5")
    assert (code, "arrived damaged" in said, "cannot boot" in said or lie is stale) == (69, True, True), said
    check_not_bootable(device, target, EXPECTED)
    with LyingServer(IMAGE) as server:
        assert run(server.url, device)[0] == 0
    check_deployed(target, EXPECTED)


@pytest.mark.parametrize("cut", [False, True])
def test_t16_a_chunk_that_was_wrong_a_few_times_is_fetched_again(device: str, target: Path, cut: bool) -> None:
    with LyingServer(IMAGE, flipped, lies=3, cut=cut) as server:
        code, said = run(server.url, device)
    assert code == 0, said
    check_deployed(target, EXPECTED)


def test_t16_a_body_that_ends_early_is_not_the_end_of_the_image(device: str, target: Path) -> None:
    with LyingServer(IMAGE, cut=True) as server:
        code, said = run(server.url, device, "--patience", "0")
    assert (code, "nothing for 0 s" in said) == (69, True), said
    check_not_bootable(device, target, EXPECTED)


FAILING = [
    *(("pwrite64", number) for number in range(1, 7)),
    *(("fsync", number) for number in range(1, 6)),
    *(("preadv2", number) for number in (1, 6)),
]


@pytest.mark.parametrize(("call", "number"), FAILING)
def test_t16_a_disk_that_fails_once_at_any_call_cannot_boot_and_the_next_try_ends_right(
    device: str, target: Path, tmp_path: Path, call: str, number: int
) -> None:
    inject = ("strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={call}")
    with LyingServer(IMAGE) as server:
        code, said = run(server.url, device, before=(*inject, "-e", f"inject={call}:error=EIO:when={number}"))
        assert "INJECTED" in (tmp_path / "trace").read_text()
        assert (code, "input/output error" in said) == (1, True), said
        check_not_bootable(device, target, EXPECTED)
        assert run(server.url, device)[0] == 0
    check_deployed(target, EXPECTED)


def careless(mistake: str) -> tuple[str, ...]:
    return sys.executable, "-m", "tests.careless_agent", mistake


def test_the_check_sees_a_tail_that_is_written_with_the_body(tmp_path: Path) -> None:
    server = ImageServer(tmp_path, IMAGE)
    proxy = CountingProxy(server.port)
    try:
        with old_target(SIZE) as target, loop_device(target) as device:

            def cut() -> None:
                eventually(lambda: EFI in Path(device).read_bytes()[-34 * 512 :], "the tail never came to the disk")
                proxy.cut()

            proxy.act(8 * MIB, cut)
            code, said = run(server.url(proxy.port), device, "--patience", "0", program=careless("tail"))
            assert code == 69, said
            with pytest.raises(AssertionError, match="the tail was written before the body was right"):
                check_not_bootable(device, target, Expected(IMAGE, 512, SIZE))
    finally:
        proxy.close()
        server.close()


def test_the_check_sees_an_early_end_that_is_taken_for_success(tmp_path: Path, device: str, target: Path) -> None:
    server = ImageServer(tmp_path, IMAGE)
    proxy = CountingProxy(server.port)
    try:
        proxy.act(8 * MIB, proxy.cut)
        code, said = run(server.url(proxy.port), device, "--patience", "0", "--no-read-back", program=careless("end"))
        assert code == 0, said
        with pytest.raises(AssertionError):
            check_deployed(target, EXPECTED)
        with pytest.raises(AssertionError, match="the first sector has something"):
            check_not_bootable(device, target, EXPECTED)
    finally:
        proxy.close()
        server.close()
