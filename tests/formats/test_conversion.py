"""qemu-img in use: progress, limits, and leftovers of a failure."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from phimage.errors import SetupError
from phimage.formats import qemu
from phimage.formats.errors import QemuFailed, QemuStopped
from phimage.formats.limits import GIB, SandboxLimits
from phimage.formats.qemu import convert, info
from phimage.formats.table import Format
from tests.formats import make
from tests.formats.make import MIB
from tests.formats.processes import begun_since, gone, offspring
from tests.formats.test_sandbox_child import LANDLOCK


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "image, with=odd,,name: json:{}"
    path.write_bytes(make.qcow2(data=make.pattern(MIB)))
    yield path
    path.unlink()


def test_info_reads_format_and_size(image: Path) -> None:
    assert info(image, Format.QCOW2) == qemu.QemuInfo("qcow2", 4 * MIB, "")


def test_info_uses_the_format_that_is_given(image: Path) -> None:
    assert info(image, Format.RAW).virtual_size == image.stat().st_size
    with pytest.raises(QemuFailed, match=r"qemu-img info: .*VPC"):
        info(image, Format.VHD)


def test_info_says_what_lies_elsewhere(tmp_path: Path) -> None:
    """`examine` never comes that far; this is the second line."""
    (tmp_path / "image").write_bytes(make.qcow2(backing=b"/bait/secret"))
    assert info(tmp_path / "image", Format.QCOW2).elsewhere == "/bait/secret"


@pytest.mark.skipif(not LANDLOCK, reason="the kernel has no Landlock")
def test_a_backing_file_is_not_opened_even_when_asked_to_convert(tmp_path: Path) -> None:
    """The last line: the sandbox. Without it the secret would be in the output."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"of another tenant".ljust(MIB, b"!"))
    secret.chmod(0o644)
    (tmp_path / "image").write_bytes(make.qcow2(size=MIB, backing=str(secret).encode()))
    with pytest.raises(QemuFailed, match="Permission denied"):
        convert(tmp_path / "image", Format.QCOW2, tmp_path / "out", size=MIB)
    assert not (tmp_path / "out").exists()


def test_progress_is_told_and_the_disk_is_complete(image: Path, tmp_path: Path) -> None:
    told: list[float] = []
    convert(image, Format.QCOW2, tmp_path / "out", size=4 * MIB, on_share=told.append)
    assert (tmp_path / "out").read_bytes() == make.pattern(MIB).ljust(4 * MIB, b"\0")
    assert told == sorted(told)
    assert all(0 <= share <= 1 for share in told)
    status = (tmp_path / "out").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (os.geteuid(), 0o600)


def test_a_private_file_of_root_is_converted_too(image: Path, tmp_path: Path) -> None:
    image.chmod(0o600)
    convert(image, Format.QCOW2, tmp_path / "out", size=4 * MIB)
    assert (tmp_path / "out").stat().st_size == 4 * MIB


def test_an_output_that_is_there_is_not_touched(image: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        convert(image, Format.QCOW2, tmp_path / "out", size=4 * MIB)
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_no_more_is_written_than_the_size_that_was_examined(image: Path, tmp_path: Path) -> None:
    with pytest.raises(QemuFailed, match=r"qemu-img convert: .*(small|large)"):
        convert(image, Format.QCOW2, tmp_path / "out", size=MIB)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "limits",
    [SandboxLimits(seconds=0.3), SandboxLimits(cpu_seconds=1)],
    ids=["wall seconds", "CPU seconds"],
)
def test_a_conversion_that_takes_too_long_leaves_nothing_behind(limits: SandboxLimits, tmp_path: Path) -> None:
    """Sixteen GiB of one compressed cluster of zeros and ones: a bomb that qemu-img would unpack for a long time."""
    bomb = _bomb(tmp_path)
    before = offspring()
    with pytest.raises(QemuStopped):
        convert(bomb, Format.QCOW2, tmp_path / "out", size=16 * GIB, limits=limits)
    assert begun_since(before) == []
    assert not (tmp_path / "out").exists()


def test_a_conversion_is_cancelled_by_its_listener(tmp_path: Path) -> None:
    bomb = _bomb(tmp_path)
    before = offspring()

    class Cancelled(Exception):
        pass

    def cancel(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        convert(bomb, Format.QCOW2, tmp_path / "out", size=16 * GIB, on_share=cancel)
    assert begun_since(before) == []
    assert not (tmp_path / "out").exists()


def test_a_conversion_dies_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    bomb, out = _bomb(tmp_path), tmp_path / "out"
    code = f"from pathlib import Path; convert(Path({str(bomb)!r}), Format.QCOW2, Path({str(out)!r}), size=16 << 30)"
    code = f"from phimage.formats.qemu import convert; from phimage.formats.table import Format; {code}"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        ends = time.monotonic() + 60
        while not ((children := offspring(process.pid)) and out.exists() and out.stat().st_blocks):
            assert time.monotonic() < ends
            time.sleep(0.05)
        process.kill()
    assert gone(*children)


def test_memory_is_limited(image: Path) -> None:
    with pytest.raises(QemuFailed):
        info(image, Format.QCOW2, limits=SandboxLimits(memory=32 * MIB))


def test_without_qemu_img_it_is_said_what_to_install() -> None:
    with pytest.raises(SetupError, match="qemu-utils"):
        qemu.program("/nowhere")


def _bomb(folder: Path) -> Path:
    """A qcow2 of 16 GiB, every cluster of which is the same compressed one: about 2.4 MiB."""
    flat = folder / "flat"
    flat.write_bytes(b"\1" * 65536)
    bomb = folder / "bomb"
    subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", flat, bomb], check=True)
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", bomb, "16G"], check=True)
    data = bytearray(bomb.read_bytes())
    l1 = int.from_bytes(data[40:48], "big")
    l2 = int.from_bytes(data[l1 : l1 + 8], "big") & 0x00FFFFFFFFFFFE00
    entry = bytes(data[l2 : l2 + 8])
    data[l2 : l2 + 65536] = entry * 8192
    data[l1 : l1 + 8 * 32] = data[l1 : l1 + 8] * 32
    bomb.write_bytes(data)
    return bomb
