"""Uploads between real processes: killed clients, killed and stopped servers, memory."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import urllib3

from phimage.chunks.folder import FolderStore
from phimage.chunks.uploads import PART, UploadSource, parts
from tests.proxy import StallingProxy
from tests.uploading import JOB, TICKET, connects, port_of, reserved_port

SECONDS = 120
AT_ONCE = 4
"""So many parts come through a proxy: at least a whole one, because a client sends three at a time, and not the whole disk."""
CLIENT = """
import json, sys
from pathlib import Path
from phimage.sources.source import LocalFile
from phimage.sources.retry import Retry
from phimage.upload_client import upload

file, url = sys.argv[1:]
sent = upload(LocalFile(Path(file)), lambda: url, retry=Retry(tries=1000, first=0.05, max_pause=0.1))
status = Path("/proc/self/status").read_text()  # getrusage would tell also what the parent had
memory = int(status.partition("VmHWM:")[2].split()[0]) << 10
print(json.dumps({"size": sent.size, "sent": sent.sent, "sha256": sent.digests["sha256"].hex, "memory": memory}))
"""


class Servant:
    """A server process, which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reserved = reserved_port()
        self.port = port_of(self._reserved)
        self.url = f"http://127.0.0.1:{self.port}/uploads/{JOB}?{TICKET}"
        self.store = FolderStore(folder)
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.upload_server", str(self.folder), str(self.port)]
        self._process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        ends = time.monotonic() + SECONDS
        while not connects(self.port):
            assert time.monotonic() < ends
            assert self._process.poll() is None
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """To the server and its worker."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait(SECONDS)

    def close(self) -> None:
        self.kill()
        self._reserved.close()

    def kept(self) -> int:
        return sum(part.size for part in parts(self.store, JOB))

    def wait_for(self, size: int) -> None:
        ends = time.monotonic() + SECONDS
        while self.kept() < size:
            assert time.monotonic() < ends
            time.sleep(0.01)

    def digest(self, size: int) -> str:
        digest = sha256()
        with UploadSource(self.store, JOB, size).open() as reader:
            while data := reader.read(1 << 20):
                digest.update(data)
        return digest.hexdigest()

    def memory(self) -> int:
        """The most bytes that the server or its worker ever had."""
        found = 0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.getpgid(int(process.name)) == self._process.pid:
                    lines = (process / "status").read_text().splitlines()
                    found = max([found, *(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))])
        return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Servant]:
    found = Servant(tmp_path / "store")
    yield found
    found.close()


def client(file: Path, server: Servant, port: int = 0) -> subprocess.Popen[str]:
    """A client of the server, perhaps at the port of a proxy."""
    command = [sys.executable, "-c", CLIENT, str(file), server.url.replace(f":{server.port}/", f":{port or server.port}/")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def sent_by(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def write(path: Path, count: int) -> str:
    """A file of so many parts that do not shrink, and a short one. Its SHA-256."""
    digest = sha256()
    with path.open("wb") as file:
        for number in range(count + 1):
            data = random.Random(number).randbytes(PART if number < count else 12345)
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


@pytest.mark.more
def test_killed_clients_leave_whole_parts_and_the_last_one_sends_only_what_is_missing(server: Servant, tmp_path: Path) -> None:
    digest = write(tmp_path / "disk", 10)
    chance = random.Random(1)
    kills = 0
    while (before := server.kept()) < 6 * PART:
        with StallingProxy(server.port, AT_ONCE * PART) as proxy:
            killed = client(tmp_path / "disk", server, proxy.port)
            server.wait_for(before + PART)
            time.sleep(chance.random() * 0.05)
            killed.kill()
            killed.communicate()
        kills += 1

    kept = server.kept()  # or more: a part that the last one had sent as a whole may still be on its way to the disk
    last = sent_by(client(tmp_path / "disk", server))

    assert kills > 1
    assert last["sent"] <= last["size"] - kept
    assert last["sha256"] == digest
    assert server.digest(last["size"]) == digest


@pytest.mark.more
def test_killed_servers_lose_nothing_that_they_had_told(server: Servant, tmp_path: Path) -> None:
    digest = write(tmp_path / "disk", 8)
    patient = client(tmp_path / "disk", server)
    for number in (1, 4):
        server.wait_for(number * PART)
        server.kill()
        server.start()

    sent = sent_by(patient)

    assert sent["sha256"] == digest
    assert server.digest(sent["size"]) == digest


@pytest.mark.more
def test_ctrl_c_ends_a_client_also_while_the_server_does_not_answer(server: Servant, tmp_path: Path) -> None:
    write(tmp_path / "disk", 8)
    with StallingProxy(server.port, AT_ONCE * PART) as proxy:
        stopped = client(tmp_path / "disk", server, proxy.port)
        server.wait_for(PART)
        server.signal(signal.SIGSTOP)

        stopped.send_signal(signal.SIGINT)
        _, err = stopped.communicate(timeout=25)  # the client's own time is 30 s for a block, 120 s for an answer

    assert "KeyboardInterrupt" in err
    server.signal(signal.SIGCONT)
    assert sent_by(client(tmp_path / "disk", server))["sent"] < 8 * PART + 12345


@pytest.mark.more
def test_memory_is_bounded_on_both_sides(server: Servant, tmp_path: Path) -> None:
    write(tmp_path / "disk", 12)
    idle = server.memory()

    sent = sent_by(client(tmp_path / "disk", server))

    assert sent["memory"] < 40 * 2**20 + 8 * PART
    assert server.memory() < idle + 14 * PART  # of three parts at once, each up to four times


def test_a_refused_part_leaves_the_connection_usable(server: Servant) -> None:
    raw = random.Random(1).randbytes(PART)
    good = base64.b64encode(sha256(raw).digest()).decode()
    with urllib3.PoolManager(retries=False) as pool:

        def put(url: str, digest: str) -> int:
            return pool.request("PUT", url, body=raw, headers={"Content-Digest": f"sha-256=:{digest}:"}).status

        url = server.url.replace("?", "/0?")
        statuses = [
            put(url.replace("good", "bad"), good),
            put(url, good[::-1]),
            put(url.replace("/0", "/0/"), good),
            put(url, good),
        ]
        connections = pool.connection_from_url(server.url).num_connections

    assert statuses == [401, 400, 404, 201]
    assert connections == 1
