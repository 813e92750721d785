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

from phimage.chunk_upload import CHUNK, DiskChanged, SentDisk, send_disk
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


def expected(path: Path) -> tuple[int, list[tuple[int, bytes]]]:
    data = path.read_bytes()
    pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    return len(data), [(index, sha256(raw).digest()) for index, raw in enumerate(pieces) if any(raw)]


@pytest.mark.parametrize(("chunks", "extra"), [(1, 0), (100, 0), (70, 512)])
def test_the_seal_is_the_disk_and_every_chunk_was_sent_once(tmp_path: Path, chunks: int, extra: int) -> None:
    path, server = disk(tmp_path / "disk", chunks, extra=extra), FakeServer()
    told: list[int] = []

    sent = send_disk(str(path), server.ask, lambda done, total: told.append(done))

    size, stored = expected(path)
    sealed = read_seal(server.seals[0])
    assert (sealed.size, list(sealed.stored())) == (size, stored)
    assert set(server.frames) == {digest for _, digest in stored}
    assert sent == SentDisk(size, len(stored), len(server.frames), server.bytes)
    assert told == sorted(told)
    assert told[-1] == size


def test_a_second_disk_costs_its_changes(tmp_path: Path) -> None:
    path, server = disk(tmp_path / "disk", 300), FakeServer()
    first = send_disk(str(path), server.ask)
    assert send_disk(str(path), server.ask).sent == 0
    with path.open("r+b") as file:
        for number in range(0, 300, 60):  # 5 of 100 chunks with data
            file.seek(number * CHUNK)
            file.write(random.Random(number).randbytes(100_000))

    second = send_disk(str(path), server.ask)

    assert second.new_chunks == 5
    assert second.sent < 0.26 * first.sent  # a fifth of its 20 different chunks


@pytest.mark.parametrize("at", [1, 2, 3])
def test_after_a_cut_the_rest_is_sent(tmp_path: Path, at: int) -> None:
    path, server = disk(tmp_path / "disk", 180), FakeServer()
    server.fail_at = at

    with pytest.raises(ConnectionError):
        send_disk(str(path), server.ask)
    kept = set(server.frames)
    send_disk(str(path), server.ask)

    _, stored = expected(path)
    assert kept <= set(server.frames) == {digest for _, digest in stored}
    assert list(read_seal(server.seals[-1]).stored()) == stored


def test_a_disk_that_changes_is_not_sealed(tmp_path: Path) -> None:
    path, server = disk(tmp_path / "disk", 40), FakeServer()

    def ask(method: str, below: str, body: bytes) -> bytes:
        os.truncate(path, 10 * CHUNK)
        return server.ask(method, below, body)

    with pytest.raises(DiskChanged):
        send_disk(str(path), ask)
    assert server.seals == []


ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
import importlib.util
spec = importlib.util.spec_from_file_location("chunk_upload", sys.argv[2])
module = importlib.util.module_from_spec(spec)
sys.modules["chunk_upload"] = module
spec.loader.exec_module(module)
foreign = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(sorted(name for name in foreign if not name.startswith("_")))
"""


def test_it_needs_the_standard_library_and_zstd_alone() -> None:
    import backports.zstd

    import phimage.chunk_upload

    packages = Path(backports.zstd.__file__).parents[2]
    shown = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, packages, phimage.chunk_upload.__file__], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() in ("['backports', 'chunk_upload']", "['chunk_upload']")
