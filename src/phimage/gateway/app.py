"""The HTTP edge, as an ASGI application. Its order, in `App._edge` and `App._action`:

1. mounted applications: paths below `/images/`, `/uploads/` and `/console/`; a browser at `/` is sent to the last one
2. method: GET and POST, else 405
3. pages: `/healthz`, `/readyz`, `/metrics`, `/openapi.json`; all other paths are base paths of Actions
4. body: read up to the Action's limit, while it arrives steadily and within the budget of all bodies; more than 64 KiB
   only after a signature of version 2 was verified. A longer one is drained and answered with RetCode 240
5. freshness: knowledge older than the bound is refreshed, or its age goes into the response
6. response: from caches and single statements, else in a thread that may wait for the database
7. header: request id, revision, age, and gzip if the client accepts it
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic

from phimage.errors import MissingAction, RequestError, ServiceUnavailable, TooLargeParam
from phimage.event_log import log
from phimage.gateway.async_dispatch import AsyncDispatcher
from phimage.gateway.cache import known_key
from phimage.gateway.dispatch import HINT_HEADER, MAX_CACHED_REQUEST, Attempt, Dispatcher, RawRequest, View, max_body
from phimage.gateway.envelope import RawResponse, failure
from phimage.gateway.registry import SMALL_BODY
from phimage.http.asgi import (
    Application,
    KnownResponse,
    Message,
    Receive,
    Send,
    is_browser_at_root,
    send_response,
)
from phimage.http.asgi import request_ids as random_request_ids
from phimage.http.body import BodiesTooLarge, BodyBudget, BodyLimits, BodyTooLong, BodyTooSlow, ClientGone, RequestBody
from phimage.http.counters import RequestCounters
from phimage.http.freshness import STALE_SECONDS, Freshness
from phimage.http.lifespan import Lifespan, PeriodicTask
from phimage.http.pages import Page, fixed
from phimage.http.proxies import TrustedProxies
from phimage.http.response import gzipped
from phimage.http.signature_limit import LIMITED_CODES, SignatureLimit
from phimage.http_signature import SIGNATURE_FIELDS

# docs/decisions.md#four-threads-for-other-reads
THREADS = 4
"""Kept small: calls are short, and extra threads only contend for the GIL."""
MIN_GZIP_BYTES = 16 * 1024
MAX_DRAINED_BYTES = 16 * 1024 * 1024
"""A longer body is not drained: the connection is closed."""


_OF_VERSION_2 = frozenset((b"signature", b"signature-input"))
_ATTEMPT, _HAS_ARRIVED = "phimage.attempt", "phimage.has_arrived"
"""What `known_response` leaves in the scope: the attempt that it made, and that the server has the whole body."""
_KNOWN = (
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"x-ucloud-request-uuid: %b\r\n"
    b"x-content-type-options: nosniff\r\n"
    b"x-phimage-revision: %d\r\n"
)


class _Unread(Exception):
    """A request whose body was not read to its end, with the error and the status of its response."""

    def __init__(self, error: RequestError, status: int = 200) -> None:
        self.error = error
        self.status = status
        super().__init__(error)


class App(Generic[View]):
    """The ASGI application."""

    def __init__(
        self,
        dispatcher: Dispatcher[View, Any],
        freshness: Freshness,
        proxies: TrustedProxies | None = None,
        pages: Mapping[str, Page] | None = None,
        mounts: Mapping[str, Application] | None = None,
        *,
        started: Callable[[], object] = lambda: None,
        stopped: Callable[[], object] = lambda: None,
        stopping: Callable[[], bool] = lambda: False,
        watches: Iterable[Freshness] = (),
        periodic_tasks: Iterable[PeriodicTask] = (),
        counters: RequestCounters | None = None,
        log_requests: bool = False,
        signature_limit: SignatureLimit | None = None,
        body_limits: BodyLimits | None = None,
        max_body_bytes: float = float("inf"),
        request_ids: Iterator[str] | None = None,
        browser_path: str = "",
    ) -> None:
        """`freshness` is that of the catalogue; `watches` are refreshed beside it. `mounts` are applications by path prefix.

        `started` is called once requests are answered, `stopped` at the end. `stopping` returns whether the server is about
        to stop: long polls are then answered at once. `max_body_bytes` is the memory for bodies of all requests. `request_ids`
        are random by default. A browser that asks for `/` is sent to `browser_path`, unless it is empty.
        """
        self.registry = dispatcher.registry
        self._freshness = freshness
        self._proxies = proxies or TrustedProxies()
        self._pages = {"/healthz": fixed(b'{"status":"ok"}'), **(pages or {})}
        self._mounts = tuple((mounts or {}).items())
        self._counters = counters or RequestCounters()
        self._log_requests = log_requests
        self._signature_limit = signature_limit or SignatureLimit(self._proxies)
        self._body_limits = body_limits or BodyLimits()
        self._body_budget = BodyBudget(max_body_bytes)
        self._browser_path = browser_path
        self._request_ids = request_ids or random_request_ids()
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="answer")
        self._answer_known = dispatcher.answer_known
        self._dispatcher = AsyncDispatcher(dispatcher, threads, stopping)
        self._lifespan = Lifespan((freshness, *watches), periodic_tasks, (self._dispatcher.run,), threads, started, stopped)
        self.notify_revision = self._dispatcher.notify_revision
        self.close = self._lifespan.end_threads

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request, or the life of the process."""
        if scope["type"] == "http":
            await self._edge(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan.run(receive, send)

    def known_response(self, scope: Message, body: bytes) -> KnownResponse | None:
        """The response to a request whose bytes were admitted before, when it takes neither a wait nor a decision of `_action`:
        a success from caches, current, short and without further header fields. See `KnownResponses`."""
        started = time.perf_counter()
        query_string, path = scope["query_string"], scope["path"]
        size = len(query_string) + len(body)
        scope[_HAS_ARRIVED] = True
        if size > MAX_CACHED_REQUEST or self._log_requests or self._freshness.age() > STALE_SECONDS:
            return None
        if path != "/" and (path in self._pages or any(path.startswith(prefix) for prefix, _ in self._mounts)):
            return None
        if self._body_budget.used + size > self._body_budget.max_bytes:
            return None
        headers, method = dict(scope["headers"]), scope["method"]
        if method != "POST":
            body = b""
        if not _OF_VERSION_2.isdisjoint(headers):
            return None
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        key = known_key(method, path, content_type, query_string.decode("utf-8", "replace") if query_string else "", body)
        attempt = scope[_ATTEMPT] = Attempt()
        response = self._answer_known(key, self._proxies.client_address(scope), attempt)
        if response is None or len(response.body) > MIN_GZIP_BYTES:
            return None
        request_id = next(self._request_ids)
        self._counters.count(response.action, 0, time.perf_counter() - started, size, len(response.body))
        return KnownResponse(_KNOWN % (len(response.body), request_id.encode("ascii"), response.revision), response.body)

    async def _edge(self, scope: Message, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        for prefix, mounted in self._mounts:
            if path.startswith(prefix):
                if self._freshness.age() > STALE_SECONDS:
                    await self._freshness.staleness()
                await mounted(scope, *self._counters.counting_bytes(receive, send))
                return
        request_id = next(self._request_ids)
        try:
            if method not in ("GET", "POST"):
                await RequestBody(receive, self._body_limits).drain(MAX_DRAINED_BYTES)
                content = failure("", MissingAction(detail="send GET or POST"))
                await send_response(send, 405, content, request_id, [(b"allow", b"GET, POST")])
            elif self._browser_path and is_browser_at_root(scope):
                page_address = str(scope.get("root_path", "")) + self._browser_path
                location = [(b"location", page_address.encode("ascii")), (b"vary", b"accept")]
                await send_response(send, 303, b"", request_id, location, content_type=b"text/html")
            elif method == "GET" and path in self._pages:
                page = await self._pages[path](self._proxies.certain_client_address(scope))
                await send_response(send, page.status, page.body, request_id, content_type=page.content_type.encode("ascii"))
            else:
                await self._action(scope, receive, send, request_id)
        except ClientGone:
            return

    async def _action(self, scope: Message, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        headers = dict(scope["headers"])
        query = scope["query_string"].decode("utf-8", "replace")  # curl may send UTF-8 that is not percent-encoded
        address = self._proxies.client_address(scope)
        make_request = partial(self._request, scope, headers, query, address, request_id)
        incoming = RequestBody(receive, self._body_limits, self._body_budget)
        attempt: Attempt = scope.get(_ATTEMPT) or Attempt()
        status, age, body = 200, None, b""
        try:
            if scope["method"] == "POST":
                body = await self._body(scope, query, incoming, make_request, attempt)
            if self._freshness.age() > STALE_SECONDS:
                age = await self._freshness.staleness()
            response = await self._dispatcher.answer(make_request(body), attempt)
        except _Unread as unread:
            status, response = unread.status, RawResponse(failure("", unread.error), unread.error.ret_code, None)
        finally:
            incoming.release()
        if response.ret_code in LIMITED_CODES and (limited := self._signature_limit.refusal(response.ret_code, scope)):
            response = RawResponse(
                failure(response.action, limited), limited.ret_code, response.revision, action=response.action
            )
        extra, content = _header_fields(response, age), response.body
        if len(content) > MIN_GZIP_BYTES and (packed := gzipped(content, headers.get(b"accept-encoding", b""))) is not None:
            content = packed
            extra += [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
        self._record(response, request_id, address, time.perf_counter() - started, len(body) + len(query), len(content))
        await send_response(send, status, content, request_id, extra)

    async def answer(self, request: RawRequest) -> tuple[RawResponse, float | None]:
        """The response to a request of a session, and the age of its knowledge as `X-Phimage-Age` has it, if it is old.

        For programs of this process: counted and logged like a request of the network.
        """
        started, age = time.perf_counter(), None
        if self._freshness.age() > STALE_SECONDS:
            age = await self._freshness.staleness()
        response = await self._dispatcher.answer(request, Attempt())
        seconds = time.perf_counter() - started
        self._record(response, request.request_id, request.address, seconds, len(request.body), len(response.body))
        return response, age

    def _record(self, response: RawResponse, request_id: str, address: str, seconds: float, received: int, sent: int) -> None:
        """Count a response, and log it if requests are logged."""
        self._counters.count(response.action, response.ret_code, seconds, received, sent)
        if self._log_requests:
            log.info(
                "request.answered",
                request_id=request_id,
                action=response.action,
                ret_code=response.ret_code,
                revision=response.revision,
                address=address,
                seconds=round(seconds, 6),
                bytes=sent,
                **({"hint": hint} if (hint := response.headers.get(HINT_HEADER)) else {}),
            )

    async def _body(
        self, scope: Message, query: str, incoming: RequestBody, make_request: Callable[[bytes], RawRequest], attempt: Attempt
    ) -> bytes:
        """The body of a POST. Raises _Unread and ClientGone."""
        max_size, refusal = max_body(self.registry, query), None
        # docs/decisions.md#large-bodies-are-read-for-verified-signatures-alone
        if max_size > SMALL_BODY and (refusal := await self._dispatcher.refuse_large(make_request(b""), attempt)):
            max_size = SMALL_BODY
        try:
            return await incoming.read(max_size, has_arrived=_HAS_ARRIVED in scope)
        # docs/decisions.md#a-body-has-little-time-and-little-memory
        except BodyTooSlow:
            detail = f"the body paused for {self._body_limits.stall:.0f} s or took too long; send the request again"
            raise _Unread(ServiceUnavailable(detail=detail), 408) from None
        except BodiesTooLarge:
            detail = "this server holds too many bodies; send the request again"
            raise _Unread(ServiceUnavailable(detail=detail)) from None
        except BodyTooLong:
            incoming.release()
            await incoming.drain(MAX_DRAINED_BYTES)
            raise _Unread(refusal or TooLargeParam("request", detail=f"at most {max_size} bytes")) from None

    def _request(
        self, scope: Message, headers: Mapping[bytes, bytes], query: str, address: str, request_id: str, body: bytes
    ) -> RawRequest:
        signed = b"signature-input" in headers or b"signature" in headers
        return RawRequest(
            method=scope["method"],
            path=scope["path"],
            query=query,
            content_type=headers.get(b"content-type", b"").decode("latin-1"),
            body=body,
            address=address,
            request_id=request_id,
            base_url=partial(self._proxies.base_url, scope),
            raw_path=scope["raw_path"].decode("utf-8", "surrogateescape") if signed else "",
            header={name: headers.get(name.encode(), b"").decode("latin-1") for name in SIGNATURE_FIELDS} if signed else None,
        )


def _header_fields(response: RawResponse, age: float | None) -> list[tuple[bytes, bytes]]:
    fields = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in response.headers.items()]
    if response.revision is not None:
        fields.append((b"x-phimage-revision", b"%d" % response.revision))
        if age is not None:
            fields.append((b"x-phimage-age", b"%d" % age))
    return fields
