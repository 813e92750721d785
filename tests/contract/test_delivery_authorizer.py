"""Authorization, refusals and limits of downloads: the same for every store."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from phimage.chunks.errors import StoreFailure
from phimage.chunks.memory import MemoryStore
from phimage.delivery.app import Delivery
from phimage.delivery.authorizer import DownloadAccessRequest, Purged
from phimage.delivery.disks import MAX_DISKS
from phimage.delivery.stream import DownloadLimits
from phimage.errors import NotCached, NotPermitted, PhimageError, RateLimited, WrongSignature
from phimage.http.asgi import Message
from phimage.http.min_rate import MinRate
from phimage.model.ids import ImageId, ProjectId
from phimage.model.image_bytes import ImageBytes
from tests import delivering, virtual_time
from tests.delivering import (
    CHUNK,
    IMAGE,
    Answered,
    Client,
    FakeAuthorizer,
    answered,
    content_of,
    delivery_of,
    disk_bytes,
    scope_of,
    sha256_of,
    write_disk,
)

written, authorizer, delivery, client = delivering.written, delivering.authorizer, delivering.delivery, delivering.client

RAW = f"/images/{IMAGE}.raw"


class Counting(MemoryStore):
    """Counts reads, and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.failure: StoreFailure | None = None

    def get(self, name: str) -> bytes:
        self.reads.append(name)
        if self.failure is not None:
            raise self.failure
        return super().get(name)


@pytest.fixture
def store() -> Counting:
    return Counting()


def body_of(answer: Answered) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(answer.body)
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/images/",
        "/images/x",
        "/images/.raw",
        "/images/a/b.raw",
        f"/images/{IMAGE}.img",
        f"/images/{IMAGE}.raw/",
        f"/images/{IMAGE}.raw\n",
        f"/images/{IMAGE}/manifest/x",
        f"/images/{'a' * 101}.raw",
        "/images/a b.raw",
        "/images/../x.raw",
    ],
)
def test_other_paths_are_not_found(client: Client, authorizer: FakeAuthorizer, path: str) -> None:
    answer = client.ask(path)

    assert (answer.status, body_of(answer)["Message"]) == (404, "Not found")
    assert authorizer.requests == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_not_allowed(client: Client, authorizer: FakeAuthorizer, method: str) -> None:
    answer = client.ask(RAW, method=method)

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert authorizer.requests == []


def test_every_answer_has_its_own_request_id(client: Client) -> None:
    paths = [RAW, "/images/x", "/images/pimg-cs-other.raw"]
    ids = [client.ask(path).headers["x-ucloud-request-uuid"] for path in paths]

    assert len(set(ids)) == len(paths)


def test_the_authorizer_gets_the_image_and_the_query_as_received(client: Client, authorizer: FakeAuthorizer) -> None:
    client.ask(f"/images/{IMAGE}.raw.zst", query="Ticket=a%2Bb&x")

    asked = authorizer.requests[0]
    assert (asked.image, asked.path, asked.query) == (IMAGE, f"/images/{IMAGE}.raw.zst", "Ticket=a%2Bb&x")
    assert "a%2Bb" not in repr(asked)


def test_an_authorizer_that_must_wait_is_called_again_in_a_thread(client: Client, authorizer: FakeAuthorizer) -> None:
    def wait(asked: DownloadAccessRequest) -> None:
        if not asked.wait:
            raise NotCached

    authorizer.before = wait

    assert client.ask(RAW).status == 200
    assert [asked.wait for asked in authorizer.requests] == [False, True]


@pytest.mark.parametrize(
    ("error", "status"),
    [(WrongSignature(), 401), (NotPermitted(http_status=401), 401), (RateLimited(), 429), (Purged(IMAGE), 410)],
)
def test_a_refused_client_gets_no_byte(
    client: Client, authorizer: FakeAuthorizer, store: Counting, error: PhimageError, status: int
) -> None:
    def refuse(_: DownloadAccessRequest) -> None:
        raise error

    authorizer.before = refuse
    store.reads.clear()

    answer = client.ask(RAW)
    assert answer.status == status
    assert body_of(answer)["ImageId"] == IMAGE
    assert store.reads == []


def test_an_image_without_bytes_is_not_published(store: Counting) -> None:
    waiting = ImageId("pimg-cs-waiting")
    client = Client(delivery_of(store, FakeAuthorizer(ImageBytes(waiting, ProjectId("")))))

    answer = client.ask(f"/images/{waiting}.raw")
    assert (answer.status, body_of(answer)["State"]) == (409, "Making")


def test_a_store_that_is_away_is_asked_again_later(client: Client, store: Counting) -> None:
    store.failure = StoreFailure("get", "x", "unreachable", passing=True)
    assert (answer := client.ask(RAW)).status == 503
    assert answer.headers["retry-after"]

    store.failure = None
    assert client.ask(RAW).status == 200
    store.failure = StoreFailure("get", "x", "unreachable", passing=True)
    assert client.ask(RAW, {"Range": f"bytes={CHUNK}-"}).status == 503


def test_many_small_ranges_of_one_chunk_read_it_once(client: Client, store: Counting) -> None:
    client.ask(RAW, {"Range": "bytes=0-0"})
    store.reads.clear()

    headers = [{"Range": f"bytes={CHUNK + at}-{CHUNK + at + 511}"} for at in range(0, CHUNK, 1024)]
    answers = client.ask_in_turn(RAW, headers)

    assert b"".join(answer.body for answer in answers) == b"".join(
        disk_bytes()[CHUNK + at : CHUNK + at + 512] for at in range(0, CHUNK, 1024)
    )
    assert len(store.reads) == 1


def test_only_a_few_disks_stay_open(store: Counting) -> None:
    contents = [
        content_of(write_disk(store, bytes([number]) * CHUNK), ImageId(f"pimg-cs-{number}")) for number in range(MAX_DISKS + 1)
    ]
    client = Client(delivery_of(store, FakeAuthorizer(*contents)))
    for content in contents:
        assert client.ask(f"/images/{content.image}.raw", method="HEAD").status == 200
    store.reads.clear()

    for content in reversed(contents[1:]):
        client.ask(f"/images/{content.image}.raw", method="HEAD")
    assert store.reads == []
    client.ask(f"/images/{contents[0].image}.raw", method="HEAD")
    assert store.reads == [f"manifests/{contents[0].manifest[:2]}/{contents[0].manifest}"]


def test_downloads_above_the_limit_get_503(store: Counting, authorizer: FakeAuthorizer) -> None:
    delivery = delivery_of(store, authorizer, limits=DownloadLimits(concurrent=2))

    async def main() -> tuple[list[Answered], Answered, Answered]:
        go, under_way = asyncio.Event(), asyncio.Semaphore(0)

        async def slow() -> Answered:
            sent: list[Message] = []

            async def send(message: Message) -> None:
                sent.append(message)
                if len(sent) == 2:
                    under_way.release()
                    await go.wait()

            await delivery(scope_of(RAW, {}), asyncio.Event().wait, send)  # type: ignore[arg-type]
            return answered(sent)

        first = [asyncio.create_task(slow()) for _ in range(2)]
        for _ in first:
            await under_way.acquire()
        client = Client(delivery)
        refused = (await client.ask_many(RAW, [{}]))[0]
        head = (await client.ask_many(RAW, [{}], method="HEAD"))[0]
        go.set()
        await asyncio.gather(*first)
        return [task.result() for task in first], refused, head

    served, refused, head = asyncio.run(main())
    assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    assert head.status == 200
    assert [answer.body == disk_bytes() for answer in served] == [True, True]
    assert delivery.counters.refused == 1
    assert Client(delivery).ask(RAW).status == 200
    delivery.close()


def test_an_account_a_project_and_a_url_leave_places_to_others(store: Counting, authorizer: FakeAuthorizer) -> None:
    delivery = delivery_of(store, authorizer, limits=DownloadLimits(concurrent=8))

    def holder(request: DownloadAccessRequest) -> tuple[str, str, str]:
        project, url = request.query.split("-")
        return project[0], project, request.query if url else request.request_id

    authorizer.holder = holder

    async def main() -> list[Answered]:
        go, under_way = asyncio.Event(), asyncio.Semaphore(0)

        async def ask(query: str) -> Answered:
            sent: list[Message] = []

            async def send(message: Message) -> None:
                sent.append(message)
                if len(sent) == 2:  # the first bytes, or all of a refusal
                    under_way.release()
                    await go.wait()

            await delivery(scope_of(RAW, {}, query=query), asyncio.Event().wait, send)  # type: ignore[arg-type]
            return answered(sent)

        tasks = []
        for query in ("a-1", "a-1", "a-1", "a-", "a-", "a-", *["ab-"] * 3, "b-", "c-", "b-"):
            tasks.append(asyncio.create_task(ask(query)))
            async with asyncio.timeout(60):  # a task that fails sends nothing
                await under_way.acquire()
        go.set()
        return await asyncio.gather(*tasks)

    answers = asyncio.run(main())

    assert [answer.status for answer in answers] == [200, 200, 503, 200, 200, 503, 200, 200, 503, 200, 200, 503]
    details = [body_of(answer)["Detail"] for answer in answers if answer.status == 503]
    assert [str(detail).partition(" are")[0] for detail in details] == [
        "others of this URL",
        "others of this project",
        "others of this account",
        "other downloads",
    ]
    assert all(answer.headers["retry-after"] == "2" for answer in answers if answer.status == 503)
    assert delivery.counters.refused == 4
    delivery.close()


def test_a_client_that_reads_too_slowly_can_go_on_where_it_was(store: Counting, authorizer: FakeAuthorizer) -> None:
    delivery = delivery_of(store, authorizer, limits=DownloadLimits(concurrent=1, min_rate=MinRate(1e9, 60.0)))

    async def main() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            await asyncio.sleep(20)
            sent.append(message)

        await delivery(scope_of(RAW, {}), asyncio.Event().wait, send)  # type: ignore[arg-type]
        return sent

    cut = answered(virtual_time.run(main()))

    assert not cut.whole
    assert delivery.counters.stalled == 1
    rest = Client(delivery).ask(RAW, {"Range": f"bytes={len(cut.body)}-", "If-Range": cut.headers["etag"]})
    assert (rest.status, cut.body + rest.body) == (206, disk_bytes())
    delivery.close()


def test_a_stalled_client_frees_its_place(store: Counting, authorizer: FakeAuthorizer) -> None:
    delivery = delivery_of(store, authorizer, limits=DownloadLimits(concurrent=1, stall=60))

    async def main() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)
            if len(sent) == 4:
                await asyncio.Event().wait()

        await delivery(scope_of(RAW, {}), asyncio.Event().wait, send)  # type: ignore[arg-type]
        return sent

    assert not answered(virtual_time.run(main())).whole
    assert delivery.counters.stalled == 1
    assert Client(delivery).ask(RAW).whole
    delivery.close()


def test_what_was_sent_is_counted(client: Client, delivery: Delivery) -> None:
    client.ask(RAW)
    client.ask(RAW, {"Range": "bytes=0-9"})
    client.ask(RAW, {"Range": "bytes=99999999-"})
    client.ask(f"/images/{IMAGE}.sha256")

    assert delivery.counters.downloads == {".raw": 2, ".sha256": 1}
    assert delivery.counters.bytes_sent == len(disk_bytes()) + 10 + len(client.ask(f"/images/{IMAGE}.sha256").body)


def test_chunks_of_the_largest_size_are_delivered(store: Counting) -> None:
    disk = random.Random(7).randbytes(17 << 20)
    delivery = delivery_of(store, FakeAuthorizer(content_of(write_disk(store, disk, chunk_size=16 << 20))))
    client = Client(delivery)

    assert sha256_of(client.ask(RAW).body) == sha256_of(disk)
    assert client.ask(RAW, {"Range": "bytes=16777210-16777220"}).body == disk[16777210:16777221]
    qcow2 = client.ask(f"/images/{IMAGE}.qcow2").body
    assert sha256_of(qcow2[-18 << 20 : -1 << 20]) == sha256_of(disk)  # in clusters of 2 MiB, the last one filled up
    delivery.close()
