"""Captures to a real upload server, which fails in the ways that servers do, and to files."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from phimage.agent.block_device import BlockDevice
from phimage.agent.capture import FileFailed, capture_to_file, capture_to_server
from phimage.agent.captured_disk import CapturedDisk
from phimage.agent.errors import OrderGone
from phimage.agent.upload_requests import UploadAway, UploadRefused, UploadRequests
from phimage.chunk_upload import SendProgress, SentDisk
from phimage.chunks.frame import zstd
from phimage.chunks.memory import MemoryStore
from phimage.chunks.uploaded_chunks import ChunkSource, find_seal
from phimage.http.response import HttpError
from phimage.http_client import ApiConnections, HttpAddress, ServerResponse
from phimage.uploads.app import Uploads
from phimage.uploads.authorizer import UploadAccessRequest, UploadClosed
from tests.uploading import JOB, TICKET, FakeAuthorizer, caller, free_port, request_id, served

MIB = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A disk of 41.5 MiB: 20 chunks that differ, some twice, and zeros."""
    made, chance = tmp_path / "disk", random.Random(5)
    with made.open("wb") as disk:
        disk.truncate(41 * MIB + 512 * 1024)
        for number in range(0, 41, 2):
            disk.seek(number * MIB + 4096)
            disk.write(chance.randbytes(60_000) if number else b"x" * 5000)
        for number in (1, 21):
            disk.seek(number * MIB)
            disk.write(random.Random(9).randbytes(MIB))
    return made


@contextmanager
def disk_of(file: Path) -> Iterator[CapturedDisk]:
    with BlockDevice(str(file), writable=False) as device:
        yield CapturedDisk(device)


class Server:
    """A server of uploads in the test, and what arrived at it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.authorizer = FakeAuthorizer()
        self.paths: list[str] = []
        self.opened: list[str] = []
        self.waits: list[float] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        with served(Uploads(self.store, self.authorizer, caller, request_id)) as url:
            yield url

    def capture(self, url: str, file: Path, *, patience: float = 60) -> SentDisk:
        """Capture a file. `waits` are the pauses between tries, which take no time."""

        def open_url(expired: str) -> str:
            self.opened.append(expired)
            return f"{url}?{self.authorizer.ticket}"

        clock = [0.0]

        def wait(seconds: float) -> None:
            self.waits.append(seconds)
            clock[0] += seconds

        requests = UploadRequests(open_url, ApiConnections(60), patience=patience, clock=lambda: clock[0], wait=wait)
        with requests, disk_of(file) as disk:
            return capture_to_server(disk, requests, lambda progress: None)

    def content(self) -> bytes:
        """The disk that was sealed."""
        sealed = find_seal(self.store, JOB)
        assert sealed is not None
        return ChunkSource(self.store, JOB, sealed).open().read(1 << 30)


def test_the_server_has_the_disk_and_gets_each_chunk_once(file: Path) -> None:
    server = Server()
    with server.running() as url:
        first = server.capture(url, file)
        again = server.capture(url, file)
    assert server.content() == file.read_bytes()
    assert (first.chunks, first.new_chunks, again.new_chunks, again.sent) == (23, 22, 0, 0)


def test_progress_counts_bytes_of_the_disk_and_bytes_sent(file: Path) -> None:
    server, told = Server(), list[SendProgress]()
    with (
        server.running() as url,
        disk_of(file) as disk,
        UploadRequests(lambda _: f"{url}?{TICKET}", ApiConnections(60), patience=60) as requests,
    ):
        sent = capture_to_server(disk, requests, told.append)
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert told[-1] == SendProgress(disk.size, disk.size, sent.sent, MIB)  # one chunk is there twice


def test_what_passes_is_waited_for(file: Path) -> None:
    server, refused = Server(), list[str]()

    def before(request: UploadAccessRequest) -> None:
        if len(server.authorizer.requests) % 3 == 0 and len(refused) < 3:
            refused.append(request.method)
            raise HttpError(503, "Busy", "send it again")

    server.authorizer.before = before
    with server.running() as url:
        server.capture(url, file)
    assert server.content() == file.read_bytes()
    assert len(refused) == len(server.waits) == 3


def test_an_expired_ticket_is_replaced(file: Path) -> None:
    server = Server()

    def before(request: UploadAccessRequest) -> None:
        if len(server.authorizer.requests) in (2, 4):
            server.authorizer.ticket = f"Ticket=good{len(server.authorizer.requests)}"

    server.authorizer.before = before
    with server.running() as url:
        server.capture(url, file)
    assert server.content() == file.read_bytes()
    assert server.opened[0] == ""
    assert [each.rpartition("=")[2] for each in server.opened[1:]] == ["good", "good2"]


def test_tickets_that_are_refused_as_soon_as_they_are_made_end_the_capture(file: Path) -> None:
    """A proxy that asks for a password refuses them all: an agent would ask for new ones for ever, without a pause."""
    server = Server()

    def before(request: UploadAccessRequest) -> None:
        server.authorizer.ticket = f"Ticket=good{len(server.authorizer.requests)}"
        assert len(server.authorizer.requests) < 50

    server.authorizer.before = before
    with server.running() as url, pytest.raises(UploadRefused, match=r"HTTP 401.; .*on the way"):
        server.capture(url, file)


def test_an_order_that_was_lost_ends_the_capture_at_once(file: Path) -> None:
    server = Server()

    def before(request: UploadAccessRequest) -> None:
        if request.method == "PUT":
            raise UploadClosed("its job was cancelled")

    server.authorizer.before = before
    with server.running() as url, pytest.raises(OrderGone, match="Upload closed: its job was cancelled; look at"):
        server.capture(url, file)
    assert server.waits == []


def test_chunks_that_vanish_meanwhile_are_sent_again(file: Path) -> None:
    server = Server()
    with server.running() as url:
        server.capture(url, file)
        vanished = [stored.name for stored in server.store.list(f"uploads/{JOB}/chunks")][:3]

        def before(request: UploadAccessRequest) -> None:
            if len(server.authorizer.requests) - start == 7:  # six questions for 42 chunks, then the seal
                for name in vanished:
                    server.store.delete(name)

        start = len(server.authorizer.requests)
        server.authorizer.before = before
        again = server.capture(url, file)
    assert (again.new_chunks, len(vanished)) == (3, 3)
    assert server.content() == file.read_bytes()


def test_the_patience_begins_with_a_request_and_not_hours_before_it() -> None:
    """Between two requests, hours of zeros are read."""

    class BusyOnce(ApiConnections):
        def request(
            self, method: str, address: HttpAddress, body: bytes | None, headers: dict[str, str], max_bytes: int | None = None
        ) -> ServerResponse:
            asked.append(method)
            return ServerResponse(503 if len(asked) == 2 else 200, {}, b"{}")

    asked, now = list[str](), [0.0]
    requests = UploadRequests(lambda _: "https://h/u?t", BusyOnce(1), patience=10, clock=lambda: now[0], wait=lambda _: None)
    assert requests.ask("POST", "need", b"") == b"{}"
    now[0] = 7200.0
    assert requests.ask("POST", "need", b"") == b"{}"


def test_a_server_that_stays_away_ends_it_after_its_patience(file: Path) -> None:
    server = Server()
    with pytest.raises(UploadAway, match=r"127.0.0.1 does not answer: .*What was sent is kept") as ended:
        server.capture(f"http://127.0.0.1:{free_port()}/uploads/{JOB}", file, patience=100)
    assert ended.value.exit_code == 69
    assert server.waits[:6] == [1, 2, 4, 8, 16, 30]
    assert 100 <= sum(server.waits) < 140


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(413, "use --trim"), (507, "free space"), (404, "address of the upload"), (418, "version of the server")],
)
def test_a_refusal_has_a_remedy(file: Path, status: int, remedy: str) -> None:
    server = Server()

    def before(request: UploadAccessRequest) -> None:
        raise HttpError(status, "No", "because")

    server.authorizer.before = before
    with server.running() as url, pytest.raises(UploadRefused, match=f"No: because .HTTP {status}.; .*{remedy}"):
        server.capture(url, file)


def test_a_url_that_is_none_is_refused(file: Path) -> None:
    with pytest.raises(UploadRefused, match="sftp://host/uploads/x is not the address of an upload"):
        Server().capture("sftp://host/uploads/x", file)


@pytest.mark.parametrize("name", ["captured.raw", "captured.raw.zst"])
def test_a_file_gets_the_disk(file: Path, tmp_path: Path, name: str) -> None:
    path, told = tmp_path / name, list[SendProgress]()
    with disk_of(file) as disk:
        made = capture_to_file(disk, str(path), told.append)
    data = path.read_bytes()
    assert (zstd.decompress(data) if name.endswith(".zst") else data) == file.read_bytes()
    assert (made.size, made.sha256) == (file.stat().st_size, sha256(data).hexdigest())
    assert told[-1] == SendProgress(made.size, made.size, made.written, 0)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 < 25 * MIB
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")] == []


def test_an_interrupted_capture_to_a_file_leaves_nothing(file: Path, tmp_path: Path) -> None:
    class InterruptedError(Exception):
        pass

    def interrupt(progress: SendProgress) -> None:
        if progress.done > 10 * MIB:
            raise InterruptedError

    with disk_of(file) as disk, pytest.raises(InterruptedError):
        capture_to_file(disk, str(tmp_path / "captured"), interrupt)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["disk"]


def test_a_file_that_cannot_be_written_is_named(file: Path, tmp_path: Path) -> None:
    with disk_of(file) as disk, pytest.raises(FileFailed, match=r"nowhere/disk\.raw: No such file or directory; give a file"):
        capture_to_file(disk, str(tmp_path / "nowhere" / "disk.raw"), lambda _: None)


def test_a_device_or_a_folder_is_no_file_to_capture_to(file: Path, tmp_path: Path) -> None:
    """As root, the name of a device would become a file, and a disk that was meant to be written would stay as it is."""
    device = tmp_path / "device"
    os.mkfifo(device)
    for path in (device, tmp_path):
        with disk_of(file) as disk, pytest.raises(FileFailed, match=f"{path} is not a file; give a file in a folder"):
            capture_to_file(disk, str(path), lambda _: None)
    assert device.is_fifo()


def test_a_disk_with_half_a_sector_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "odd"
    file.write_bytes(bytes(5000))
    with pytest.raises(Exception, match="5000 bytes, which are no whole sectors"), disk_of(file):
        pass
