"""Deployments to loop devices: images with partition tables, targets full of old data, and what a cut may leave."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from phimage.agent.gpt import TableChange, move_backup, sector_size
from phimage.chunks.factory import open_store
from phimage.model.image_bytes import ImageBytes
from tests.delivering import IMAGE, content_of, write_disk
from tests.delivery_server import Config
from tests.uploading import port_of, reserved_port

MIB = 1 << 20
OLD = b"\xaa"
"""What a target is full of before: data of its last tenant."""
EFI = b"EFI PART"

needs_loop_devices = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists() or shutil.which("losetup") is None,
    reason="only root can attach loop devices, with losetup of the Debian package mount",
)
AGENT = (sys.executable, "-m", "phimage.agent")


def gpt_image(size: int, sector: int = 512, seed: int = 1) -> bytes:
    """A disk with a protective MBR, both partition tables, boot code after the first one, data and holes."""
    disk = bytearray(_body(size, seed))
    sectors = size // sector
    entries_sectors = 128 * 128 // sector
    entry = struct.pack(
        "<16s16sQQQ72s", uuid.UUID(int=4).bytes_le, uuid.UUID(int=5).bytes_le, MIB // sector, sectors - 100, 0, b""
    )
    entries = entry.ljust(128 * 128, b"\0")
    for mine, other, table in ((1, sectors - 1, 2), (sectors - 1, 1, sectors - 1 - entries_sectors)):
        fields = [EFI, 0x10000, 92, 0, 0, mine, other, 2 + entries_sectors, sectors - 2 - entries_sectors]
        fields += [uuid.UUID(int=6).bytes_le, table, 128, 128, zlib.crc32(entries)]
        fields[3] = zlib.crc32(struct.pack("<8sIIIIQQQQ16sQIII", *fields))
        disk[mine * sector : (mine + 1) * sector] = struct.pack("<8sIIIIQQQQ16sQIII", *fields).ljust(sector, b"\0")
        disk[table * sector : table * sector + len(entries)] = entries
    mbr = b"boot".ljust(446, b"\x90") + struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, sectors - 1)
    disk[:sector] = (mbr.ljust(510, b"\0") + b"\x55\xaa").ljust(sector, b"\0")
    return bytes(disk)


def mbr_image(size: int, seed: int = 2) -> bytes:
    """A disk with a master boot record, one active partition, data and holes."""
    disk = bytearray(_body(size, seed))
    entry = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff" * 3, 2048, size // 512 - 2048)
    disk[:512] = (b"boot".ljust(446, b"\x90") + entry).ljust(510, b"\0") + b"\x55\xaa"
    return bytes(disk)


def _body(size: int, seed: int) -> bytes:
    """Chunks of data and of zeros by turns, with some of the data compressible, none of it like a target's old bytes."""
    some = random.Random(seed)
    pieces = []
    for number in range(-(-size // MIB)):
        if number % 7 in (2, 3) and number < size // MIB - 1:
            pieces.append(bytes(MIB))
        else:
            half = some.randbytes(MIB // 2)
            pieces.append(half + (half.translate(bytes(range(256))[::-1]) if number % 3 else bytes(MIB // 2)))
    return b"".join(pieces)[:size].replace(OLD, b"\xab")


@contextmanager
def loop_device(file: Path, sector: int = 512, *, read_only: bool = False) -> Iterator[str]:
    """The path of a loop device over a file."""
    options = ["--read-only"] if read_only else []
    command = ["losetup", "--find", "--show", "--sector-size", str(sector), *options, str(file)]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield device
    finally:
        for _ in range(600):  # it can be busy for a moment after a process was killed
            if subprocess.run(["losetup", "--detach", device], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)


@contextmanager
def old_target(size: int) -> Iterator[Path]:
    """A file full of old data, in memory where that is possible: targets are written hundreds of times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="phimage-disk-", dir=memory if memory.is_dir() else None) as folder:
        file = Path(folder) / "target"
        with file.open("wb") as opened:
            for at in range(0, size, MIB):
                opened.write(OLD * min(MIB, size - at))
        yield file


@dataclass(frozen=True)
class Expected:
    """What a target has after a deployment."""

    image: bytes
    sector: int
    size: int

    def disk(self) -> bytes:
        """All of it."""
        disk = bytearray(self.image.ljust(self.size, b"\0"))
        for change in self.changes():
            disk[change.offset : change.offset + len(change.data)] = change.data
        return bytes(disk)

    def changes(self) -> list[TableChange]:
        """The changes that a larger disk needs. `sgdisk` is the judge of them in another test."""
        made_for = sector_size(self.image[:MIB])
        return move_backup(self.image[:MIB], made_for, self.size, lambda at, n: self.image[at : at + n]) if made_for else []


def check_deployed(target: Path, expected: Expected) -> None:
    """The disk is exactly the image, with zeros after it."""
    actual, wanted = target.read_bytes(), expected.disk()
    different = [at for at in range(0, expected.size, 4096) if actual[at : at + 4096] != wanted[at : at + 4096]]
    assert different == []


def check_not_bootable(device: str, target: Path, expected: Expected) -> None:
    """Nothing on the disk can boot, and every chunk of it is right, zero or old: after a cut at any point.

    Between the write of the tail and that of the head's first two sectors, the tail may have the backup table: then all of the
    body is right.
    """
    actual, wanted = target.read_bytes(), expected.disk()
    sector, size = expected.sector, expected.size
    assert actual[:sector] in (bytes(sector), OLD * sector), "the first sector has something"
    assert EFI not in actual[: 34 * sector], "the head has a partition table"
    assert _finds_no_table(device), "sfdisk finds a partition table"
    if EFI in actual[-34 * sector :]:
        # Of the head, the first two sectors are written last.
        assert actual[: 2 * sector] == bytes(2 * sector), "the tail was written before the head was zero"
        head = range(2 * sector, MIB, 512)
        assert all(actual[at : at + 512] in (bytes(512), wanted[at : at + 512]) for at in head), "the head is neither"
        assert actual[MIB:] == wanted[MIB:], "the tail was written before the body was right"
    else:
        assert "valid backup" not in _sgdisk_says(device), "sgdisk finds a backup table"
    for at in range(0, size, MIB):
        piece, right = actual[at : at + MIB], wanted[at : at + MIB]
        whole = piece in (right, bytes(len(piece)), OLD * len(piece))
        partly = all(piece[n : n + 512] in (bytes(512), OLD * 512) for n in range(0, len(piece), 512))
        edges = at // MIB in (0, (size - MIB) // MIB, (size - 1) // MIB)
        assert whole or partly or (edges and _mixed(piece, right)), f"the chunk at {at} is neither right nor zero nor old"


def _mixed(piece: bytes, right: bytes) -> bool:
    """Whether each sector of a chunk at the border of head or tail is right, zero or old."""
    return all(piece[n : n + 512] in (right[n : n + 512], bytes(512), OLD * 512) for n in range(0, len(piece), 512))


def _finds_no_table(device: str) -> bool:
    return subprocess.run(["sfdisk", "--dump", device], capture_output=True, check=False).returncode != 0


def _sgdisk_says(device: str) -> str:
    shown = subprocess.run(["sgdisk", "--print", device], capture_output=True, text=True, check=False)
    return shown.stdout + shown.stderr


class ImageServer:
    """A server of one image as a process, that can be killed and started again on the same port."""

    def __init__(self, folder: Path, disk: bytes | memoryview, chunk_size: int = MIB) -> None:
        store = open_store(str(folder / "store"))
        self.written = write_disk(store, disk, chunk_size)
        self.manifest = self.written.digest
        self._reserved = reserved_port()
        self.port = port_of(self._reserved)
        self._config = folder / "server.json"
        contents: tuple[ImageBytes, ...] = (content_of(self.written),)
        self._config.write_bytes(msgspec.json.encode(Config(str(folder / "store"), self.port, contents)))
        self.start()

    def url(self, port: int = 0) -> str:
        return self.url_of(port or self.port)

    @staticmethod
    def url_of(port: int) -> str:
        return f"http://127.0.0.1:{port}/images/{IMAGE}.raw.zst"

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "tests.delivery_server", self._config])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._reserved.close()


def start_agent(
    url: str,
    device: str,
    *options: str,
    before: tuple[str, ...] = (),
    program: tuple[str, ...] = AGENT,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """A deployment as a process. `before` is a command that runs it, such as strace."""
    name = Path(device).name
    command = [*before, *program, "deploy", "--image", url, "--disk", device, "--yes", name, *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})


def deploy(url: str, device: str, *options: str, **started: tuple[str, ...]) -> str:
    """Deploy to the end, and return what the agent says."""
    process = start_agent(url, device, *options, **started)  # type: ignore[arg-type]
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    return said
