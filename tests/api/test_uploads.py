"""Uploads over HTTP, in process: what is taken, what is refused and how, and in which order."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing
from hashlib import sha256, sha512
from typing import Any, Literal

import pytest
from msgspec import Struct

from phimage.chunks.decorators import Operation, StoreDecorator
from phimage.chunks.errors import StoreFailure
from phimage.chunks.frame import pack
from phimage.chunks.memory import MemoryStore
from phimage.chunks.store import Store
from phimage.chunks.uploads import MAX_FRAME, PART, UploadSource
from phimage.delivery.ticket import make_ticket, read_ticket
from phimage.errors import (
    AddressRefused,
    NotCached,
    NotPermitted,
    RateLimited,
    RequestError,
    ServiceUnavailable,
    TooLargeParam,
    UnavailableParam,
    UnknownToken,
    WrongSignature,
)
from phimage.http.asgi import Message
from phimage.http.body import BodyLimits
from phimage.http.min_rate import MinRate
from phimage.model.ids import JobId, ProjectId, PublicKey
from phimage.uploads.app import UploadLimits, Uploads
from phimage.uploads.authorizer import UploadAccessRequest, UploadClosed
from tests.uploading import JOB, TICKET, FakeAuthorizer, caller, request_id

RAW = random.Random(1).randbytes(300_000) + bytes(300_000)
FRAME = pack(RAW)
URL = f"/uploads/{JOB}"
OTHERS = [JobId(f"job-4k2xqz7a9m3{letter}") for letter in "efg"]


class Reply(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    fields: dict[str, Any]


class Gateway:
    """The application with an authorizer."""

    def __init__(
        self, store: Store | None = None, authorizer: FakeAuthorizer | None = None, limits: UploadLimits | None = None
    ) -> None:
        self.store = MemoryStore() if store is None else store
        self.authorizer = authorizer or FakeAuthorizer()
        self.uploads = Uploads(self.store, self.authorizer, caller, request_id, limits)
        self.read = 0

    def ask(self, *arguments: Any, **named: Any) -> Reply:
        """One request and its answer."""
        reply = asyncio.run(self.request(*arguments, **named))
        assert reply is not None
        return reply

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: dict[str, str] | None = None,
        query: str = TICKET,
        between: Callable[[], Awaitable[object]] | None = None,
    ) -> Reply | None:
        """None without an answer. A body ends early where its pieces do not come: then the client is gone."""
        pieces = iter([(body, False)] if isinstance(body, bytes) else _pieces(body))
        sent: list[Message] = []

        async def receive() -> Message:
            if between is not None:
                await between()
            piece = next(pieces, None)
            if piece is None:
                return {"type": "http.disconnect"}
            self.read += len(piece[0])
            return {"type": "http.request", "body": piece[0], "more_body": piece[1]}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        await self.uploads(scope, receive, send)
        if not sent:
            return None
        fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        assert int(fields["content-length"]) == len(sent[1]["body"])
        assert len(fields["x-ucloud-request-uuid"]) == 36
        return Reply(sent[0]["status"], fields, json.loads(sent[1]["body"]))

    def kept(self) -> list[str]:
        return sorted(stored.name for stored in self.store.list("uploads"))


def _pieces(body: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for piece in body:
        yield piece, piece != b""  # an empty one ends it


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    found = Gateway()
    with closing(found.uploads):
        yield found


def content_digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256(data).digest()).decode()}:"


def told(data: bytes, coding: Literal["", "zstd"] = "") -> dict[str, str]:
    return {"Content-Digest": content_digest(data)} | ({"Content-Encoding": coding} if coding else {})


# what is taken


def test_a_part_is_taken_raw_or_as_a_frame(gateway: Gateway) -> None:
    for number, (data, coding) in enumerate([(bytes(PART), ""), (pack(bytes(PART)), "zstd"), (RAW, "")]):
        reply = gateway.ask("PUT", f"{URL}/{number}", data, told(data, "zstd" if coding else ""))
        assert (reply.status, reply.fields) == (201, {"Part": number, "Size": PART if number < 2 else len(RAW)})
        assert "connection" not in reply.headers

    with UploadSource(gateway.store, JOB, 2 * PART + len(RAW)).open() as reader:
        assert reader.read(3 * PART) == bytes(2 * PART) + RAW


def test_what_has_come_is_told(gateway: Gateway) -> None:
    assert gateway.ask("GET", URL).fields == {"PartSize": PART, "Parts": [], "Size": 0}
    for number, data in ((2, RAW), (0, bytes(PART))):
        gateway.ask("PUT", f"{URL}/{number}", data, told(data))

    reply = gateway.ask("GET", URL)

    assert reply.status == 200
    assert reply.fields == {
        "PartSize": PART,
        "Parts": [
            {"Part": 0, "Size": PART, "Sha256": sha256(bytes(PART)).hexdigest()},
            {"Part": 2, "Size": len(RAW), "Sha256": sha256(RAW).hexdigest()},
        ],
        "Size": PART,
    }


def test_a_part_that_is_sent_twice_is_there_once(gateway: Gateway) -> None:
    for data, coding in ((RAW, ""), (RAW, ""), (FRAME, "zstd")):
        assert gateway.ask("PUT", f"{URL}/0", data, told(data, "zstd" if coding else "")).status == 201

    assert len(gateway.kept()) == 1


def test_a_part_is_acknowledged_only_after_it_is_stored() -> None:
    order: list[str] = []

    def around(operation: Operation, _sent: int, call: Callable[[], Any]) -> Any:
        result = call()
        order.append(operation)
        return result

    gateway = Gateway(StoreDecorator(MemoryStore(), around))
    with closing(gateway.uploads):
        gateway.ask("PUT", f"{URL}/0", RAW, told(RAW))
        order.append("acknowledged")

    assert order[-2:] == ["put", "acknowledged"]


# what is refused: wrong bytes never become a part

OTHER = bytes(reversed(RAW))
WRONG: dict[str, tuple[bytes, dict[str, str], int]] = {
    "truncated": (RAW[:-1], told(RAW), 400),
    "one byte more": (RAW + b"\0", told(RAW), 400),
    "swapped with another part": (OTHER, told(RAW), 400),
    "empty": (b"", told(b""), 400),
    "empty, and told otherwise": (b"", told(RAW), 400),
    "no digest": (RAW, {}, 400),
    "another algorithm": (RAW, {"Content-Digest": f"sha-512=:{base64.b64encode(sha512(RAW).digest()).decode()}:"}, 400),
    "another algorithm's name": (RAW, {"Content-Digest": content_digest(RAW).replace("256", "512")}, 400),
    "hexadecimal": (RAW, {"Content-Digest": f"sha-256=:{sha256(RAW).hexdigest()}:"}, 400),
    "capital hexadecimal": (RAW, {"Content-Digest": f"sha-256=:{sha256(RAW).hexdigest().upper()}:"}, 400),
    "the digest of the raw bytes for a frame": (FRAME, told(RAW, "zstd"), 400),
    "the digest of the frame for raw bytes": (RAW, told(FRAME), 400),
    "raw bytes told to be a frame": (RAW, told(RAW, "zstd"), 400),
    "a truncated frame": (FRAME[:-1], told(FRAME[:-1], "zstd"), 400),
    "a frame and more": (FRAME + b"\0", told(FRAME + b"\0", "zstd"), 400),
    "a frame of nothing": (pack(b""), told(pack(b""), "zstd"), 400),
    "a frame of more than a part": (pack(bytes(PART + 1)), told(pack(bytes(PART + 1)), "zstd"), 400),
    "a byte more than a part": (bytes(PART + 1), told(bytes(PART + 1)), 413),
    "another coding": (RAW, told(RAW) | {"Content-Encoding": "gzip"}, 415),
    "two codings": (RAW, told(RAW) | {"Content-Encoding": "zstd, zstd"}, 415),
}


@pytest.mark.parametrize(("data", "headers", "status"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_part_is_refused_and_leaves_nothing_but_an_upload_that_goes_on(
    gateway: Gateway, data: bytes, headers: dict[str, str], status: int
) -> None:
    gateway.ask("PUT", f"{URL}/1", RAW, told(RAW))
    before = gateway.kept()

    reply = gateway.ask("PUT", f"{URL}/0", data, headers)

    assert reply.status == status
    assert reply.fields["Message"]
    assert reply.fields["Detail"]
    assert gateway.kept() == before
    assert gateway.ask("PUT", f"{URL}/0", RAW, told(RAW)).status == 201


def test_a_client_that_goes_away_leaves_nothing(gateway: Gateway) -> None:
    assert asyncio.run(gateway.request("PUT", f"{URL}/0", [RAW[:1000], RAW[1000:2000]], told(RAW))) is None

    assert gateway.kept() == []


@pytest.mark.parametrize(
    "path", ["/uploads/", URL + "/", URL + "/x", URL + "/01", URL + "/-1", URL + "/1/2", "/uploads/pimg-a/0"]
)
def test_other_paths_are_not_found(gateway: Gateway, path: str) -> None:
    assert gateway.ask("PUT", path, RAW, told(RAW)).status == 404
    assert gateway.authorizer.requests == []


@pytest.mark.parametrize(("method", "path", "allowed"), [("POST", URL, "GET"), ("PUT", URL, "GET"), ("GET", URL + "/0", "PUT")])
def test_other_methods_are_not_allowed(gateway: Gateway, method: str, path: str, allowed: str) -> None:
    reply = gateway.ask(method, path)

    assert (reply.status, reply.headers["allow"]) == (405, allowed)


def test_more_than_the_upload_may_have_is_refused() -> None:
    gateway = Gateway(authorizer=FakeAuthorizer(max_bytes=PART + 10))
    with closing(gateway.uploads):
        for number, size, status in ((0, PART, 201), (1, 11, 413), (1, 10, 201), (2, 1, 413), (1 << 18, 1, 413)):
            data = bytes(size)
            assert gateway.ask("PUT", f"{URL}/{number}", data, told(data)).status == status
            frame = pack(data)
            assert gateway.ask("PUT", f"{URL}/{number}", frame, told(frame, "zstd")).status == status


# the body


def endless(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


def test_a_body_that_is_refused_is_read_so_that_the_connection_can_be_used_again(gateway: Gateway) -> None:
    for headers in ({}, told(RAW) | {"Content-Length": str(PART + 1)}):
        gateway.read = 0
        reply = gateway.ask("PUT", f"{URL}/0", [RAW, RAW, b""], headers)
        assert reply.status in (400, 413)
        assert gateway.read == 2 * len(RAW)
        assert "connection" not in reply.headers


@pytest.mark.parametrize("headers", [{}, told(RAW)], ids=["refused before", "too long"])
def test_a_body_without_end_is_read_up_to_a_limit_and_the_connection_closed(gateway: Gateway, headers: dict[str, str]) -> None:
    reply = gateway.ask("PUT", f"{URL}/0", endless(bytes(1 << 20)), headers)

    assert reply.status == (413 if headers else 400)
    assert reply.headers["connection"] == "close"
    assert gateway.read < PART + MAX_FRAME + (4 << 20)


def test_a_body_that_does_not_come_is_given_up() -> None:
    gateway = Gateway(limits=UploadLimits(body=BodyLimits(stall=0.01, drain=0.01)))

    async def never() -> None:
        await asyncio.Event().wait()

    with closing(gateway.uploads):
        reply = asyncio.run(gateway.request("PUT", f"{URL}/0", RAW, told(RAW), between=never))

    assert reply is not None
    assert (reply.status, reply.headers["connection"]) == (408, "close")
    assert gateway.kept() == []


def test_only_so_many_parts_are_in_memory_and_others_are_asked_to_wait() -> None:
    gateway = Gateway(limits=UploadLimits(concurrent=2, shares={"project": 1.0, "upload": 1.0}, wait=0.01))
    replies: list[Reply | None] = []

    async def both() -> None:
        come, end = asyncio.Event(), asyncio.Event()
        waiting = 0

        async def hold() -> None:
            nonlocal waiting
            waiting += 1
            if waiting == 2:
                come.set()
            await end.wait()

        held = [asyncio.create_task(gateway.request("PUT", f"{URL}/{n}", RAW, told(RAW), between=hold)) for n in range(2)]
        await come.wait()
        replies.append(await gateway.request("PUT", f"{URL}/2", RAW, told(RAW)))
        replies.append(await gateway.request("GET", URL))  # which needs no place
        end.set()
        replies.extend(await asyncio.gather(*held))
        replies.append(await gateway.request("PUT", f"{URL}/2", RAW, told(RAW)))

    with closing(gateway.uploads):
        asyncio.run(both())

    assert [reply.status for reply in replies if reply] == [503, 200, 201, 201, 201]
    assert replies[0] is not None
    assert int(replies[0].headers["retry-after"]) > 0


def test_one_upload_and_one_project_leave_places_to_others() -> None:
    gateway = Gateway(limits=UploadLimits(concurrent=8, wait=0.01, body=BodyLimits(drain=0.01)))
    projects = {JOB: "a", OTHERS[0]: "a", OTHERS[1]: "a", OTHERS[2]: "b"}
    gateway.authorizer.holder = lambda request: projects[request.job]
    parts = [(JOB, 0), (JOB, 1), (JOB, 2), (OTHERS[0], 0), (OTHERS[0], 1), (OTHERS[1], 0), (OTHERS[2], 0)]

    async def all_of_them() -> list[Reply | None]:
        end = asyncio.Event()
        tasks = []
        for job, number in parts:
            path = f"/uploads/{job}/{number}"
            tasks.append(asyncio.create_task(gateway.request("PUT", path, RAW, told(RAW), between=end.wait)))
            await asyncio.sleep(0)  # in this order
        await asyncio.wait((tasks[2], tasks[5]), timeout=60)  # those that get no place
        end.set()
        return await asyncio.gather(*tasks)

    with closing(gateway.uploads):
        replies = [reply for reply in asyncio.run(all_of_them()) if reply]

    assert [reply.status for reply in replies] == [201, 201, 503, 201, 201, 503, 201]
    assert [reply.fields["Detail"].partition(" are")[0] for reply in replies if reply.status == 503] == [
        "others of this upload",
        "others of this project",
    ]


@pytest.mark.more
def test_a_part_that_comes_too_slowly_frees_its_place_and_can_be_sent_again() -> None:
    body = BodyLimits(stall=60, min_rate=MinRate(1e9, 0.05))
    gateway = Gateway(limits=UploadLimits(concurrent=1, wait=60, body=body))

    async def slow() -> None:
        await asyncio.sleep(0.02)

    with closing(gateway.uploads):
        gateway.ask("PUT", f"{URL}/0", RAW, told(RAW))
        trickle = [RAW[at : at + 1000] for at in range(0, len(RAW), 1000)] + [b""]
        reply = asyncio.run(gateway.request("PUT", f"{URL}/1", trickle, told(RAW), between=slow))
        assert reply is not None
        assert (reply.status, reply.fields["Message"]) == (408, "Part too slow")
        assert [part["Part"] for part in gateway.ask("GET", URL).fields["Parts"]] == [0]
        assert gateway.ask("PUT", f"{URL}/1", RAW, told(RAW)).status == 201


def test_a_place_is_given_back_whatever_happens() -> None:
    gateway = Gateway(limits=UploadLimits(concurrent=1, wait=0.01))

    async def all_of_them() -> list[int]:
        for data, headers in ((RAW[:-1], told(RAW)), ([bytes(PART), b"1"], told(RAW)), ([RAW], told(RAW))):
            await gateway.request("PUT", f"{URL}/0", data, headers)
        reply = await gateway.request("PUT", f"{URL}/0", RAW, told(RAW))
        return [reply.status] if reply else []

    with closing(gateway.uploads):
        assert asyncio.run(all_of_them()) == [201]


# authorization

REFUSALS: list[tuple[RequestError, int]] = [
    (UnknownToken(detail="it expired"), 401),
    (WrongSignature(), 401),
    (NotPermitted(), 403),
    (NotPermitted(fields={"Reason": "expired"}, http_status=401), 401),
    (AddressRefused(), 403),
    (UnavailableParam("Expires"), 400),
    (TooLargeParam("request"), 413),
    (RateLimited(), 429),
    (ServiceUnavailable(), 503),
]


@pytest.mark.parametrize(("error", "status"), REFUSALS, ids=range(len(REFUSALS)))
def test_a_refused_request_gets_the_status_of_its_error(error: RequestError, status: int) -> None:
    def refuse(_: UploadAccessRequest) -> None:
        raise error

    gateway = Gateway(authorizer=FakeAuthorizer(before=refuse))
    with closing(gateway.uploads):
        for reply in (gateway.ask("PUT", f"{URL}/0", RAW, told(RAW)), gateway.ask("GET", URL)):
            fields = {"Message": error.message, "Detail": error.detail, **error.fields}
            assert (reply.status, reply.fields) == (status, fields)
            assert ("retry-after" in reply.headers) == (status in (429, 503))
    assert gateway.kept() == []


def test_an_expired_ticket_is_401_so_that_a_client_requests_another() -> None:
    def check(asked: UploadAccessRequest) -> None:
        read_ticket(b"secret", "upload", asked.job, asked.query, now=2000)

    authorizer = FakeAuthorizer(before=check)
    gateway = Gateway(authorizer=authorizer)
    with closing(gateway.uploads):
        for expires, status in ((1999, 401), (3000, 201)):
            authorizer.ticket = make_ticket(b"secret", "upload", JOB, PublicKey("key"), ProjectId(""), expires)
            reply = gateway.ask("PUT", f"{URL}/0", RAW, told(RAW), query=authorizer.ticket)
            assert reply.status == status


def test_a_closed_upload_states_the_reason() -> None:
    def refuse(_: UploadAccessRequest) -> None:
        raise UploadClosed("the job is done")

    gateway = Gateway(authorizer=FakeAuthorizer(before=refuse))
    with closing(gateway.uploads):
        reply = gateway.ask("PUT", f"{URL}/0", RAW, told(RAW))

    assert (reply.status, reply.fields["Detail"]) == (409, "the job is done")


def test_an_authorizer_that_must_wait_is_called_again_in_a_thread() -> None:
    def wait(asked: UploadAccessRequest) -> None:
        if not asked.wait:
            raise NotCached
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    gateway = Gateway(authorizer=FakeAuthorizer(before=wait))
    with closing(gateway.uploads):
        assert gateway.ask("PUT", f"{URL}/0", RAW, told(RAW)).status == 201

    first, second = gateway.authorizer.requests
    assert (first.wait, second.wait) == (False, True)
    assert (second.job, second.method, second.query, second.address) == (JOB, "PUT", TICKET, "127.0.0.1")
    assert first.request_id == second.request_id


def test_a_ticket_is_not_in_the_text_of_what_was_asked() -> None:
    assert TICKET not in repr(UploadAccessRequest(JOB, "PUT", TICKET, "127.0.0.1", "id", wait=False))


# the store

FAILURES = [
    (StoreFailure("put", "name", "no space"), 507),
    (StoreFailure("put", "name", "unreachable", passing=True), 503),
    (StoreFailure("put", "name", "input/output error", "a path inside"), 500),
]


@pytest.mark.parametrize(("failure", "status"), FAILURES, ids=[str(status) for _, status in FAILURES])
def test_a_failed_store_is_reported_without_its_details(failure: StoreFailure, status: int) -> None:
    def fail(_operation: Operation, _sent: int, _call: Callable[[], Any]) -> Any:
        raise failure

    gateway = Gateway(StoreDecorator(MemoryStore(), fail))
    with closing(gateway.uploads):
        for reply in (gateway.ask("PUT", f"{URL}/0", RAW, told(RAW)), gateway.ask("GET", URL)):
            assert reply.status == status
            assert ("retry-after" in reply.headers) == (status == 503)
            assert "inside" not in str(reply.fields)
