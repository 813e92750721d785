"""The HTTP edge, as an ASGI application. Its whole order:

1. path: what is mounted answers below its own (`/images/`, `/uploads/`)
2. method: GET and POST, else 405; a few paths are pages (`/healthz`, `/readyz`, `/metrics`, `/openapi.json`); the others are
   base paths
3. body: read up to the Action's limit; what is over it is read, forgotten and answered with RetCode 240
4. answer: from what is remembered and what single statements answer, else in a thread that may wait for the database
5. headers: request id, revision, age of what was known if it is stale, gzip if the client asks and it pays
"""

from __future__ import annotations

import asyncio
import gzip
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Generic

import structlog
from msgspec import Struct

from phimage.errors import LongPoll, MissingAction, NotCached, RequestError, ServiceUnavailable, TooLargeParam
from phimage.gateway import envelope
from phimage.gateway.dispatch import Answer, Attempt, Dispatcher, Incoming, View, max_body
from phimage.gateway.freshness import STALE_SECONDS, Freshness
from phimage.gateway.origin import Message, Origin
from phimage.gateway.page import Page, fixed
from phimage.gateway.traffic import Traffic

log = structlog.get_logger()

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

THREADS = 4
"""Few: what they wait for is short, and each one more that wants the interpreter costs all others."""
FETCHES = 4
"""So often something is fetched for a request before a thread is to answer it. Two are what a list needs."""
REQUEST_IDS = 256
"""How many are drawn at a time."""
STOPPING_SECONDS = 0.25
JSON = b"application/json"
GZIP_FROM = 16 * 1024
MAX_FORGOTTEN = 16 * 1024 * 1024
"""Bytes of an oversized body that are read to keep the connection usable; beyond that it is closed."""


class PeriodicTask(Struct, frozen=True):
    """What is done again and again, in a thread, `every` so many seconds after it last ended.

    `do` may wait, and raise ServiceUnavailable.
    """

    every: float
    do: Callable[[], object]


class App(Generic[View]):
    """The ASGI application.

    `watches` run as long as the application; `watch`, one of them, learns of other processes' changes. `chores` are done
    beside. `started` is called once, when the application begins to answer, and `stopped` when it has ended. `stopping`
    says whether the server is about to end: who waits for news is answered then. `pages` answer GETs of their paths;
    `mounts` are other applications by the beginning of their paths.
    """

    def __init__(
        self,
        dispatcher: Dispatcher[View, Any],
        watch: Freshness,
        started: Callable[[], object] = lambda: None,
        stopped: Callable[[], object] = lambda: None,
        origin: Origin | None = None,
        pages: Mapping[str, Page] | None = None,
        stopping: Callable[[], bool] = lambda: False,
        mounts: Mapping[str, Application] | None = None,
        *,
        watches: Iterable[Freshness] = (),
        periodic_tasks: Iterable[PeriodicTask] = (),
        traffic: Traffic | None = None,
        log_requests: bool = False,
    ) -> None:
        self._dispatcher = dispatcher
        self._watch = watch
        self._watches = (watch, *watches)
        self._periodic_tasks = tuple(periodic_tasks)
        self._traffic = traffic or Traffic()
        self._log_requests = log_requests
        self._started = started
        self._stopped = stopped
        self._stopping = stopping
        self._pages = {"/healthz": fixed(b'{"status":"ok"}'), **(pages or {})}
        self._mounts = tuple((mounts or {}).items())
        self._origin = origin or Origin()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="answer")
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._request_ids = _request_ids()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one connection event of the server."""
        if scope["type"] == "http":
            for beginning, mounted in self._mounts:
                if scope["path"].startswith(beginning):
                    if self._watch.age() > STALE_SECONDS:
                        await self._watch.staleness()
                    await mounted(scope, self._receiving(receive), self._sending(send))
                    return
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        request_id = next(self._request_ids)
        headers = dict(scope["headers"])
        method = scope["method"]
        if method not in ("GET", "POST"):
            refusal = envelope.failure("", MissingAction(detail="only GET and POST are answered"))
            await _read(receive, 0)  # and forget it: a body that nobody reads costs the connection
            await _respond(send, 405, refusal, request_id, [(b"allow", b"GET, POST")])
            return
        page = self._pages.get(scope["path"])
        if page is not None and method == "GET":
            told = await page(self._origin.certain_address(scope))
            await _respond(send, told.status, told.body, request_id, kind=told.kind.encode("ascii"))
            return
        query = scope["query_string"].decode("utf-8", "replace")  # UTF-8 that is not escaped, as curl sends it, is text too
        body = await _read(receive, max_body(self._dispatcher.registry, query)) if method == "POST" else b""
        address = self._origin.address(scope)
        age = None
        if isinstance(body, RequestError):
            answer, received = Answer(envelope.failure("", body), body.ret_code, None), 0
        else:
            received = len(body)
            if self._watch.age() > STALE_SECONDS:
                age = await self._watch.staleness()
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            base_url = partial(self._origin.base_url, scope)
            path = scope["path"]
            answer = await self._answer(Incoming(method, path, query, content_type, body, address, request_id, base_url))
        extra = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in answer.headers.items()]
        if answer.revision is not None:
            extra.append((b"x-phimage-revision", b"%d" % answer.revision))
            if age is not None:
                extra.append((b"x-phimage-age", b"%d" % age))
        content = answer.body
        if len(content) > GZIP_FROM and _takes_gzip(headers.get(b"accept-encoding", b"")):
            content = gzip.compress(content, 1, mtime=0)
            extra += [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
        seconds = time.perf_counter() - begun
        self._traffic.count(answer.action, answer.ret_code, seconds, received + len(query), len(content))
        if self._log_requests:
            log.info(
                "request.answered",
                request_id=request_id,
                action=answer.action,
                ret_code=answer.ret_code,
                revision=answer.revision,
                address=address,
                seconds=round(seconds, 6),
                bytes=len(content),
            )
        await _respond(send, 200, content, request_id, extra)

    def _receiving(self, receive: Receive) -> Receive:
        async def counted() -> Message:
            message = await receive()
            self._traffic.bytes_in += len(message.get("body", b""))
            return message

        return counted

    def _sending(self, send: Send) -> Send:
        async def counted(message: Message) -> None:
            await send(message)
            self._traffic.bytes_out += len(message.get("body", b""))

        return counted

    async def _answer(self, incoming: Incoming) -> Answer:
        attempt = Attempt()
        deadline: float | None = None
        while True:
            news = self._news
            try:
                return await self._try(incoming, attempt)
            except LongPoll as long_poll:
                loop = asyncio.get_running_loop()
                deadline = deadline or loop.time() + long_poll.seconds
                try:
                    async with asyncio.timeout_at(deadline):
                        await news.wait()
                except TimeoutError:
                    attempt.patient = False
                if self._stopping():
                    attempt.patient = False

    async def _try(self, incoming: Incoming, attempt: Attempt) -> Answer:
        attempt.wait = False
        for _ in range(FETCHES):
            try:
                return self._dispatcher.answer(incoming, attempt)
            except NotCached as missing:
                fetch = missing.fetch
            if fetch is None or not await _fetched(fetch):
                break
        attempt.wait = True
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._dispatcher.answer, incoming, attempt)

    def notify_revision(self) -> None:
        """There is a new revision: whoever waits for one tries again. Can be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._spread_news)

    def _spread_news(self) -> None:
        self._news, old = asyncio.Event(), self._news
        old.set()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._loop = asyncio.get_running_loop()
                self._tasks = [asyncio.create_task(watch.run()) for watch in self._watches]
                self._tasks += [asyncio.create_task(self._do(task)) for task in self._periodic_tasks]
                self._tasks.append(asyncio.create_task(self._let_go_when_stopping()))
                await send({"type": "lifespan.startup.complete"})
                self._started()
            elif message["type"] == "lifespan.shutdown":
                self._loop = None
                for task in self._tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                for watch in self._watches:
                    watch.close()
                self._threads.shutdown()
                self._stopped()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _do(self, task: PeriodicTask) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(task.every)
            with suppress(ServiceUnavailable):  # whoever watches the database tells
                await loop.run_in_executor(self._threads, task.do)

    async def _let_go_when_stopping(self) -> None:
        while True:
            await asyncio.sleep(STOPPING_SECONDS)
            if self._stopping():
                self._spread_news()


def new_request_id() -> str:
    """A random UUID, version 4. The same as `uuid.uuid4`, in a third of the time."""
    return _uuid(secrets.token_hex(16))


def _request_ids() -> Iterator[str]:
    """Request ids, without end. Randomness is drawn for many at a time: asking the kernel lets go of the interpreter, which a
    busy process gets back only in its turn."""
    while True:
        drawn = secrets.token_hex(16 * REQUEST_IDS)
        yield from (_uuid(drawn[start : start + 32]) for start in range(0, len(drawn), 32))


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[int(digits[16], 16) & 3]}{digits[17:20]}-{digits[20:]}"


async def _fetched(fetch: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await fetch()
    except (NotCached, ServiceUnavailable):  # whoever may wait finds out, and tells it
        return False


async def _read(receive: Receive, limit: int) -> bytes | RequestError:
    """The body, or the error to answer with when it is larger than `most` bytes."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        if not message.get("more_body", False) or size > MAX_FORGOTTEN:
            break
    if size > limit:
        return TooLargeParam("request", detail=f"at most {limit} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _takes_gzip(accept: bytes) -> bool:
    """Whether Accept-Encoding asks for gzip. `gzip;q=0` refuses it."""
    for choice in accept.lower().split(b","):
        name, _, weight = choice.partition(b";")
        if name.strip() == b"gzip":
            return not re.fullmatch(rb"\s*q=0(\.0*)?\s*", weight)
    return False


async def _respond(
    send: Send, status: int, body: bytes, request_id: str, extra: Iterable[tuple[bytes, bytes]] = (), kind: bytes = JSON
) -> None:
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"x-ucloud-request-uuid", request_id.encode("ascii")),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
