"""Fetching a URL: resumed after an interruption, restarted for other bytes, checked early, verified at the end."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from phimage.sources.address_policy import read_address_policy
from phimage.sources.digest import FIRST_USE, Algorithm, ExpectedDigest, expected_digest
from phimage.sources.errors import DigestMismatch, ResponseRefused, SourceInterrupted
from phimage.sources.fetch import Fetcher
from phimage.sources.http import HttpClient
from phimage.sources.partial_file import PartialFile, discard_partial
from phimage.sources.progress import TransferProgress
from phimage.sources.retry import Retry
from phimage.sources.sniff import FetchLimits
from tests.unit.sources.fetching import DISK, MIB, OTHER, RIGHT, TLS, Fetching, chunked
from tests.unit.sources.server import OLD, Exchange, FileServed, Server, wait_for


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


# whole


@pytest.mark.parametrize("expected", [FIRST_USE, RIGHT, expected_digest(hashlib.sha512(DISK).hexdigest())])
def test_a_file_is_fetched_whole_with_its_digest(fetching: Fetching, expected: ExpectedDigest) -> None:
    with Server(FileServed(DISK)) as server:
        fetched = fetching.fetcher().fetch(server.url("/a/disk%20one.img?token=SECRET"), fetching.work, expected)
    assert fetched.path.read_bytes() == DISK
    assert (fetched.name, fetched.size, fetched.resumed) == ("disk one.img", len(DISK), 0)
    assert fetched.sha256.hex == hashlib.sha256(DISK).hexdigest()
    assert fetched.url.endswith("/a/disk%20one.img?token=***")
    assert fetched.path.stat().st_mode & 0o777 == 0o600
    assert "SECRET" not in fetching.work.with_name("work.resume").read_text()
    assert fetched.source().name == "disk one.img"
    with fetched.source().open(len(DISK) - 5) as reader:
        assert reader.read(100) == DISK[-5:]
    assert fetching.waits == []


def test_a_body_in_chunks_has_no_size_before_its_end(fetching: Fetching) -> None:
    sizes: list[int | None] = []

    def handler(exchange: Exchange) -> None:
        exchange.answer(200, chunked(DISK), {"Transfer-Encoding": "chunked"}, length=-1)

    with Server(handler) as server:
        fetched = fetching.fetcher().fetch(
            server.url(), fetching.work, FIRST_USE, head_check=lambda head, size: sizes.append(size)
        )
    assert fetched.path.read_bytes() == DISK
    assert sizes == [None]


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 5, 6, 7, 60_000])
def test_a_body_in_chunks_that_stops_is_not_whole(fetching: Fetching, lost: int) -> None:
    body = chunked(DISK)
    answers = iter([body[:-lost], body])

    def handler(exchange: Exchange) -> None:
        exchange.answer(200, next(answers), {"Transfer-Encoding": "chunked"}, length=-1)

    with Server(handler) as server:
        fetched = fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert fetched.path.read_bytes() == DISK
    assert fetching.waits == [1]


def raw(content: bytes, framing: str) -> bytes:
    """A complete response as it is sent."""
    if framing == "chunked":
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(content)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_an_answer_cut_at_any_byte_is_never_taken_for_whole(fetching: Fetching, framing: str) -> None:
    """Without a digest nothing else would detect it."""
    content = DISK[:8000]
    whole = raw(content, framing)
    cuts = iter([*range(0, 70, 3), 100, 5000, *range(len(whole) - 9, len(whole))])
    answers: list[bytes] = []

    def handler(exchange: Exchange) -> None:
        exchange.send(answers.pop())

    with Server(handler) as server:
        for cut in cuts:
            discard_partial(fetching.work)
            answers[:] = [whole, whole[:cut]]
            assert fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE).path.read_bytes() == content, cut
            assert answers == []


def test_a_connection_that_stays_open_after_the_body_is_not_waited_for(fetching: Fetching) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.answer(200, DISK + b"bytes of nobody", length=len(DISK))
        exchange.hold()

    with Server(handler) as server:
        assert fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE).path.read_bytes() == DISK


def test_a_body_that_ends_with_its_connection_needs_a_digest(fetching: Fetching) -> None:
    with Server(lambda exchange: exchange.answer(200, DISK, length=-1)) as server:
        with pytest.raises(ResponseRefused, match="a part of the file could pass for the whole"):
            fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
        assert fetching.fetcher().fetch(server.url(), fetching.work, RIGHT).size == len(DISK)
    with Server(lambda exchange: exchange.answer(200, DISK[:-1], length=-1)) as server:
        discard_partial(fetching.work)
        with pytest.raises(DigestMismatch):
            fetching.fetcher().fetch(server.url(), fetching.work, RIGHT)


# resumed


@pytest.mark.parametrize("seed", range(8))
def test_cuts_anywhere_are_resumed_where_they_happened(fetching: Fetching, seed: int) -> None:
    chance = random.Random(seed)
    cuts = [chance.choice([0, 1, chance.randrange(len(DISK)), chance.randrange(100_000)]) for _ in range(6)]
    served = FileServed(DISK, etag='"one"' if seed % 2 else "", modified="" if seed % 2 else OLD, cuts=cuts)
    with Server(served) as server:
        fetched = fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert fetched.path.read_bytes() == DISK
    places = [request.start or 0 for request in server.requests]
    assert places == sorted(places)
    assert sum(min(cut, len(DISK)) for cut in cuts[: len(places) - 1]) == places[-1]
    assert len(fetching.waits) == len(places) - 1
    for request in server.requests:
        if request.start:
            assert request.fields["if-range"] in ('"one"', OLD)


def test_a_new_process_goes_on_where_the_last_one_stopped(fetching: Fetching) -> None:
    with Server(FileServed(DISK, cuts=[2 * MIB])) as server:
        with pytest.raises(
            SourceInterrupted, match=f"closed early .*at byte {2 * MIB}.*{2 * MIB} bytes are kept: run the same again"
        ):
            fetching.fetcher(retry=Retry(tries=1)).fetch(server.url("/a?signature=1"), fetching.work, RIGHT)
        assert fetching.left() == ["work", "work.resume"]
        fetched = fetching.fetcher().fetch(server.url("/a?signature=2"), fetching.work, RIGHT)
    assert fetched.resumed == 2 * MIB
    assert [request.start for request in server.requests] == [None, 2 * MIB]
    assert fetched.path.read_bytes() == DISK


def test_what_is_whole_is_not_asked_for_again(fetching: Fetching) -> None:
    with Server(FileServed(DISK)) as server:
        fetching.fetcher().fetch(server.url(), fetching.work, RIGHT)
        again = fetching.fetcher().fetch(server.url(), fetching.work, RIGHT)
        assert len(server.requests) == 1
        assert again.resumed == again.size == len(DISK)
        with pytest.raises(DigestMismatch):
            fetching.fetcher().fetch(server.url(), fetching.work, expected_digest(hashlib.sha256(OTHER).hexdigest()))
    assert fetching.left() == []


def test_another_url_begins_from_zero(fetching: Fetching) -> None:
    with Server(FileServed(DISK, cuts=[MIB])) as server:
        with pytest.raises(SourceInterrupted):
            fetching.fetcher(retry=Retry(tries=1)).fetch(server.url("/a"), fetching.work, FIRST_USE)
        fetching.fetcher().fetch(server.url("/b"), fetching.work, FIRST_USE)
    assert [request.start for request in server.requests] == [None, None]


def test_kept_bytes_that_were_altered_are_not_used(fetching: Fetching) -> None:
    with Server(FileServed(DISK, cuts=[2 * MIB])) as server:
        with pytest.raises(SourceInterrupted):
            fetching.fetcher(retry=Retry(tries=1)).fetch(server.url(), fetching.work, FIRST_USE)
        with fetching.work.open("r+b") as file:
            file.seek(MIB)
            file.write(b"x")
        assert fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE).path.read_bytes() == DISK
    assert [request.start for request in server.requests] == [None, None]


def test_bytes_behind_what_the_record_vouches_for_are_cut_off(fetching: Fetching) -> None:
    """As after a power loss: written, but never synced."""
    with Server(FileServed(DISK, cuts=[MIB])) as server:
        with pytest.raises(SourceInterrupted):
            fetching.fetcher(retry=Retry(tries=1)).fetch(server.url(), fetching.work, FIRST_USE)
        with fetching.work.open("ab") as file:
            file.write(bytes(4 * MIB))
        assert fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE).path.read_bytes() == DISK
    assert [request.start for request in server.requests] == [None, MIB]


@pytest.mark.parametrize(
    "record", [b"", b"{}", b"[1]", b"\xff", b'{"url": 1}', b'{"url":"x","size":-1,"version":{},"offset":9}']
)
def test_a_damaged_record_is_as_good_as_none(fetching: Fetching, record: bytes) -> None:
    with Server(FileServed(DISK)) as server:
        fetching.work.write_bytes(DISK[:MIB])
        fetching.work.with_name("work.resume").write_bytes(record)
        assert fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE).path.read_bytes() == DISK
    assert server.requests[0].start is None


KILLED = """
import sys
from pathlib import Path
from phimage.sources import fetch
from phimage.sources.address_policy import read_address_policy
from phimage.sources.digest import FIRST_USE
from phimage.sources.http import HttpClient
from phimage.sources.sniff import FetchLimits

fetch.CHECK_EVERY_BYTES = int(sys.argv[3])
client = HttpClient(read_address_policy(["127.0.0.0/8"], []))
fetch.Fetcher(client, FetchLimits(min_free=0)).fetch(sys.argv[1], Path(sys.argv[2]), FIRST_USE)
"""


def test_a_killed_process_leaves_what_the_next_one_goes_on_with_or_nothing_wrong(fetching: Fetching) -> None:
    content, often = DISK * 3, 2 * MIB
    slow = threading.Event()

    def handler(exchange: Exchange) -> None:
        if exchange.request.start is not None:
            served(exchange)
            return
        exchange.answer(200, content[: 5 * MIB], {"ETag": '"one"'}, length=len(content))
        slow.set()
        exchange.hold()

    served = FileServed(content)
    with Server(handler) as server:
        child = subprocess.Popen([sys.executable, "-c", KILLED, server.url(), fetching.work, str(often)])
        assert wait_for(slow.is_set)
        assert wait_for(lambda: fetching.work.stat().st_size >= 5 * MIB)
        child.send_signal(signal.SIGKILL)
        child.wait()
        fetched = fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert fetched.sha256.hex == hashlib.sha256(content).hexdigest()
    assert 2 * often <= fetched.resumed <= 5 * MIB


def test_two_processes_do_not_write_into_one_file(fetching: Fetching) -> None:
    with (
        Server(FileServed(DISK)) as server,
        PartialFile.open(fetching.work, server.url()),
        pytest.raises(SourceInterrupted, match="another process is fetching") as refused,
    ):
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert refused.value.reason == "busy"
    assert server.requests == []


def test_a_work_file_that_is_a_link_is_not_followed(fetching: Fetching) -> None:
    target = fetching.work.with_name("target")
    target.write_bytes(b"precious")
    fetching.work.symlink_to(target)
    with Server(FileServed(DISK)) as server, pytest.raises(OSError, match="symbolic links"):
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert target.read_bytes() == b"precious"


def test_stopping_by_the_listener_keeps_what_came(fetching: Fetching) -> None:
    class Stop(Exception):
        pass

    def tell(progress: TransferProgress) -> None:
        if progress.done >= MIB:
            raise Stop

    with Server(FileServed(DISK)) as server:
        web = HttpClient(read_address_policy(["127.0.0.0/8"], []), tls=TLS)
        timeouts = iter(range(10_000))
        fetcher = Fetcher(web, FetchLimits(min_free=0), clock=lambda: float(next(timeouts)))
        with pytest.raises(Stop):
            fetcher.fetch(server.url(), fetching.work, FIRST_USE, on_progress=tell)
        assert MIB <= int(str(fetching.record()["offset"])) < len(DISK)
        assert fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE).resumed >= MIB


def test_progress_tells_bytes_total_and_rate_also_after_a_break(fetching: Fetching) -> None:
    text: list[TransferProgress] = []
    timeouts = iter(range(100_000))
    with Server(FileServed(DISK, cuts=[MIB])) as server:
        web = HttpClient(read_address_policy(["127.0.0.0/8"], []), tls=TLS)
        fetcher = Fetcher(web, FetchLimits(min_free=0), clock=lambda: float(next(timeouts)), sleep=lambda seconds: None)
        fetcher.fetch(server.url(), fetching.work, FIRST_USE, on_progress=text.append)
    assert text[-1].done == text[-1].total == len(DISK)
    assert [report.done for report in text] == sorted(report.done for report in text)
    assert all(report.rate > 0 for report in text[:-1])


# others than begun with


def changing(first: FileServed, then: FileServed) -> Callable[[Exchange], None]:
    served = iter([first])

    def handler(exchange: Exchange) -> None:
        next(served, then)(exchange)

    return handler


@pytest.mark.parametrize(
    "then",
    [
        FileServed(OTHER, etag='"two"'),
        FileServed(OTHER, etag='"two"', ranges=False),
        FileServed(OTHER[:-1000], etag='"two"'),
        FileServed(OTHER, etag=""),
        FileServed(OTHER, etag='"one"', ranges=False),
    ],
    ids=["changed", "changed, no ranges", "shorter", "no longer versioned", "no ranges"],
)
def test_bytes_that_are_others_are_begun_from_zero(fetching: Fetching, then: FileServed) -> None:
    with Server(changing(FileServed(DISK, cuts=[2 * MIB]), then)) as server:
        fetched = fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert fetched.path.read_bytes() == then.content
    assert fetched.sha256.hex == hashlib.sha256(then.content).hexdigest()


def part(body: bytes, content_range: str, fields: Mapping[str, str] | None = None) -> Callable[[Exchange], None]:
    def handler(exchange: Exchange) -> None:
        if exchange.request.start is None:
            FileServed(OTHER)(exchange)
        else:
            exchange.answer(206, body, {"Content-Range": content_range, **(fields or {})})

    return handler


SIZE = len(DISK)


@pytest.mark.parametrize(
    "wrong",
    [
        part(DISK[MIB + 1 :], f"bytes {MIB + 1}-{SIZE - 1}/{SIZE}"),
        part(DISK, f"bytes 0-{SIZE - 1}/{SIZE}"),
        part(DISK[MIB:], f"bytes {MIB}-{SIZE - 1}/{SIZE + 1}"),
        part(DISK[MIB:] + b"12345", f"bytes {MIB}-{SIZE + 4}/{SIZE + 5}"),
        part(DISK[MIB:], f"bytes {MIB}-{SIZE - 1}/*"),
        part(DISK[MIB:], f"bytes {MIB}-{SIZE}/{SIZE}"),
        part(DISK[MIB:], f"bytes {SIZE - 1}-{MIB}/{SIZE}"),
        part(DISK[MIB:], "bytes */*"),
        part(DISK[MIB:], "items 1-2/3"),
        part(DISK[MIB:], ""),
        part(DISK[MIB:], f"bytes {MIB}-{SIZE - 1}/{SIZE}", {"ETag": '"two"'}),
        part(b"--x\r\n", "", {"Content-Type": "multipart/byteranges; boundary=x"}),
        lambda exchange: exchange.answer(416) if exchange.request.start else FileServed(OTHER)(exchange),
    ],
)
def test_a_wrong_answer_to_a_range_is_never_glued_on(fetching: Fetching, wrong: Callable[[Exchange], None]) -> None:
    answers = iter([FileServed(DISK, cuts=[MIB])])
    with Server(lambda exchange: next(answers, wrong)(exchange)) as server:
        fetched = fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert fetched.path.read_bytes() == OTHER


def test_a_server_that_changes_each_time_is_given_up(fetching: Fetching) -> None:
    versions = iter(range(1000))

    def handler(exchange: Exchange) -> None:
        FileServed(DISK, etag=f'"{next(versions)}"', cuts=[2 * MIB])(exchange)

    with Server(handler) as server, pytest.raises(SourceInterrupted, match="times in a row"):
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert 8 <= len(server.requests) <= 20


def test_without_a_version_nothing_is_glued_together(fetching: Fetching) -> None:
    for etag, modified in (("", ""), ('W/"weak"', ""), ("unquoted", ""), ("", "yesterday")):
        discard_partial(fetching.work)
        with Server(FileServed(DISK, etag=etag, modified=modified, cuts=[MIB])) as server:
            fetched = fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
        assert fetched.path.read_bytes() == DISK
        assert [request.start for request in server.requests] == [None, None]


def test_a_time_that_is_now_tells_no_version(fetching: Fetching) -> None:
    """RFC 9110, 8.8.2.2: the file may change again within the second."""
    served = FileServed(DISK, etag="", modified=OLD, fields={"Date": OLD}, cuts=[MIB])
    with Server(served) as server:
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert [request.start for request in server.requests] == [None, None]


def test_a_server_that_sends_less_than_the_rest_is_asked_for_more(fetching: Fetching) -> None:
    def handler(exchange: Exchange) -> None:
        start = exchange.request.start
        if start is None:
            FileServed(DISK, cuts=[10])(exchange)
        else:
            body = DISK[start : start + MIB]
            content_range = f"bytes {start}-{start + len(body) - 1}/{SIZE}"
            exchange.answer(206, body, {"Content-Range": content_range, "ETag": '"one"'})

    with Server(handler) as server:
        assert fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE).path.read_bytes() == DISK
    assert len(server.requests) == 5


@pytest.mark.parametrize("total", [str(SIZE), "*"])
def test_a_size_that_is_told_late_is_taken_and_one_that_is_not_told_is_not(fetching: Fetching, total: str) -> None:
    """The first response is chunked, without a size, and breaks."""

    def handler(exchange: Exchange) -> None:
        start = exchange.request.start
        if start is None:
            body = chunked(DISK) if len(server.requests) > 1 else chunked(DISK)[:-MIB]
            exchange.answer(200, body, {"Transfer-Encoding": "chunked", "ETag": '"one"'}, length=-1)
        else:
            exchange.answer(206, DISK[start:-10], {"Content-Range": f"bytes {start}-{SIZE - 11}/{total}", "ETag": '"one"'})

    with Server(handler) as server:
        if total == "*":
            assert fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE).path.read_bytes() == DISK
            assert [request.start is None for request in server.requests] == [True, False, True]
        else:
            with pytest.raises(SourceInterrupted, match=f"sent only a part of the requested range.*at byte {SIZE - 10}|416"):
                fetching.fetcher(retry=Retry(tries=2)).fetch(server.url(), fetching.work, FIRST_USE)


def test_a_part_with_more_bytes_than_it_tells_is_refused(fetching: Fetching) -> None:
    def handler(exchange: Exchange) -> None:
        if exchange.request.start is None:
            FileServed(DISK, cuts=[MIB])(exchange)
        else:
            exchange.answer(206, DISK[MIB:] + b"x", {"Content-Range": f"bytes {MIB}-{SIZE - 1}/{SIZE}", "ETag": '"one"'})

    with Server(handler) as server, pytest.raises(ResponseRefused, match="it sends more bytes than it declared"):
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert fetching.left() == []


def test_a_part_without_being_asked_is_refused(fetching: Fetching) -> None:
    with (
        Server(lambda exchange: exchange.answer(206, DISK, {"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"})) as server,
        pytest.raises(ResponseRefused, match="although the whole was requested"),
    ):
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)


# the digest


@pytest.mark.parametrize("wrong", [DISK[:-1], DISK + b"x", b"x" + DISK, DISK[MIB:] + DISK[:MIB], OTHER, DISK[:MIB] + DISK])
def test_a_wrong_digest_never_passes_and_leaves_nothing(fetching: Fetching, wrong: bytes) -> None:
    with Server(FileServed(wrong)) as server, pytest.raises(DigestMismatch) as refused:
        fetching.fetcher().fetch(server.url("/a?k=SECRET"), fetching.work, RIGHT)
    assert refused.value.actual == "sha256:" + hashlib.sha256(wrong).hexdigest()
    assert f"/a?k=***: its {len(wrong)} bytes have sha256:" in str(refused.value)
    assert fetching.left() == []


def test_bytes_replaced_on_the_server_between_two_parts_are_found(fetching: Fetching) -> None:
    """The server lies: other bytes, but the ETag of before."""
    with Server(changing(FileServed(DISK, cuts=[MIB]), FileServed(OTHER))) as server, pytest.raises(DigestMismatch):
        fetching.fetcher().fetch(server.url(), fetching.work, RIGHT)
    assert fetching.left() == []


def descriptors() -> set[tuple[str, str]]:
    """Each open file with what it is. The number of one that was closed may be another's now."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # such as that of this listing
            found.add((link.name, str(link.readlink())))
    return found


def test_fetches_leave_no_threads_and_no_descriptors(fetching: Fetching) -> None:
    """Those of earlier tests may end meanwhile."""
    threads, opened = set(threading.enumerate()), descriptors()
    with Server(FileServed(DISK, cuts=[5, 5, MIB])) as server:
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    with Server(lambda exchange: exchange.answer(404)) as server, pytest.raises(ResponseRefused):
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert wait_for(lambda: not set(threading.enumerate()) - threads)
    assert wait_for(lambda: not {what for _, what in descriptors() - opened if not what.startswith("/proc/")})


def test_digests_are_of_the_original_bytes_by_algorithm(fetching: Fetching) -> None:
    with Server(FileServed(DISK)) as server:
        fetched = fetching.fetcher().fetch(server.url(), fetching.work, expected_digest(hashlib.sha512(DISK).hexdigest()))
    assert set(fetched.digests) == {Algorithm.SHA256, Algorithm.SHA512}
