"""Captures of the real agent that are killed again and again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from phimage.chunks.folder import FolderStore
from phimage.chunks.uploaded_chunks import ChunkSource, find_seal
from phimage.http.asgi import Message, Receive, Send
from phimage.uploads.app import Uploads
from tests.deploying import loop_device, needs_loop_devices
from tests.e2e.process import wait_until
from tests.serving import serving
from tests.uploading import JOB, TICKET, FakeAuthorizer, caller, request_id

MIB = 1 << 20
CHUNKS = 220
KILLS = 50
SECONDS = 60
BATCHES = 24
"""Chunks that an agent has under way at a time."""
OPEN = ("01", "03", "08")
"""States in /proc/net/tcp: established, being opened, and closed by the other end alone."""


class CountingStore(FolderStore):
    """Counts how often each chunk was kept, and takes its time, so that kills meet it: once it has `most` chunks, all of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.kept: Counter[str] = Counter()
        self.most = 0

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        time.sleep(0.02)
        while len(self.kept) >= self.most:
            time.sleep(0.002)
        super().put_all(objects)
        self.kept.update(name for name, _ in objects)


class CountingUploads:
    """An upload server that knows how many requests it is working on. It does not answer a seal before it `seals`."""

    def __init__(self, store: CountingStore) -> None:
        self._uploads = Uploads(store, FakeAuthorizer(), caller, request_id)
        self.requests = 0
        self.seals = False
        self._working = 0
        self._idle = threading.Event()
        self._idle.set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.requests += 1
        self._working += 1
        self._idle.clear()
        try:
            if scope["path"].endswith("/seal") and not self.seals:
                while (await receive())["type"] != "http.disconnect":
                    pass
            else:
                await self._uploads(scope, receive, send)
        finally:
            self._working -= 1
            if not self._working:
                self._idle.set()

    def wait_until_idle(self, port: int) -> None:
        """Wait until it has read all that a killed client sent, and worked on it."""
        wait_until(lambda: not connections(port), SECONDS)
        assert self._idle.wait(SECONDS)

    def close(self) -> None:
        self._uploads.close()


def connections(port: int) -> int:
    """The connections to a port that its server has not closed, with those that it has not yet accepted."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] in OPEN for row in rows)


@contextmanager
def upload_server(folder: Path) -> Iterator[tuple[CountingStore, CountingUploads, int]]:
    store = CountingStore(folder)
    uploads = CountingUploads(store)
    with serving(uploads) as port:
        yield store, uploads, port
    uploads.close()


def capture(disk: str, url: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "phimage.agent", "capture", "--disk", disk, "--to", url]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@needs_loop_devices
@pytest.mark.more
def test_a_capture_that_is_killed_fifty_times_sends_no_chunk_twice(tmp_path: Path) -> None:
    chance, disk = random.Random(16), tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate((CHUNKS + 40) * MIB)
        for number in chance.sample(range(CHUNKS + 40), CHUNKS):
            file.seek(number * MIB + 512 * number)
            file.write(chance.randbytes(30_000).hex().encode())
    killed, progress = 0, list[int]()
    with upload_server(tmp_path / "store") as (store, uploads, port), loop_device(disk, read_only=True) as device:
        url = f"http://127.0.0.1:{port}/uploads/{JOB}?{TICKET}"
        for number in range(KILLS):
            # It is killed after its first question, once it has brought its share of the chunks: the kills meet it everywhere.
            asked, share = uploads.requests, CHUNKS * number // KILLS
            store.most = share + BATCHES
            process = capture(device, url)
            while (uploads.requests == asked or len(store.kept) < share) and process.poll() is None:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.03))
            progress.append(len(store.kept))
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
            process.communicate()
            store.most = CHUNKS + 1
            uploads.wait_until_idle(port)  # the kill cuts what is being sent; what has arrived as a whole is kept
        uploads.seals = True
        process = capture(device, url)
        assert process.communicate()[1]
        assert process.returncode == 0
        sealed = find_seal(store, JOB)
        assert sealed is not None
        with ChunkSource(store, JOB, sealed).open() as reader:
            captured = sha256()
            while data := reader.read(MIB):
                captured.update(data)
    assert killed == KILLS
    assert len(set(progress)) >= 8
    assert progress[-1] > CHUNKS * 9 // 10
    assert captured.digest() == sha256(disk.read_bytes()).digest()
    assert set(store.kept.values()) == {1}
    assert len(store.kept) == CHUNKS
