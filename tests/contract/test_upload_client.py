"""Uploading to a real server: present parts are not sent again, and interrupted uploads resume."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec import Struct

from phimage.chunks.decorators import Operation, StoreDecorator
from phimage.chunks.errors import StoreFailure
from phimage.chunks.layout import chunk_name
from phimage.chunks.memory import MemoryStore
from phimage.chunks.store import Store
from phimage.chunks.uploaded_chunks import ChunkSource, find_seal
from phimage.chunks.uploads import PART, UploadSource, pack_part, parts, put_part
from phimage.chunks.write import DiskWriter, write_file
from phimage.errors import ClientError, ServiceUnavailable, Unreachable
from phimage.sources.digest import Algorithm, expected_digest
from phimage.sources.errors import DigestMismatch, SourceError, SourceInterrupted
from phimage.sources.progress import TransferProgress
from phimage.sources.retry import Retry
from phimage.sources.source import LocalFile, PipeSource
from phimage.upload_client import UploadResult, upload, upload_disk
from phimage.uploads.app import Uploads
from phimage.uploads.authorizer import UploadAccessRequest, UploadClosed
from tests.proxy import CuttingProxy
from tests.unit.sources.server import Exchange, Server, wait_for
from tests.uploading import JOB, TICKET, FakeAuthorizer, caller, disk, free_port, request_id, served

QUICK = Retry(tries=4, first=0.001, max_pause=0.002, max_wait=0.002)
WHOLE = disk(3 * PART + 12345)


class Served(Struct, frozen=True):
    store: Store
    authorizer: FakeAuthorizer
    url: str

    def open_url(self) -> str:
        return f"{self.url}?{self.authorizer.ticket}"

    def send(self, data: bytes = WHOLE, open_url: Callable[[], str] | None = None) -> UploadResult:
        return upload(PipeSource(io.BytesIO(data)), open_url or self.open_url, retry=QUICK)

    def whole(self, size: int = len(WHOLE)) -> bytes:
        with UploadSource(self.store, JOB, size).open() as reader:
            return reader.read(size + 1)


@contextmanager
def serving(authorizer: FakeAuthorizer | None = None, store: Store | None = None) -> Iterator[Served]:
    found, authorizer = MemoryStore() if store is None else store, authorizer or FakeAuthorizer()
    with served(Uploads(found, authorizer, caller, request_id)) as url:
        yield Served(found, authorizer, url)


@pytest.fixture
def server() -> Iterator[Served]:
    with serving() as found:
        yield found


# a file and its bytes


@pytest.mark.parametrize("size", [1, PART - 1, PART, PART + 1, 2 * PART])
def test_a_file_arrives_as_it_is(server: Served, tmp_path: Path, size: int) -> None:
    (tmp_path / "disk.raw").write_bytes(WHOLE[:size])

    sent = upload(LocalFile(tmp_path / "disk.raw"), server.open_url)

    assert (sent.size, sent.sent) == (size, size)
    assert sent.digests[Algorithm.SHA256].hex == sha256(WHOLE[:size]).hexdigest()
    assert server.whole(size) == WHOLE[:size]


def test_what_is_there_is_not_sent_again_and_is_still_in_the_digest(server: Served) -> None:
    assert server.send().sent == len(WHOLE)
    before = server.authorizer.puts()

    again = server.send()

    assert (again.sent, server.authorizer.puts()) == (0, before)
    assert again.digests[Algorithm.SHA256].hex == sha256(WHOLE).hexdigest()


def test_only_what_is_missing_or_of_other_bytes_is_sent(server: Served) -> None:
    raw = [WHOLE[number * PART : (number + 1) * PART] for number in range(4)]
    for number, data in ((1, raw[1]), (2, raw[2][::-1]), (3, raw[3][:-1])):
        put_part(server.store, JOB, number, pack_part(data, sha256(data).digest()))

    assert server.send().sent == len(raw[0]) + len(raw[2]) + len(raw[3])
    assert server.whole() == WHOLE


def test_parts_of_a_longer_file_are_told(server: Served) -> None:
    server.send()

    with pytest.raises(ClientError, match="longer file"):
        server.send(WHOLE[:PART])


def test_wrong_bytes_and_no_bytes_are_told(server: Served) -> None:
    with pytest.raises(DigestMismatch):
        upload(PipeSource(io.BytesIO(b"bytes")), server.open_url, expected=expected_digest(f"sha512:{'1' * 128}"))
    with pytest.raises(SourceError, match="empty"):
        server.send(b"")


# what breaks


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.more) for seed in (2, 3))])
def test_a_connection_that_is_cut_at_random_places_brings_the_file_nevertheless(server: Served, seed: int) -> None:
    chance = random.Random(seed)
    patient = Retry(tries=1000, first=0.001, max_pause=0.002)
    first = iter([10_000])

    def cut() -> int | None:
        return next(first, chance.choice([chance.randrange(1000), chance.randrange(3 << 20), None]))

    with CuttingProxy(server.url, cut) as proxy:
        sent = upload(PipeSource(io.BytesIO(WHOLE)), lambda: f"{proxy.url}?{TICKET}", retry=patient)

    assert proxy.cuts > 0
    assert (sent.size, sent.digests[Algorithm.SHA256].hex) == (len(WHOLE), sha256(WHOLE).hexdigest())
    assert server.whole() == WHOLE


def test_it_gives_up_says_that_the_same_goes_on_and_does(server: Served) -> None:
    raw = [random.Random(number).randbytes(PART) for number in range(4)]
    connections = 0

    def cut() -> int | None:
        """Each dies in the middle of a part. The first has delivered one before that, and the others start then."""
        nonlocal connections
        connections += 1
        if connections == 1:
            return PART + PART // 2
        assert wait_for(lambda: bool(parts(server.store, JOB)), 60)
        return PART // 2

    with CuttingProxy(server.url, cut) as proxy:
        with pytest.raises(SourceInterrupted, match="run the same again") as raised:
            upload(PipeSource(io.BytesIO(b"".join(raw))), lambda: f"{proxy.url}?{TICKET}", retry=QUICK)
        assert proxy.cuts >= QUICK.tries

    assert "Ticket" not in str(raised.value)
    kept = sum(part.size for part in parts(server.store, JOB))
    assert 0 < server.send(b"".join(raw)).sent <= 4 * PART - kept
    assert server.whole(4 * PART) == b"".join(raw)


def test_a_server_that_is_not_there_is_told(server: Served) -> None:
    with pytest.raises(SourceInterrupted, match="try again later") as raised:
        server.send(open_url=lambda: f"http://127.0.0.1:{free_port()}/uploads/{JOB}?{TICKET}")

    assert "4 times in a row" in str(raised.value)
    assert "Ticket" not in str(raised.value)


def test_an_expired_ticket_is_renewed() -> None:
    authorizer = FakeAuthorizer()

    def expire(_: UploadAccessRequest) -> None:
        if authorizer.puts() == 2 and authorizer.ticket == TICKET:
            authorizer.ticket = "Ticket=next"

    authorizer.before = expire
    opened: list[str] = []

    with serving(authorizer) as server:

        def open_url() -> str:
            opened.append(server.open_url())
            return opened[-1]

        sent = server.send(open_url=open_url)
        assert server.whole() == WHOLE

    assert sent.sent == len(WHOLE)
    assert opened == [f"{server.url}?{TICKET}", f"{server.url}?Ticket=next"]


def test_a_ticket_that_is_never_good_is_told_at_once() -> None:
    with serving() as server:
        with pytest.raises(ClientError, match="Token Not Exists") as raised:
            server.send(open_url=lambda: f"{server.url}?Ticket=bad")
        assert len(server.authorizer.requests) == 2

    assert "Ticket=" not in str(raised.value)


def test_who_gives_the_urls_may_be_out_of_reach_for_a_while(server: Served) -> None:
    failures = iter([Unreachable("no answer"), Unreachable("no answer")])

    def open_url() -> str:
        if failure := next(failures, None):
            raise failure
        return server.open_url()

    assert server.send(open_url=open_url).sent == len(WHOLE)


def test_a_server_that_is_busy_is_asked_again() -> None:
    chance = random.Random(1)

    def busy(_: UploadAccessRequest) -> None:
        if chance.random() < 0.5:
            raise ServiceUnavailable

    with serving(FakeAuthorizer(before=busy)) as server:
        patient = Retry(tries=1000, first=0.001, max_pause=0.002, max_wait=0.002)
        upload(PipeSource(io.BytesIO(WHOLE)), server.open_url, retry=patient)
        assert server.whole() == WHOLE


def full(operation: Operation, _sent: int, call: Callable[[], object]) -> object:
    if operation == "put":
        raise StoreFailure("put", "name", "no space")
    return call()


def test_a_full_store_and_a_closed_upload_end_it_at_once_with_what_to_do() -> None:
    with serving(store=StoreDecorator(MemoryStore(), full)) as server:  # type: ignore[arg-type]  # it gives what the call gives
        with pytest.raises(ClientError, match=r"store is full.*run the same again"):
            server.send()
        assert server.authorizer.puts() <= 3

    def close(asked: UploadAccessRequest) -> None:
        if asked.method == "PUT":
            raise UploadClosed("the job is done")

    with serving(FakeAuthorizer(before=close)) as server, pytest.raises(ClientError, match=r"the job is done.*HTTP 409"):
        server.send()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"PartSize":0,"Parts":[]}',
        b'{"PartSize":67108865,"Parts":[]}',
        b'{"PartSize":"1","Parts":[]}',
        b'{"PartSize":1048576,"Parts":[{"Part":0,"Size":1}]}',
    ],
)
def test_an_answer_that_is_not_one_of_phimage_is_told(body: bytes) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.answer(200, body)

    with Server(handler) as server, pytest.raises(ClientError):
        upload(PipeSource(io.BytesIO(WHOLE)), server.url, retry=QUICK)


def test_a_redirect_is_not_followed_with_the_ticket() -> None:
    def handler(exchange: Exchange) -> None:
        exchange.answer(302, b"", {"Location": "/elsewhere"})

    with Server(handler) as server:
        with pytest.raises(ClientError, match="HTTP 302"):
            upload(PipeSource(io.BytesIO(WHOLE)), server.url, retry=QUICK)
        assert len(server.requests) == 1


# what is told on the way


def test_what_a_listener_raises_ends_it(server: Served) -> None:
    class Enough(Exception):
        pass

    def tell(_: TransferProgress) -> None:
        raise Enough

    with pytest.raises(Enough):
        upload(PipeSource(io.BytesIO(WHOLE)), server.open_url, on_progress=tell)


def test_progress_ends_at_the_whole(server: Served, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(WHOLE)
    told: list[TransferProgress] = []

    upload(LocalFile(tmp_path / "disk.raw"), server.open_url, on_progress=told.append)

    assert (told[-1].done, told[-1].total) == (len(WHOLE), len(WHOLE))
    assert all(0 <= report.done <= len(WHOLE) for report in told)


def test_ctrl_c_keeps_what_was_sent_and_the_same_goes_on(server: Served) -> None:
    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 2 * PART:
                raise KeyboardInterrupt
            return super().read(size)

    with pytest.raises(KeyboardInterrupt):
        upload(PipeSource(Interrupted(WHOLE)), server.open_url, retry=QUICK)

    kept = sum(part.size for part in parts(server.store, JOB))
    assert 0 < server.send().sent <= len(WHOLE) - kept
    assert server.whole() == WHOLE


# a raw disk by chunks


def sparse(path: Path) -> Path:
    """A disk of 40 MiB with data of three kinds, and holes."""
    with path.open("wb") as file:
        file.truncate(40 << 20)
        for place, size in ((0, 3 << 20), (10 << 20, 5_000_000), (39 << 20, 1 << 20)):
            file.seek(place)
            file.write(disk(size, place))
    return path


def sealed(server: Served) -> bytes:
    found = find_seal(server.store, JOB)
    assert found is not None
    with ChunkSource(server.store, JOB, found).open() as reader:
        return reader.read(found.size)


def test_a_raw_disk_arrives_by_chunks_and_costs_nothing_twice(server: Served, tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk.raw")
    told: list[TransferProgress] = []

    first = upload_disk(LocalFile(path), server.open_url, on_progress=told.append)
    again = upload_disk(LocalFile(path), server.open_url)

    assert first is not None
    assert again is not None
    assert sealed(server) == path.read_bytes()
    assert (first.size, again.sent, told[-1].done) == (40 << 20, 0, 40 << 20)
    assert first.sent < 10 << 20


@pytest.mark.more
def test_a_disk_of_which_a_twentieth_changed_costs_at_most_a_twelfth(server: Served, tmp_path: Path) -> None:
    path, chance = tmp_path / "disk.raw", random.Random(5)
    with path.open("wb") as file:
        for _ in range(100):
            file.write(chance.randbytes(1 << 19) + chance.randbytes(1 << 18).hex().encode())
    first = upload_disk(LocalFile(path), server.open_url)
    with path.open("r+b") as file:
        for number in range(0, 100, 20):
            file.seek(number << 20)
            file.write(chance.randbytes(4096))

    again = upload_disk(LocalFile(path), server.open_url)

    assert first is not None
    assert again is not None
    assert again.new_chunks == 5
    assert again.sent <= 0.08 * first.sent


@pytest.mark.parametrize("seed", range(2))
def test_a_connection_that_is_cut_at_random_places_brings_the_disk_nevertheless(
    server: Served, tmp_path: Path, seed: int
) -> None:
    path, chance = sparse(tmp_path / "disk.raw"), random.Random(seed)
    first = iter([10_000])

    def cut() -> int | None:
        return next(first, chance.choice([chance.randrange(1000), chance.randrange(3 << 20), None]))

    with CuttingProxy(server.url, cut) as proxy:
        patient = Retry(tries=1000, first=0.001, max_pause=0.002)
        assert upload_disk(LocalFile(path), lambda: f"{proxy.url}?{TICKET}", retry=patient)

    assert proxy.cuts > 0
    assert sealed(server) == path.read_bytes()


def test_chunks_of_an_image_that_is_withdrawn_are_sent_before_the_disk_is_sealed(server: Served, tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk.raw")
    with DiskWriter(server.store, path.stat().st_size) as writer:
        write_file(writer, path)
        image = writer.finish({})
    server.authorizer.images = [image.digest]

    def withdraw(request: UploadAccessRequest) -> None:
        if len(server.authorizer.requests) == 3:  # the first and its question are over: the seal
            server.authorizer.images = []
            for _, chunk in image.manifest.stored():
                server.store.delete(chunk_name(chunk))

    server.authorizer.before = withdraw
    sent = upload_disk(LocalFile(path), server.open_url)

    assert sent is not None
    assert sent.new_chunks == sent.chunks
    assert sealed(server) == path.read_bytes()


def test_what_ends_an_upload_by_chunks_is_told(server: Served, tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk.raw")

    assert upload_disk(LocalFile(path), lambda: f"{server.url}/of-before?{TICKET}") is None  # a server that takes only parts
    with pytest.raises(ClientError, match="refused"):
        upload_disk(LocalFile(path), lambda: f"{server.url}?Ticket=bad", retry=QUICK)
    with pytest.raises(SourceInterrupted):
        upload_disk(LocalFile(path), lambda: f"http://127.0.0.1:{free_port()}/uploads/{JOB}?{TICKET}", retry=QUICK)
    source = LocalFile(path)
    path.unlink()
    with pytest.raises(SourceInterrupted, match="cannot be read"):
        upload_disk(source, server.open_url)
    assert find_seal(server.store, JOB) is None
