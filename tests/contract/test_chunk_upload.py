"""The sending half of uploads by chunks, against a server that is a dictionary."""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

import phimage
from phimage.chunk_upload import CHUNK, Ask, DiskChanged, FileDisk, OnProgress, SendProgress, SentDisk, send_disk
from phimage.chunks.uploaded_chunks import read_digests, read_frames, read_seal


class FakeServer:
    """Keeps what it is sent. `before` is called before each request, and may fail."""

    def __init__(self) -> None:
        self.frames: dict[bytes, bytes] = {}
        self.seals: list[bytes] = []
        self.requests: list[str] = []
        self.bytes = 0
        self.fail_at = 0
        self._lock = threading.Lock()

    def ask(self, method: str, below: str, body: bytes) -> bytes:
        with self._lock:
            self.requests.append(f"{method} {below}")
            if len(self.requests) == self.fail_at:
                raise ConnectionError("cut")
            if below == "need":
                bits = bytearray(-(-len(body) // 32 // 8))
                for number, digest in enumerate(read_digests(body)):
                    bits[number // 8] |= (digest not in self.frames) << number % 8
                return msgspec.json.encode({"Need": base64.b64encode(bits).decode()})
            if below == "chunks":
                self.bytes += len(body)
                self.frames |= {each.digest: each.frame for each in read_frames(body)}
            else:
                self.seals.append(body)
            return b"{}"


def disk(path: Path, chunks: int, *, seed: int = 1, extra: int = 0) -> Path:
    """A sparse disk in which every third chunk has data, one has zeros, and one is there twice."""
    with path.open("wb") as file:
        file.truncate(chunks * CHUNK + extra)
        for number in range(0, chunks, 3):
            file.seek(number * CHUNK + 4096 * (number % 5))
            file.write(random.Random(seed * 1000 + number % 60).randbytes(100_000))
        file.seek(CHUNK)
        file.write(bytes(CHUNK))
    return path


def send(path: Path, ask: Ask, on_progress: OnProgress = lambda _: None) -> SentDisk:
    with FileDisk(str(path)) as opened:
        return send_disk(opened, ask, on_progress)


def expected(path: Path) -> tuple[int, list[tuple[int, bytes]]]:
    data = path.read_bytes()
    pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    return len(data), [(index, sha256(raw).digest()) for index, raw in enumerate(pieces) if any(raw)]


@pytest.mark.parametrize(("chunks", "extra"), [(1, 0), (100, 0), (70, 512)])
def test_the_seal_is_the_disk_and_every_chunk_was_sent_once(tmp_path: Path, chunks: int, extra: int) -> None:
    path, server = disk(tmp_path / "disk", chunks, extra=extra), FakeServer()
    told: list[SendProgress] = []

    sent = send(path, server.ask, lambda progress: told.append(progress))

    size, stored = expected(path)
    sealed = read_seal(server.seals[0])
    assert (sealed.size, list(sealed.stored())) == (size, stored)
    assert set(server.frames) == {digest for _, digest in stored}
    assert sent == SentDisk(size, len(stored), len(server.frames), server.bytes)
    assert [each.done for each in told] == sorted(each.done for each in told)
    reused = len(stored) - len(server.frames)
    assert told[-1] == SendProgress(size, size, server.bytes, reused * CHUNK)


def test_a_second_disk_costs_its_changes(tmp_path: Path) -> None:
    path, server = disk(tmp_path / "disk", 300), FakeServer()
    first = send(path, server.ask)
    assert send(path, server.ask).sent == 0
    with path.open("r+b") as file:
        for number in range(0, 300, 60):  # 5 of 100 chunks with data
            file.seek(number * CHUNK)
            file.write(random.Random(number).randbytes(100_000))

    second = send(path, server.ask)

    assert second.new_chunks == 5
    assert second.sent < 0.26 * first.sent  # a fifth of its 20 different chunks


@pytest.mark.parametrize("at", [1, 2, 3])
def test_after_a_cut_the_rest_is_sent(tmp_path: Path, at: int) -> None:
    path, server = disk(tmp_path / "disk", 180), FakeServer()
    server.fail_at = at

    with pytest.raises(ConnectionError):
        send(path, server.ask)
    kept = set(server.frames)
    send(path, server.ask)

    _, stored = expected(path)
    assert kept <= set(server.frames) == {digest for _, digest in stored}
    assert list(read_seal(server.seals[-1]).stored()) == stored


def test_a_disk_that_changes_is_not_sealed(tmp_path: Path) -> None:
    path, server = disk(tmp_path / "disk", 40), FakeServer()

    def ask(method: str, below: str, body: bytes) -> bytes:
        os.truncate(path, 10 * CHUNK)
        return server.ask(method, below, body)

    with pytest.raises(DiskChanged):
        send(path, ask)
    assert server.seals == []


ALONE = """
import sys
sys.path[:0] = sys.argv[1:]
before = set(sys.modules)
import phimage.chunk_upload
phimage.chunk_upload.compress(b"x")
print(*sorted({name for name in set(sys.modules) - before if name.partition(".")[0] not in sys.stdlib_module_names}))
"""


def test_it_needs_the_standard_library_and_zstd_alone() -> None:
    import backports.zstd

    sources, packages = Path(phimage.__file__).parents[1], Path(backports.zstd.__file__).parents[2]
    own = {"phimage", "phimage.chunk_upload", "phimage.zstd_frame"}
    for paths in ([sources], [sources, packages]):  # without backports.zstd, and with it
        shown = subprocess.run([sys.executable, "-I", "-S", "-c", ALONE, *paths], capture_output=True, text=True, check=True)
        foreign = set(shown.stdout.split()) - own
        assert {name for name in foreign if not name.startswith("backports")} == set()
        assert bool(foreign) == (packages in paths and sys.version_info < (3, 14))
